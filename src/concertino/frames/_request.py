"""What a plan asks of a camera for one stream of frames."""

from dataclasses import dataclass
from typing import Literal

Trigger = Literal["internal", "software", "edge"]


@dataclass(frozen=True)
class FrameRequest:
    """The frames that a camera shall deliver on its next frame stream.

    Parameters
    ----------
    count : int or None
        Number of frames; None until the camera is stopped.
    kind : str
        Name of the stream that they are for: ``darks``, ``flats``, ``projections``, …
    trigger : {"internal", "software", "edge"}
        Who starts an exposure: the camera at its frame rate, the plan one by one, or a signal.
    on_lost : {"fail", "flag"}
        What lost frames do: fail the run, or only stand in its ledger.
    """

    count: int | None
    kind: str = "projections"
    trigger: Trigger = "internal"
    on_lost: Literal["fail", "flag"] = "fail"
