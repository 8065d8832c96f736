"""The devices of a scan, and how frames are taken with them: darks, flats, and frames at points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bluesky.utils import MsgGenerator

from concertino.plans.core._cameras import CameraSet, OnLost
from concertino.plans.core._protocols import TriggerDevice
from concertino.plans.run._pause_request import PauseRequest
from concertino.plans.run._segments import AcquisitionSegment

from ._frames import move_together, take_darks, take_flats, take_stepped_frames


@dataclass(frozen=True)
class ScanSetup:
    """The devices of a scan, and where the sample stage holds the sample.

    Parameters
    ----------
    cameras : CameraSet
        The cameras.
    beam, sample_stage : device
        What every scan uses.
    motors : mapping of str to device
        What moves besides, by its part in the plan.
    trigger : device, optional
        What starts exposures, if a device does.
    on_lost : {"fail", "flag"}
        What lost frames do.
    radio, flat : float
        Where the stage holds the sample in the beam and out of it, in its unit.
    streams : sequence of str
        Which streams the scan takes.
    found : dict
        What acquisitions measure, for the plan that has them taken.
    """

    cameras: CameraSet
    beam: Any
    sample_stage: Any
    motors: Mapping[str, Any]
    trigger: Any
    on_lost: OnLost
    radio: float
    flat: float
    streams: Sequence[str] = ()
    found: dict[str, Any] = field(default_factory=dict)

    def darks(self, piece: AcquisitionSegment, hold: PauseRequest | None) -> MsgGenerator[bool]:
        """Take frames without beam."""
        return take_darks(
            self.cameras, self.beam, piece.count,
            on_lost=self.on_lost, stream=piece.stream, hold=hold,
        )  # fmt: skip

    def frames_at(
        self, position: float, piece: AcquisitionSegment, hold: PauseRequest | None
    ) -> MsgGenerator[bool]:
        """Take frames with beam, flats or radiographs, with the sample stage at a position."""
        return take_flats(
            self.cameras, self.beam, self.sample_stage, position, piece.count,
            on_lost=self.on_lost, stream=piece.stream, hold=hold,
        )  # fmt: skip

    def steps(
        self,
        points: Sequence[tuple[Any, Sequence[float]]],
        sample: float,
        piece: AcquisitionSegment,
        hold: PauseRequest | None,
        pulses: TriggerDevice | None = None,
    ) -> MsgGenerator[bool]:
        """Take one frame at each point of a piece.

        Parameters
        ----------
        points : sequence of (device, sequence of float)
            What steps, and where it is for each frame of the stream, in its unit.
        sample : float
            Where the sample stage is, in its unit.
        piece : AcquisitionSegment
            The frames.
        hold : PauseRequest or None
            Asks for pauses.
        pulses : TriggerDevice, optional
            Starts the exposures.
        """
        part = [(motor, places[piece.first : piece.stop]) for motor, places in points]
        yield from move_together((self.sample_stage, sample), *((m, p[0]) for m, p in part))
        (axis, places), *along = part
        return (
            yield from take_stepped_frames(
                self.cameras, axis, places, piece.stream, along=along,
                on_lost=self.on_lost, hold=hold, pulses=pulses, beam=self.beam,
            )
        )  # fmt: skip
