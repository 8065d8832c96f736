"""Frames of one request on their way: what is the same wherever they are exposed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from concertino import CameraError
from concertino.frames import FrameRequest, Ledger


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
        The account of the stream, when it has ended.
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
