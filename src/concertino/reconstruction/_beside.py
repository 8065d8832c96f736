"""Work that is done beside: whoever says that there is more of it does not wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Beside:
    """Has a function called in a thread of its own each time that there is more for it to do.

    While it runs, any number of calls make one more: the function takes all that is there. It is given a function that
    says whether it is to go on, for what it does in steps.

    Parameters
    ----------
    name
        Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._last: Future[None] | None = None
        self._error: BaseException | None = None
        self._ends = 0

    def call(self, function: Callable[[Callable[[], bool]], Any]) -> None:
        """Have `function` called soon.

        Raises
        ------
        Exception
            What it raised at an earlier call, once.
        """
        with self._lock:
            error, self._error = self._error, None
            if error is not None:
                raise error
            if self._last is not None and not self._last.running() and not self._last.done():
                return  # it will see what is new
            if self._executor is None:
                self._executor = ThreadPoolExecutor(1, thread_name_prefix=self._name)
            self._last = self._executor.submit(self._run, function, self._ends)

    def end(self) -> None:
        """Call it no more for what was told until now; a call that runs is not waited for."""
        with self._lock:
            if self._executor is not None:
                self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = self._last = self._error = None
            self._ends += 1

    def _run(self, function: Callable[[Callable[[], bool]], Any], ends: int) -> None:
        try:
            function(lambda: self._ends == ends)
        except BaseException as error:  # told to the next who calls
            with self._lock:
                if self._ends == ends:
                    self._error = error
