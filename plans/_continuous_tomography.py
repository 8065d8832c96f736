"""Continuous tomography: the rotation turns steadily while the camera runs freely."""

from collections.abc import Sequence
from typing import Any

from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from concertino.units import QuantityLike, convert

from ._formulas import continuous_velocity
from ._frames import OnLost
from ._imaging import (
    DEFAULT_ORDER,
    Imaging,
    Projections,
    checked_counts,
    imaging_numbers,
    imaging_plan,
)
from ._metadata import quantity
from ._parameters import angular_range_deg, check_motor, per_degree, read_number
from ._sweep import check_sweep, plan_sweeps, sweep_and_take

_SPEED = "angular_range, num_projections and the camera's frame rate"


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
        imaging_numbers(num_darks, num_flats, num_projections), order, on_lost, md,
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
    move = (axis, start * degree, velocity * degree)
    sweeps = yield from plan_sweeps([move], number / rate)
    yield from check_sweep(sweeps[0], "start_angle", "angular_range", _SPEED)

    def take(radio: float) -> MsgGenerator[None]:
        yield from sweep_and_take(
            asked.camera, asked.beam, (sample_stage, radio), sweeps, number, on_lost
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
        restore=[sweep.restore() for sweep in sweeps],
    )
    return (yield from imaging_plan(asked, frames, projections))
