"""Frames of one request on their way: what is the same wherever they are exposed, and when each was."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from concertino import CameraError
from concertino._clocks import CameraTimes
from concertino.frames import FrameRequest, Ledger

_FEW = 1024


class StreamCounters(Protocol):
    """What is counted of a frame stream, be it published here or elsewhere."""

    @property
    def recorded(self) -> int:
        """Frames that the camera keeps until they are read out."""

    @property
    def published(self) -> int:
        """Frames published so far."""

    @property
    def dropped(self) -> tuple[int, ...]:
        """The camera's numbers of frames that it exposed and lost."""

    @property
    def error(self) -> BaseException | None:
        """Why the stream failed, or None."""


class Exposing(ABC):
    """The frames of one request; the RunEngine's loop only sees counters.

    Attributes
    ----------
    request : FrameRequest
        What was asked.
    wanted : int or None
        Frames to be taken; None as long as that is not known.
    stream : StreamCounters
        Where they go.
    error : BaseException or None
        Why it failed.
    ledger : Ledger or None
        The ledger of the stream, when it has ended.
    start_s : float
        When it started, in seconds since the epoch; 0 before.
    """

    request: FrameRequest
    wanted: int | None
    stream: StreamCounters
    error: BaseException | None = None
    ledger: Ledger | None = None
    start_s = 0.0
    _ending = False

    @property
    @abstractmethod
    def running(self) -> bool:
        """Whether it was told to start and has not ended."""

    @property
    @abstractmethod
    def hangs(self) -> bool:
        """Whether the source was given up, and still has not come back."""

    @property
    @abstractmethod
    def hanging(self) -> str:
        """What to say of a source that does not come back."""

    @property
    def exposed(self) -> int:
        """Frames that the camera has exposed and kept, be they on the stream already or not."""
        stream = self.stream
        return max(stream.published + len(stream.dropped), stream.recorded)

    @property
    def ended_early(self) -> bool:
        """Whether it was ended before all frames of its request were exposed."""
        return self._ending and self.exposed < (self.request.count or 0)

    def check_free(self, camera: str, request: FrameRequest) -> None:
        """Raise `CameraError` if the camera cannot be prepared for another request yet."""
        if self.running:
            raise CameraError(
                f"Camera {camera} was asked to prepare {request.kind} while it still takes "
                f"{self.request.kind}; wait for it, or stop it."
            )
        if self.hangs:
            raise CameraError(self.hanging)

    def check(self) -> None:
        """Raise what went wrong: the camera's failure, a subscriber's, or lost frames."""
        error = self.error or self.stream.error
        if error is not None:
            raise error
        if self.ledger is not None and self.request.on_lost == "fail":
            self.ledger.check()


class Exposures:
    """Numbers and times of frames, in two arrays that double when they are full; added to by one thread, asked by others.

    Whoever asks again and again for what is new pays for what is new, not for all that has been.
    """

    def __init__(self) -> None:
        self._count = 0
        self._numbers = np.empty(_FEW, np.int64)
        self._times_ns = np.empty(_FEW, np.int64)
        self._lock = threading.Lock()

    @property
    def first_number(self) -> int:
        """The camera's number of the first frame; 0 as long as there is none."""
        return int(self._numbers[0]) if self._count else 0

    def add(self, numbers: NDArray[np.int64], middles: CameraTimes) -> None:
        """Add frames.

        Parameters
        ----------
        numbers : ndarray of int64, shape (n,)
            The camera's numbers.
        middles : CameraTimes, shape (n,)
            Of the exposures.
        """
        with self._lock:
            stop = self._count + len(numbers)
            if stop > len(self._numbers):
                size = max(stop, 2 * len(self._numbers))
                self._numbers = _grown(self._numbers, size)
                self._times_ns = _grown(self._times_ns, size)
            self._numbers[self._count : stop] = numbers
            self._times_ns[self._count : stop] = middles.ns
            self._count = stop

    def since(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return copies of the numbers and times of the frames from one on."""
        with self._lock:
            new = slice(index, self._count)
            return self._numbers[new].copy(), self._times_ns[new].copy()


def _grown(array: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    larger = np.empty(size, np.int64)
    larger[: len(array)] = array
    return larger
