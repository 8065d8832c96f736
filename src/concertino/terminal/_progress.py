"""Progress of the RunEngine's waits and of batch work: one account of it, shown as the output allows."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, runtime_checkable

from ._progress_displays import Meter, display_for

_PERIOD_S = 0.1
#: What is over sooner is not worth a bar.
_DELAY_S = 0.2


@runtime_checkable
class Watchable(Protocol):
    """A status of bluesky that tells how far something is."""

    @property
    def done(self) -> bool:
        """Whether it is done."""

    def watch(self, function: Callable[..., Any]) -> object:
        """Have a function told from now on."""


class ProgressBars:
    """Shows how far the waits of a plan are; a RunEngine's ``waiting_hook``.

    As standard error allows: bars in a terminal, one display that is updated in a notebook, a line for
    each stream of frames elsewhere. A plan that looks again and again whether frames have come waits for
    other things meanwhile, such as the beam: what is still going on stays shown.
    """

    def __init__(self) -> None:
        self._display = display_for()
        self._meters: dict[Any, Meter] = {}
        self._lock = threading.RLock()
        self._shown_s = 0.0

    @property
    def shown(self) -> bool:
        """Whether something is shown that still goes on."""
        return bool(self._meters)

    def __call__(self, statuses: Iterable[Any] | None) -> None:
        """Show what is waited for; None when a wait is over."""
        with self._lock:
            self._drop(lambda status: bool(status.done))
            new = [status for status in statuses or () if status not in self._meters]
            watched = [one for one in new if isinstance(one, Watchable) and not one.done]
            for status in watched:
                self._meters[status] = Meter()
        for status in watched:
            status.watch(partial(self._update, status))

    def end(self) -> None:
        """Show nothing any more that goes on: the plan is over."""
        with self._lock:
            self._drop(lambda status: True)
            self._display.end()

    def _update(self, status: Any, *_: Any, **told: Any) -> None:
        with self._lock:
            meter = self._meters.get(status)
            if meter is None:
                return
            meter.tell(**told)
            now_s = time.monotonic()
            if now_s - meter.began_s >= _DELAY_S and now_s - self._shown_s >= _PERIOD_S:
                self._shown_s = now_s
                self._display.show(list(self._meters.values()))

    def _drop(self, over: Callable[[Any], bool]) -> None:
        ended = [status for status in self._meters if over(status)]
        for status in ended:
            meter = self._meters.pop(status)
            if meter.told:
                self._display.finish(meter, list(self._meters.values()))


Progress = Callable[[int, int], None]


@contextmanager
def progress_of(what: str, wanted: bool = True) -> Iterator[Progress | None]:
    """Show how many frames of a work are done; gives a function of (done, total), or None.

    Parameters
    ----------
    what : str
        Such as ``"reconstructing"``.
    wanted : bool
        Whether it is to be shown.
    """
    if not wanted:
        yield None
        return
    display, meter, shown_s = display_for(), Meter(), 0.0

    def report(done: int, total: int) -> None:
        nonlocal shown_s
        meter.tell(name=what, current=done, initial=0, target=total, unit="frame")
        now_s = time.monotonic()
        if now_s - meter.began_s >= _DELAY_S and now_s - shown_s >= _PERIOD_S:
            shown_s = now_s
            display.show([meter])

    try:
        yield report
    finally:
        if meter.told:
            display.finish(meter, [])
        display.end()
