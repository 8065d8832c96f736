"""A source to which something happens when it has given some frames of the projections."""

import threading
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from concertino.devices import CameraSettings, Grab, TriggeredFrameSource
from concertino.frames import FrameRequest


class Struck:
    """Passes everything on to a camera's source.

    Parameters
    ----------
    source : TriggeredFrameSource
        The camera's.
    after : int
        Number of the projection after which it happens.
    strike : callable
        Makes it happen, outside of the source.
    """

    def __init__(
        self, source: TriggeredFrameSource, after: int, strike: Callable[[], None]
    ) -> None:
        self.source = source
        self._after = after
        self._strike = strike
        self._kind = ""
        self._given = 0
        self.struck = threading.Event()
        self._adapt()

    def _adapt(self) -> None:
        self.shape, self.dtype = self.source.shape, self.source.dtype
        self.pixel_size_um = self.source.pixel_size_um

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        self._kind = request.kind
        self.source.prepare(request, settings)
        self._adapt()

    def start(self) -> None:
        self._given = 0
        self.source.start()

    def trigger(self) -> None:
        self.source.trigger()

    def stop(self) -> None:
        self.source.stop()

    def grab(self, out: NDArray[Any]) -> Grab:
        # One at a time, so that it happens between two frames.
        grab = self.source.grab(out[:1])
        self._given += len(grab.numbers)
        if self._kind == "projections" and self._given == self._after and not self.struck.is_set():
            self.struck.set()
            self._strike()
        return grab
