"""Continuous tomography: the rotation turns steadily while the camera runs freely."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bluesky.plan_stubs as bps
from bluesky import Msg
from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator, short_uid

from concertino.units import QuantityLike, convert

from ._formulas import continuous_velocity
from ._frames import OnLost, move_together, take_frames
from ._imaging import DEFAULT_ORDER, Imaging, Projections, checked_counts, imaging_plan
from ._metadata import quantity
from ._parameters import (
    angular_range_deg,
    check_limits,
    check_motor,
    check_velocity,
    per_degree,
    read_number,
)
from ._protocols import FrameCamera, Rotation
from ._safety import beam_off, beam_on

_MARGIN_S = 0.5


def continuous_tomography(
    camera: Readable[Any],
    rotation: Movable[Any],
    beam: Movable[Any],
    sample_stage: Movable[Any],
    *,
    radio_position: QuantityLike,
    flat_position: QuantityLike,
    num_darks: int = 200,
    num_flats: int = 200,
    num_projections: int = 3000,
    angular_range: QuantityLike = "180 deg",
    start_angle: QuantityLike = "0 deg",
    order: Sequence[str] = DEFAULT_ORDER,
    on_lost: OnLost = "fail",
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Take darks, flats and projections while the rotation turns steadily, as one run.

    The rotation's velocity is ``frame rate * range / N``, and what it was before returns at the end.
    The camera starts when the rotation has reached it; the stream ``motion`` says where the
    rotation was when, so that the angle of each frame is known.

    Parameters
    ----------
    camera : device
        The camera, with a frame stream and a frame rate.
    rotation : device
        Rotation stage with a ``velocity``; one whose unit is no angle is taken to be in deg.
    beam : device
        The shutter or tube: takes True for beam, False for none.
    sample_stage : device
        Moves the sample across the beam; linear (mm) or rotary (deg).
    radio_position : quantity
        Where the stage holds the sample in the beam; a plain number is in the stage's unit.
    flat_position : quantity
        Where the stage holds the sample out of the beam; likewise.
    num_darks, num_flats, num_projections : int
        Number of frames without beam, without sample, and with both.
    angular_range : quantity
        Angle to cover; a plain number is in deg.
    start_angle : quantity
        First angle; a plain number is in deg.
    order : sequence of str
        The acquisitions and their order; one that is not named is left out.
    on_lost : {"fail", "flag"}
        What lost frames do: fail the run, or only stand in its ledger.
    md : dict, optional
        Metadata for the run, such as ``{"sample": "tooth"}``.

    Returns
    -------
    str
        The run's uid.

    Raises
    ------
    ParameterError
        If a parameter cannot work; nothing has moved then.

    Examples
    --------
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import continuous_tomography
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> plan = continuous_tomography(b.camera, b.rotation, b.beam, b.sample_stage,
    ...                              radio_position="0 mm", flat_position="10 mm",
    ...                              num_projections=500, md={"sample": "foam"})
    """
    asked = Imaging(
        camera, beam, sample_stage, radio_position, flat_position,
        num_darks, num_flats, num_projections, order, on_lost, md,
    )  # fmt: skip
    frames = checked_counts(asked)
    number = frames.get("projections", 1)
    axis: Any = rotation
    check_motor(axis, "rotation", velocity=True)
    sweep = angular_range_deg(angular_range)
    start = convert(start_angle, "deg", parameter="start_angle")
    rate = yield from read_number(asked.camera.frame_rate)
    velocity = continuous_velocity(rate, sweep, number)
    degree = yield from per_degree(axis)
    before = yield from read_number(axis.velocity)
    turn = yield from _turn(axis, start * degree, velocity * degree, number / rate)
    yield from check_limits(axis, turn.start, "start_angle")
    yield from check_limits(axis, turn.first, "start_angle, less the way to gain speed")
    yield from check_limits(axis, turn.last, "angular_range, with the way to lose speed")
    check_velocity(axis, abs(turn.velocity))

    def take(radio: float) -> MsgGenerator[None]:
        yield from _turn_and_take(
            asked.camera, axis, asked.beam, (sample_stage, radio), turn, number, before, on_lost
        )

    projections = Projections(
        "continuous_tomography",
        take,
        tomo={
            "scheme": "equidistant",
            "acquisition": "continuous",
            "angular_range_deg": sweep,
            "start_angle_deg": start,
            "angle_source": "computed",
            "rotation": axis.name,
        },
        motors={"rotation": rotation},
        plan_args={
            "angular_range": quantity(sweep, "deg"),
            "start_angle": quantity(start, "deg"),
            "velocity": quantity(velocity, "deg/s"),
            "frame_rate": quantity(rate, "Hz"),
        },
        restore=[lambda: bps.mv(axis.velocity, before)],
    )
    return (yield from imaging_plan(asked, frames, projections))


@dataclass(frozen=True)
class _Turn:
    """One steady turn, in the rotation's unit."""

    start: float
    velocity: float
    ramp_s: float
    frames_s: float

    @property
    def first(self) -> float:
        """Where it begins, so that the speed is reached at the start angle."""
        return self.start - self.velocity * self.ramp_s / 2

    @property
    def last(self) -> float:
        """Where it ends: a camera that starts late has its last frame at full speed, too."""
        return self.start + self.velocity * (self.frames_s + _MARGIN_S + self.ramp_s / 2)


def _turn(axis: Any, start: float, velocity: float, frames_s: float) -> MsgGenerator[_Turn]:
    ramp_s = 0.0
    if hasattr(axis, "acceleration_time"):
        ramp_s = yield from read_number(axis.acceleration_time)
    return _Turn(start, velocity, ramp_s, frames_s)


def _turn_and_take(
    camera: FrameCamera,
    rotation: Rotation,
    beam: Any,
    radio: tuple[Any, float],
    turn: _Turn,
    number: int,
    before: float,
    on_lost: OnLost,
) -> MsgGenerator[None]:
    yield from move_together(radio, (rotation, turn.first))
    yield from bps.mv(rotation.velocity, abs(turn.velocity))
    yield from beam_on(beam)
    turning = short_uid("turning")

    def turn_steadily() -> MsgGenerator[None]:
        yield Msg("set", rotation, turn.last, group=turning)
        yield from bps.sleep(turn.ramp_s)

    def note_motion() -> MsgGenerator[None]:
        yield Msg("create", None, name="motion")
        yield Msg("read", rotation)
        yield Msg("read", camera.start_time)
        yield Msg("save")

    yield from take_frames(
        camera,
        number,
        "projections",
        on_lost=on_lost,
        starting=turn_steadily,
        started=note_motion,
    )
    yield from beam_off(beam)
    yield Msg("wait", None, group=turning)
    yield from bps.mv(rotation.velocity, before)
    yield from move_together((rotation, turn.start))
