"""The process of a `ChildProcess`: gives documents to a callback until the session hangs up.

Started as ``python -m concertino.callbacks.hosting._child_main FILE_DESCRIPTOR``.
"""

import logging
import queue
import signal
import sys
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from concertino.consumers._capabilities import (
    Closes,
    EmitsDocuments,
    SettlesStreams,
    capabilities_of,
)

from ._hosted import Answer, Call, Emitted, portable

LOG = logging.getLogger(__name__)


class _Host:
    """Serves one callback on a connection."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._callback: Any = None

    def run(self) -> None:
        """Answer calls until the session closes the connection or is gone."""
        try:
            self._callback = self._connection.recv()
        except EOFError:
            return
        except Exception as error:  # a class that this process cannot import, among others
            self._answer(Answer(0, error=portable(error)))
            return
        if isinstance(self._callback, EmitsDocuments):
            self._callback.add_callback(self._emit)
        documents: queue.SimpleQueue[Call] = queue.SimpleQueue()
        threading.Thread(
            target=self._take, args=(documents,), name="documents", daemon=True
        ).start()
        self._answer(Answer(0, capabilities_of(self._callback)))
        try:
            while True:
                call = self._connection.recv()
                if call.method:
                    # Some wait until a run is over, whose documents have yet to come.
                    threading.Thread(target=self._call, args=(call,), daemon=True).start()
                else:
                    documents.put(call)
        except (EOFError, OSError):
            self._end()

    def _take(self, documents: "queue.SimpleQueue[Call]") -> None:
        while True:
            self._call(documents.get())

    def _call(self, call: Call) -> None:
        try:
            target = getattr(self._callback, call.method) if call.method else self._callback
            answer = Answer(call.number, target(*call.arguments) if callable(target) else target)
        except Exception as error:
            answer = Answer(call.number, error=portable(error))
        self._answer(answer)

    def _emit(self, name: str, document: Mapping[str, Any]) -> None:
        self._answer(Emitted(name, dict(document)))

    def _answer(self, answer: Answer | Emitted) -> None:
        with self._sending:
            try:
                self._connection.send(answer)
            except OSError:
                LOG.debug("the session is gone")

    def _end(self) -> None:
        """Have the callback read its streams to their ends, and close its files."""
        if isinstance(self._callback, SettlesStreams):
            self._callback.settle()
        if isinstance(self._callback, Closes):
            self._callback.close()


def main() -> None:
    """Serve until the session hangs up."""
    # Ctrl-C in the terminal, its end, and the stop of a service are for the plan, whose frames are still
    # to be stored; this process ends when the session has.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _Host(Connection(int(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
