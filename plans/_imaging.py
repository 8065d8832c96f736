"""What every imaging plan is asked, and how it takes darks, flats, and frames at points."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino.units import QuantityLike, convert_count

from ._cameras import CameraSet, OnLost, Trigger, check_requests_of
from ._frames import move_together, take_darks, take_flats, take_stepped_frames
from ._hold import Hold
from ._metadata import check_md
from ._parameters import check_devices
from ._pieces import Piece, Take
from ._protocols import TriggerDevice

DEFAULT_ORDER: Sequence[str] = ("darks", "flats", "projections")


@dataclass(frozen=True)
class Imaging:
    """The part of an imaging plan's parameters that all of them take, as they were given.

    `numbers` has the frames of each stream; the user knows each as ``num_<stream>``.
    """

    cameras: CameraSet
    beam: Any
    sample_stage: Any
    radio_position: QuantityLike
    flat_position: QuantityLike
    numbers: Mapping[str, int]
    order: Sequence[str]
    on_lost: OnLost
    md: Mapping[str, Any] | None

    def check_one_camera(self, why: str) -> None:
        """Check that there is one camera only.

        Raises
        ------
        ParameterError
            If there are several.
        """
        if self.cameras.others:
            names = ", ".join(camera.name for camera in self.cameras.cameras)
            raise ParameterError(f"camera: {names} were given; {why}. Give one camera.")

    def checked_counts(self) -> dict[str, int]:
        """Return the number of frames of each stream that is to be taken, in order.

        Raises
        ------
        ParameterError
            If a number is not positive, or something is not a device.
        """
        check_md(self.md)
        check_devices(self.beam, self.sample_stage)
        counts = {
            stream: convert_count(number, parameter=f"num_{stream}")
            for stream, number in self.numbers.items()
        }
        if self.on_lost not in ("fail", "flag"):
            raise ParameterError(
                f"on_lost: {self.on_lost!r} was given; give 'fail' to fail the run when frames are "
                "lost, or 'flag' to only note it in the ledger."
            )
        return _in_order(counts, self.order)

    def check_requests(
        self, frames: Mapping[str, int], triggers: Mapping[str, Trigger]
    ) -> MsgGenerator[None]:
        """Ask the camera whether it can deliver the frames of each stream.

        Parameters
        ----------
        frames : mapping
            From `checked_counts`.
        triggers : mapping
            Who starts an exposure, for the streams that are not taken at the camera's own pace.

        Raises
        ------
        CameraError
            If it cannot.
        """
        for kind, count in frames.items():
            by = triggers.get(kind, "internal")
            yield from check_requests_of(self.cameras, count, kind, by, self.on_lost)

    def around(
        self, take: Callable[[float, Piece, Hold | None], MsgGenerator[bool]]
    ) -> Callable[[float, float], Mapping[str, Take]]:
        """Return the acquisitions of a plan that takes darks, flats, and projections of its own kind.

        Parameters
        ----------
        take : callable
            Takes the radio position in the sample stage's unit, a piece, and who asks for pauses; returns the
            messages, which tell whether the whole piece was taken.
        """
        return lambda radio, flat: {
            "darks": self.darks,
            "flats": partial(self.frames_at, flat),
            "projections": partial(take, radio),
        }

    def darks(self, piece: Piece, hold: Hold | None) -> MsgGenerator[bool]:
        """Take darks of a scan."""
        return take_darks(
            self.cameras, self.beam, piece.count,
            on_lost=self.on_lost, stream=piece.stream, hold=hold,
        )  # fmt: skip

    def frames_at(self, position: float, piece: Piece, hold: Hold | None) -> MsgGenerator[bool]:
        """Take frames of a scan with beam, flats or radiographs, with the sample stage at a position."""
        return take_flats(
            self.cameras, self.beam, self.sample_stage, position, piece.count,
            on_lost=self.on_lost, stream=piece.stream, hold=hold,
        )  # fmt: skip

    def steps(
        self,
        points: Sequence[tuple[Any, Sequence[float]]],
        sample: float,
        piece: Piece,
        hold: Hold | None,
        pulses: TriggerDevice | None = None,
    ) -> MsgGenerator[bool]:
        """Take one frame at each point of a piece.

        Parameters
        ----------
        points : sequence of (device, sequence of float)
            What steps, and where it is for each frame of the stream, in its unit.
        sample : float
            Where the sample stage is, in its unit.
        piece : Piece
            The frames.
        hold : Hold or None
            Asks for pauses.
        pulses : TriggerDevice, optional
            Starts the exposures.
        """
        part = [(motor, places[piece.first : piece.stop]) for motor, places in points]
        yield from move_together((self.sample_stage, sample), *((m, p[0]) for m, p in part))
        (rotation, angles), *along = part
        return (
            yield from take_stepped_frames(
                self.cameras, rotation, angles, piece.stream, along=along,
                on_lost=self.on_lost, hold=hold, pulses=pulses, beam=self.beam,
            )
        )  # fmt: skip


def imaging_numbers(num_darks: int, num_flats: int, num_projections: int) -> dict[str, int]:
    """Return the frames of each stream of an imaging plan, as they were asked for."""
    return {"darks": num_darks, "flats": num_flats, "projections": num_projections}


def _in_order(counts: Mapping[str, int], order: Sequence[str]) -> dict[str, int]:
    """Return the streams in the order asked for.

    Raises
    ------
    ParameterError
        If the order names one that there is not, or one twice, or none.
    """
    if isinstance(order, str):
        raise ParameterError(
            f"order: {order!r} was given; give a list such as ['darks', 'flats', 'projections']."
        )
    names = list(order)
    unknown = [name for name in names if name not in counts]
    if unknown or len(set(names)) != len(names) or not names:
        raise ParameterError(
            f"order: {names} was given; name each of {', '.join(counts)} at most once, "
            "and at least one."
        )
    return {name: counts[name] for name in names}
