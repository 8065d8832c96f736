"""What a plan asks of a camera for one stream of frames."""

from dataclasses import dataclass
from typing import Literal

from ._retrospective import Retrospective

Trigger = Literal["internal", "software", "edge", "level"]
Readout = Literal["direct", "later"]


@dataclass(frozen=True)
class FrameRequest:
    """The frames that a camera shall deliver on its next frame stream.

    Parameters
    ----------
    count : int or None
        Number of frames; None until the camera is stopped.
    kind : str
        Name of the stream that they are for: ``darks``, ``flats``, ``projections``, …; or that this
        one continues.
    trigger : {"internal", "software", "edge", "level"}
        Who starts an exposure: the camera at its frame rate, the plan one by one, or a pulse at its input, which
        with ``"level"`` ends it, too.
    on_lost : {"fail", "flag"}
        What lost frames do: fail the run, or only stand in its ledger.
    retrospective : Retrospective, optional
        Expose without end and keep the frames around a trigger; `count` is then the most that are kept.
    first : int
        Index in the scan of the first of them, when they continue a stream that was interrupted.
    stream : str
        Name of the document stream, when it is a segment of `kind` or another camera's.
    readout : {"direct", "later"}
        Whether frames go to the stream as they are taken, or are recorded into the camera's own memory
        first and read out when all are there.
    moving : bool
        Whether something moves meanwhile, so that what a frame shows depends on when it is exposed.
    """

    count: int | None
    kind: str = "projections"
    trigger: Trigger = "internal"
    on_lost: Literal["fail", "flag"] = "fail"
    retrospective: Retrospective | None = None
    first: int = 0
    stream: str = ""
    readout: Readout = "direct"
    moving: bool = False

    @property
    def stream_name(self) -> str:
        """Name of the document stream."""
        return self.stream or self.kind


@dataclass(frozen=True)
class PulseTrain:
    """The pulses that a trigger device shall give to a camera's input: at positions, or at times.

    Parameters
    ----------
    count : int
        Number of pulses.
    axis : str
        Name of the axis whose positions count; empty for times.
    positions : tuple of float
        Where the axis is at each pulse, in its unit, in the order in which it passes them.
    period_s : float
        Without positions: time between pulses, in s; 0 for one pulse at each ``trigger``.
    """

    count: int
    axis: str = ""
    positions: tuple[float, ...] = ()
    period_s: float = 0.0
