"""Stepped tomography: the rotation rests while a frame is taken."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from bluesky.protocols import Movable
from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino.frames import PulseTrain
from concertino.units import QuantityLike, convert

from ._acquisitions import Acquisitions, imaging_plan
from ._angle_schemes import angle_scheme, scheme_record
from ._cameras import Cameras, OnLost, camera_set
from ._half_acquisition import axis_fields, axis_record, turn_deg
from ._imaging import DEFAULT_ORDER, Imaging, imaging_numbers
from ._metadata import quantity
from ._parameters import check_limits, check_motor, per_degree
from ._safety import motor_off
from ._triggers import check_train, check_trigger


def step_tomography(
    camera: Cameras,
    rotation: Movable[Any],
    beam: Movable[Any],
    sample_stage: Movable[Any],
    *,
    radio_position: QuantityLike,
    flat_position: QuantityLike,
    num_darks: int = 200,
    num_flats: int = 200,
    num_projections: int = 3000,
    angular_range: QuantityLike | None = None,
    start_angle: QuantityLike = "0 deg",
    scheme: Any = "equidistant",
    trigger: Any = "software",
    half_acquisition: bool = False,
    rotation_axis: QuantityLike | None = None,
    order: Sequence[str] = DEFAULT_ORDER,
    on_lost: OnLost = "fail",
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Take darks, flats and one projection at each of some angles, as one run.

    Without another scheme they are ``start + i * range / N``, the end excluded. Each event of the stream
    ``projections`` has the rotation's read-back.

    Parameters
    ----------
    camera : device, or sequence of devices
        The camera, with a frame stream; takes software triggers. Of several, which expose together, each has
        streams of its own: those of the first have the plain names.
    rotation : device
        Rotation stage; one whose unit is no angle is taken to be in deg.
    beam : device
        The shutter or tube: takes True for beam, False for none. A tube's says so by its attribute
        ``source_kind``; ``BeamSwitch(…, source_kind="tube")`` gives one to any device.
    sample_stage : device
        Moves the sample across the beam; linear (mm) or rotary (deg).
    radio_position : quantity
        Where the stage holds the sample in the beam; a plain number is in the stage's unit.
    flat_position : quantity
        Where the stage holds the sample out of the beam; likewise.
    num_darks, num_flats, num_projections : int
        Number of frames without beam, without sample, and with both.
    angular_range : quantity, optional
        Angle to cover; a plain number is in deg. By default 180 deg, and 360 deg in half acquisition
        or when the beam says that it is a tube's (``beam.source_kind == "tube"``): opposite views
        of a cone differ.
    start_angle : quantity
        First angle; a plain number is in deg.
    scheme : AngleScheme, str or list of float
        Which angles and in which order: ``"equidistant"``, ``"golden_ratio"``, ``"timbir"``, a
        scheme such as ``Timbir(rounds=4)``, or as many angles as projections, in deg.
    trigger : str or TriggerDevice
        ``"software"``, or a device that gives a pulse to the camera's input at each angle.
    half_acquisition : bool
        The rotation axis is near an edge of the frame: over a full turn, or more, the field is
        nearly twice as wide.
    rotation_axis : quantity, optional
        Column of the rotation axis, when it is known; a plain number is in px, counted from the
        middle of the first column.
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
        camera_set(camera), beam, sample_stage, radio_position, flat_position,
        imaging_numbers(num_darks, num_flats, num_projections), order, on_lost, md,
    )  # fmt: skip
    frames = asked.checked_counts()
    axis: Any = rotation
    check_motor(axis, "rotation")
    cone = getattr(beam, "source_kind", None) == "tube"
    sweep = turn_deg(angular_range, half_acquisition, cone=cone)
    axis_at = axis_fields(asked.cameras.first, rotation_axis, half_acquisition)
    start = convert(start_angle, "deg", parameter="start_angle")
    rule = angle_scheme(scheme)
    who = check_trigger(trigger)
    if who == "edge":
        raise ParameterError(
            "trigger: 'edge' was given, and in a stepped scan pulses must wait for the stage. Give the device "
            "that makes them, or 'software'."
        )
    pulses = None if isinstance(who, str) else who
    number = frames.get("projections", 1)
    if pulses is not None:
        yield from check_train(pulses, PulseTrain(number))
    angles = rule.angles(number, start, sweep)
    degree = yield from per_degree(axis)
    for angle, parameter in (
        (angles[0], "start_angle"),
        (min(angles), "angular_range"),
        (max(angles), "angular_range"),
    ):
        yield from check_limits(axis, angle * degree, parameter)
    positions = [angle * degree for angle in angles]

    acquisitions = Acquisitions(
        "step_tomography",
        asked.around(partial(asked.steps, [(axis, positions)], pulses=pulses)),
        tomo={
            "scheme": rule.name,
            "acquisition": "stepped",
            "angles_deg": None if rule.name == "equidistant" else angles,
            "angular_range_deg": sweep,
            "start_angle_deg": start,
            "angle_source": "readback",
            "rotation": axis.name,
            **axis_at,
        },
        motors={"rotation": rotation},
        afterwards=[(axis, positions[0])],
        triggers={"projections": "software" if pulses is None else "edge"},
        restore=[] if pulses is None else [lambda: motor_off(pulses)],
        plan_args={
            "trigger": "software" if pulses is None else pulses.name,
            "angular_range": quantity(sweep, "deg"),
            "start_angle": quantity(start, "deg"),
            **scheme_record(rule),
            **axis_record(axis_at),
        },
    )
    return (yield from imaging_plan(asked, frames, acquisitions))
