"""A replay whose callbacks are elsewhere: they fetch its documents one by one."""

import threading
import time
from collections.abc import Collection, Mapping
from typing import Any

from concertino import SessionError
from concertino.storage import Run, replay

_END_S = 2.0
_FETCHED_S = 30.0


class RemoteReplay:
    """Replays a run in a thread; each document waits until it was fetched and taken.

    Parameters
    ----------
    run : Run
        What to replay.
    address : str
        Where frames are published, such as ``tcp://127.0.0.1:0``.
    streams : collection of str, optional
        Streams to replay; all by default.
    """

    def __init__(self, run: Run, address: str, streams: Collection[str] | None = None) -> None:
        self._changed = threading.Condition()
        self._number = 0
        self._seen = 0
        self._document: tuple[str, Mapping[str, Any]] | None = None
        self._ended = False
        self._error: BaseException | None = None
        self._given_up = False
        self._thread = threading.Thread(
            target=self._run, args=(run, address, streams), name="replay", daemon=True
        )
        self._thread.start()

    def next(self, seen: int) -> dict[str, Any]:
        """Return the document after number `seen`, which says that those until then were taken.

        Raises
        ------
        ConcertinoError
            What the replay met.
        """
        with self._changed:
            self._seen = max(self._seen, seen)
            self._changed.notify_all()
            self._changed.wait_for(self._there_is_more, 0.2)
            if self._number > seen and self._document is not None:
                name, document = self._document
                return {"number": self._number, "name": name, "document": document}
            if self._error is not None:
                raise self._error
            return {"ended": True} if self._ended else {}

    def end(self) -> None:
        """Give it up, when it has not ended.

        Raises
        ------
        SessionError
            If it does not end in time.
        """
        with self._changed:
            self._given_up = True
            self._changed.notify_all()
        self._thread.join(_END_S)
        if self._thread.is_alive():
            raise SessionError(
                f"The replay before has not ended within {_END_S:g} s, perhaps because its disk does not "
                "answer; ask again later."
            )

    def _there_is_more(self) -> bool:
        return self._number > self._seen or self._ended

    def _run(self, run: Run, address: str, streams: Collection[str] | None) -> None:
        try:
            replay(run, self._hand_over, streams=streams, stream_address=address)
        except BaseException as error:
            self._error = error
        finally:
            run.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _hand_over(self, name: str, document: Mapping[str, Any]) -> None:
        deadline_s = time.monotonic() + _FETCHED_S
        with self._changed:
            self._number += 1
            self._document = name, document
            self._changed.notify_all()
            while self._seen < self._number:
                if self._given_up or time.monotonic() > deadline_s:
                    raise SessionError(
                        f"The replay of {name} document {self._number} was not fetched within "
                        f"{_FETCHED_S:g} s, or another replay was asked for. Ask for it again."
                    )
                self._changed.wait(0.5)
