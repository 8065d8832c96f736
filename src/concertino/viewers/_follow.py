"""A thread that takes the newest frames of frame streams at its own leisure."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from concertino._errors import FrameStreamError
from concertino.frames import Subscription, is_published_here, subscribe

from ._picture import Panel
from ._state import LiveState

_LOG = logging.getLogger(__name__)
_UNWATCHED_PERIOD_S = 1.0
_CONNECT_TIMEOUT_S = 2.0


@dataclass
class _Followed:
    subscription: Subscription
    camera: str
    stream: str
    panel: Panel
    labels: tuple[str, ...]


class FrameFollower:
    """Copies the newest frames of streams into a `LiveState`.

    It subscribes to ``latest``, so it never slows a publisher. It takes a frame when a display has
    asked for one, at most `refresh_hz` a second, and one a second while none asks.

    Parameters
    ----------
    state : LiveState
        Gets the frames.
    name : str
        Of the subscriber, unique among those of a stream.
    refresh_hz : float
        Frames taken a second at most.
    """

    def __init__(self, state: LiveState, *, name: str = "live view", refresh_hz: float = 10.0):
        self._state = state
        self._name = name
        self._period_s = 1 / refresh_hz
        self._wanted: deque[tuple[str, str, str, Panel, tuple[str, ...]]] = deque(maxlen=64)
        self._joined: deque[_Followed] = deque()
        self._followed: list[_Followed] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"{name} frames", daemon=True)
        self._thread.start()

    def follow(
        self,
        address: str,
        *,
        camera: str,
        stream: str,
        panel: Panel = "frames",
        labels: Sequence[str] = ("slice",),
    ) -> None:
        """Follow a frame stream until it ends; returns at once.

        A stream that is gone, or cannot be reached, is not shown; that is no error. Slices are shown
        under their labels, again and again in this order.
        """
        if is_published_here(address):
            # Nothing to wait for, and a short stream may be gone before the thread wakes.
            self._join(address, camera, stream, panel, tuple(labels))
        else:
            self._wanted.append((address, camera, stream, panel, tuple(labels)))
        self._state.asked.set()

    def close(self) -> None:
        """Leave all streams; idempotent."""
        self._closed.set()
        self._state.asked.set()
        self._thread.join(timeout=2 * _CONNECT_TIMEOUT_S)

    def _run(self) -> None:
        while not self._closed.is_set():
            self._state.asked.clear()
            while self._wanted:
                self._join(*self._wanted.popleft())
            while self._joined:
                self._followed.append(self._joined.popleft())
            self._followed = [followed for followed in self._followed if self._take(followed)]
            if not self._closed.wait(self._period_s):
                self._state.asked.wait(_UNWATCHED_PERIOD_S)
        for followed in [*self._followed, *self._joined]:
            followed.subscription.close()

    def _join(
        self, address: str, camera: str, stream: str, panel: Panel, labels: tuple[str, ...]
    ) -> None:
        try:
            subscription = subscribe(
                address, name=self._name, delivery="latest", timeout_s=_CONNECT_TIMEOUT_S
            )
        except (FrameStreamError, OSError, TimeoutError) as error:
            _LOG.info("The live view does not show stream %s of %s: %s", stream, camera, error)
            return
        self._joined.append(_Followed(subscription, camera, stream, panel, labels))

    def _take(self, followed: _Followed) -> bool:
        """Show the newest frame of a stream; tell whether to go on with it."""
        try:
            batch = followed.subscription.read(timeout_s=0)
        except TimeoutError:
            return True
        except (FrameStreamError, OSError) as error:
            _LOG.info("The live view leaves stream %s: %s", followed.stream, error)
            batch = None
        if batch is None:
            followed.subscription.close()
            return False
        frame, number = batch.frames[-1], batch.stop - 1
        if followed.panel == "frames":
            self._state.show_frame(
                frame, camera=followed.camera, stream=followed.stream, number=number
            )
        else:
            label = followed.labels[number % len(followed.labels)]
            self._state.show_slice(frame, label=label, number=number)
        return True
