"""Grating stepping: the fringes of a grating interferometer, without and with the sample."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, get_args

from bluesky.protocols import Movable
from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino.documents import (
    OBJECT_STEPPING,
    REFERENCE_STEPPING,
    GratingBlock,
    SteppedGrating,
)
from concertino.units import QuantityLike, convert, convert_count

from ._acquisitions import Acquisitions, imaging_plan
from ._cameras import Cameras, OnLost, camera_set
from ._frames import move_together
from ._hold import Hold
from ._imaging import Imaging
from ._metadata import quantity
from ._parameters import check_limits, check_motor, in_motor_unit, motor_position
from ._pieces import Piece, Take


def grating_stepping(
    camera: Cameras,
    stepping: Movable[Any],
    beam: Movable[Any],
    sample_stage: Movable[Any],
    *,
    radio_position: QuantityLike,
    flat_position: QuantityLike,
    grating_period: QuantityLike,
    stepping_start_position: QuantityLike,
    num_darks: int = 200,
    num_periods: int = 1,
    num_steps_per_period: int = 16,
    propagation_distance: QuantityLike | None = None,
    stepped_grating: SteppedGrating = "analyser",
    stepping_direction: Literal[1, -1] = 1,
    analyser_period: QuantityLike | None = None,
    order: Sequence[str] = ("darks", REFERENCE_STEPPING, OBJECT_STEPPING),
    on_lost: OnLost = "fail",
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Take darks, then one frame at each step of a grating, without and with the sample, as one run.

    Step ``i`` is at ``start + i * period / num_steps_per_period``, whole periods, the end excluded.
    The callback `GratingContrasts` makes images of the run.

    Parameters
    ----------
    camera : device, or sequence of devices
        The camera, with a frame stream; takes software triggers. Of several, which expose together, each has
        streams of its own: those of the first have the plain names.
    stepping : device
        Motor that moves the grating; one whose unit is no length is taken to be in um.
    beam : device
        The shutter or tube: takes True for beam, False for none.
    sample_stage : device
        Moves the sample across the beam; linear (mm) or rotary (deg).
    radio_position : quantity
        Where the stage holds the sample in the beam; a plain number is in the stage's unit.
    flat_position : quantity
        Where the stage holds the sample out of the beam; likewise.
    grating_period : quantity
        Period of the grating; a plain number is in um.
    stepping_start_position : quantity
        Position of the first step; a plain number is in the unit of the motor.
    num_darks : int
        Number of frames without beam.
    num_periods, num_steps_per_period : int
        Periods to cover, and steps in each: 3 or more.
    propagation_distance : quantity, optional
        From sample to analyser grating; a plain number is in mm. With it the refraction angle is
        known in rad.
    stepped_grating : {"analyser", "phase", "source"}
        Which grating the motor moves. It decides the sign of the refraction angle, as does the next.
    stepping_direction : {1, -1}
        1 if larger positions of the motor are towards larger columns of the frame, -1 if towards
        smaller ones. If a ball appears to refract inwards, it is the other one.
    analyser_period : quantity, optional
        Period of the analyser grating when another one is stepped, without which there is no
        refraction angle then; a plain number is in um.
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
    >>> from concertino.plans import grating_stepping
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> plan = grating_stepping(b.camera, b.grating_stage, b.beam, b.sample_stage,
    ...                         radio_position="0 mm", flat_position="10 mm",
    ...                         grating_period="2.4 um", stepping_start_position="0 um",
    ...                         propagation_distance="20 cm")
    """
    periods = convert_count(num_periods, parameter="num_periods", unit="")
    steps = convert_count(
        num_steps_per_period, parameter="num_steps_per_period", minimum=3, unit=""
    )
    asked = Imaging(
        camera_set(camera), beam, sample_stage, radio_position, flat_position,
        {
            "darks": num_darks,
            REFERENCE_STEPPING: periods * steps,
            OBJECT_STEPPING: periods * steps,
        },
        order, on_lost, md,
    )  # fmt: skip
    frames = asked.checked_counts()
    motor: Any = stepping
    check_motor(motor, "stepping")
    per_um = yield from in_motor_unit(motor, "um", "stepping")
    start = yield from motor_position(motor, stepping_start_position, "stepping_start_position")
    period = convert(grating_period, "um", parameter="grating_period", positive=True)
    positions = [start + i * period / steps * per_um for i in range(periods * steps)]
    yield from check_limits(motor, positions[-1], "grating_period and num_periods")
    distance = None
    if propagation_distance is not None:
        distance = convert(
            propagation_distance, "mm", parameter="propagation_distance", positive=True
        )
    analyser = None
    if analyser_period is not None:
        analyser = convert(analyser_period, "um", parameter="analyser_period", positive=True)
    _check_stepped(stepped_grating, stepping_direction, period, analyser)
    block = GratingBlock(
        period_um=period,
        num_periods=periods,
        num_steps_per_period=steps,
        start_um=start / per_um,
        propagation_distance_mm=distance,
        stepping=motor.name,
        stepped=stepped_grating,
        direction=stepping_direction,
        analyser_period_um=analyser,
    )

    def step(sample: float, piece: Piece, hold: Hold | None) -> MsgGenerator[bool]:
        complete = yield from asked.steps([(motor, positions)], sample, piece, hold)
        yield from move_together((motor, start))
        return complete

    def blocks(radio: float, flat: float) -> dict[str, Take]:
        return {
            "darks": asked.darks,
            REFERENCE_STEPPING: partial(step, flat),
            OBJECT_STEPPING: partial(step, radio),
        }

    kinds = {"darks": "dark", REFERENCE_STEPPING: "flat", OBJECT_STEPPING: "projection"}
    acquisitions = Acquisitions(
        "grating_stepping",
        blocks,
        tomo={
            "scheme": "grating",
            "acquisition": "stepped",
            "num_projections": frames.get(OBJECT_STEPPING, 0),
            "propagation_distance_mm": distance,
            "image_kinds": {stream: kinds[stream] for stream in frames},
        },
        motors={"stepping": stepping},
        plan_args={
            "grating_period": quantity(period, "um"),
            "stepping_start_position": quantity(start / per_um, "um"),
            "num_periods": periods,
            "num_steps_per_period": steps,
            "propagation_distance": None if distance is None else quantity(distance, "mm"),
            "stepped_grating": stepped_grating,
            "stepping_direction": stepping_direction,
            "analyser_period": None if analyser is None else quantity(analyser, "um"),
        },
        triggers={REFERENCE_STEPPING: "software", OBJECT_STEPPING: "software"},
        metadata={"grating": block.model_dump(mode="json")},
        whole=[REFERENCE_STEPPING, OBJECT_STEPPING],
    )
    return (yield from imaging_plan(asked, frames, acquisitions))


def _check_stepped(grating: str, direction: int, period: float, analyser: float | None) -> None:
    if grating not in get_args(SteppedGrating):
        raise ParameterError(
            f"stepped_grating: {grating!r} was given; give which grating the motor moves: 'analyser', "
            "'phase' or 'source'."
        )
    if isinstance(direction, bool) or direction not in (1, -1):
        raise ParameterError(
            f"stepping_direction: {direction!r} was given; give 1 if larger positions of the motor are "
            "towards larger columns of the frame, or -1 if towards smaller ones."
        )
    if grating == "analyser" and analyser is not None and analyser != period:
        raise ParameterError(
            f"analyser_period: {analyser:g} um was given, and the analyser itself is stepped, with a "
            f"grating_period of {period:g} um. Leave analyser_period out, or say which grating the motor "
            "moves: stepped_grating='phase' or 'source'."
        )
