"""Stepped tomography: the rotation rests while a frame is taken."""

from collections.abc import Sequence
from typing import Any

from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from concertino.units import QuantityLike, convert

from ._angle_schemes import angle_scheme
from ._frames import OnLost, move_together, take_stepped_frames
from ._imaging import (
    DEFAULT_ORDER,
    Imaging,
    Projections,
    checked_counts,
    imaging_numbers,
    imaging_plan,
)
from ._metadata import quantity
from ._parameters import angular_range_deg, check_limits, check_motor, per_degree
from ._safety import beam_off, beam_on


def step_tomography(
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
    scheme: Any = "equidistant",
    order: Sequence[str] = DEFAULT_ORDER,
    on_lost: OnLost = "fail",
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Take darks, flats and one projection at each of some angles, as one run.

    Without another scheme they are ``start + i * range / N``, the end excluded. Each event of the stream
    ``projections`` has the rotation's read-back.

    Parameters
    ----------
    camera : device
        The camera, with a frame stream; takes software triggers.
    rotation : device
        Rotation stage; one whose unit is no angle is taken to be in deg.
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
        Angle to cover; a plain number is in deg. An X-ray tube's cone usually wants ``"360 deg"``.
    start_angle : quantity
        First angle; a plain number is in deg.
    scheme : AngleScheme, str or list of float
        Which angles and in which order: ``"equidistant"``, ``"golden_ratio"``, ``"timbir"``, a
        scheme such as ``Timbir(rounds=4)``, or as many angles as projections, in deg.
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
    >>> from concertino.plans import step_tomography
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> plan = step_tomography(b.camera, b.rotation, b.beam, b.sample_stage,
    ...                        radio_position=0, flat_position=10, num_projections=90)
    """
    asked = Imaging(
        camera, beam, sample_stage, radio_position, flat_position,
        imaging_numbers(num_darks, num_flats, num_projections), order, on_lost, md,
    )  # fmt: skip
    frames = checked_counts(asked)
    axis: Any = rotation
    check_motor(axis, "rotation")
    sweep = angular_range_deg(angular_range)
    start = convert(start_angle, "deg", parameter="start_angle")
    rule = angle_scheme(scheme)
    number = frames.get("projections", 1)
    angles = rule.angles(number, start, sweep)
    degree = yield from per_degree(axis)
    for angle, parameter in (
        (angles[0], "start_angle"),
        (min(angles), "angular_range"),
        (max(angles), "angular_range"),
    ):
        yield from check_limits(axis, angle * degree, parameter)
    first = angles[0] * degree

    def take(radio: float) -> MsgGenerator[None]:
        yield from move_together((sample_stage, radio), (axis, first))
        yield from beam_on(asked.beam)
        yield from take_stepped_frames(
            asked.camera, axis, [angle * degree for angle in angles], "projections", on_lost=on_lost
        )
        yield from beam_off(asked.beam)
        yield from move_together((axis, first))

    projections = Projections(
        "step_tomography",
        take,
        tomo={
            "scheme": rule.name,
            "acquisition": "stepped",
            "angles_deg": None if rule.name == "equidistant" else angles,
            "angular_range_deg": sweep,
            "start_angle_deg": start,
            "angle_source": "readback",
            "rotation": axis.name,
        },
        motors={"rotation": rotation},
        trigger="software",
        plan_args={
            "angular_range": quantity(sweep, "deg"),
            "start_angle": quantity(start, "deg"),
            "scheme": rule.name,
        },
    )
    return (yield from imaging_plan(asked, frames, projections))
