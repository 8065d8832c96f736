"""Continuous tomography: the rotation turns steadily while the camera runs freely."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from bluesky.protocols import Movable
from bluesky.utils import MsgGenerator

from concertino.units import QuantityLike, convert, convert_count

from ._acquisitions import Acquisitions, imaging_plan
from ._angle_schemes import angle_scheme, passed_angles, scheme_record
from ._cameras import Cameras, OnLost, Readout, camera_set, common_frame_rate
from ._formulas import continuous_velocity
from ._half_acquisition import axis_fields, axis_record, turn_deg
from ._imaging import DEFAULT_ORDER, Imaging, imaging_numbers
from ._metadata import quantity
from ._parameters import check_motor, limit_of_blur, per_degree
from ._sweep import SteadyScan, check_sweep, plan_sweeps, sweep_and_take, sweep_angles
from ._triggers import sweep_trigger

_SPEED = "angular_range, num_projections and the camera's frame rate"


def continuous_tomography(
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
    num_tomograms: int = 1,
    angular_range: QuantityLike | None = None,
    start_angle: QuantityLike = "0 deg",
    scheme: Any = "equidistant",
    trigger: Any = "software",
    half_acquisition: bool = False,
    rotation_axis: QuantityLike | None = None,
    order: Sequence[str] = DEFAULT_ORDER,
    on_lost: OnLost = "fail",
    max_blur: QuantityLike | None = None,
    readout: Readout = "direct",
    unwind: bool = True,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Take darks, flats and projections while the rotation turns steadily, as one run.

    The rotation's velocity is ``frame rate * range / N``, and what it was before returns at the end.
    The camera starts when the rotation has reached it. The stream ``projection_angles`` has the angle
    of each projection in the middle of its exposure: by the rotation's encoder, if it has one that
    records, and otherwise computed from where the rotation was when the camera started.

    Parameters
    ----------
    camera : device, or sequence of devices
        The camera, with a frame stream and a frame rate. Of several, which expose together, each has
        streams of its own: those of the first have the plain names.
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
        Number of frames without beam, without sample, and with both (for each tomogram).
    num_tomograms : int
        A time series of so many tomograms, one after the other while the rotation goes on and on.
    angular_range : quantity, optional
        Angle to cover, by each tomogram; 180 deg by default, and 360 deg in half acquisition. A
        plain number is in deg.
    start_angle : quantity
        First angle; a plain number is in deg.
    scheme : AngleScheme or str
        Which angles: ``"equidistant"``, ``MultiTurn(turns=…)`` for several turns whose angles fall between
        one another, or ``Timbir(rounds=…)``, whose rounds begin at uneven distances: for a trigger
        device that knows the rotation's position.
    trigger : str or TriggerDevice
        ``"software"``: the plan starts the camera, which goes on at its frame rate. ``"edge"``: each frame
        is started by a pulse at the camera's input, that somebody gives at that rate. A trigger device, such
        as a PandA: it gives the pulses where the rotation is at the angles, if it knows the
        rotation's position, and at the frame rate otherwise.
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
    max_blur : quantity, optional
        Refuse more motion blur than this; a plain number is in px. Without it, more than 1 px is
        warned about.
    readout : {"direct", "later"}
        Read frames out as they are taken, or record each stream into the camera's own memory at full speed,
        switch the beam off, and read it out then.
    unwind : bool
        Turn back to the start when the run is closed, which takes as long as the velocity that the
        rotation had before allows; `preflight` tells. False: it stays where it stops, and the next scan begins
        with the way back.
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
        camera_set(camera, readout), beam, sample_stage, radio_position, flat_position,
        imaging_numbers(num_darks, num_flats, num_projections), order, on_lost, md,
    )  # fmt: skip
    frames = asked.checked_counts()
    each = frames.get("projections", 1)
    tomograms = convert_count(num_tomograms, parameter="num_tomograms")
    number = each * tomograms
    if "projections" in frames:
        frames["projections"] = number
    axis: Any = rotation
    check_motor(axis, "rotation", velocity=True)
    sweep = turn_deg(angular_range, half_acquisition)
    axis_at = axis_fields(asked.cameras.first, rotation_axis, half_acquisition)
    start = convert(start_angle, "deg", parameter="start_angle")
    blur_px = limit_of_blur(max_blur)
    rate = yield from common_frame_rate(asked.cameras)
    rule = angle_scheme(scheme)
    passed = passed_angles(rule, each, start, sweep, tomograms)
    velocity = continuous_velocity(rate, passed.step, 1)
    degree = yield from per_degree(axis)
    sweeps = yield from plan_sweeps(
        [(axis, start * degree, velocity * degree)], passed.span / abs(velocity)
    )
    yield from check_sweep(sweeps[0], "start_angle", "angular_range", _SPEED)
    by = yield from sweep_trigger(
        trigger,
        asked.cameras,
        axis,
        [angle * degree for angle in passed.angles],
        velocity * degree,
        rate,
    )
    passed.check(by.by_position)
    angles = sweep_angles(asked.cameras, sweeps[0], degree, by)
    scan = SteadyScan(sweeps, number, angles, by, unwind)
    acquisitions = Acquisitions(
        "continuous_tomography",
        asked.around(partial(sweep_and_take, asked, scan)),
        tomo={
            "scheme": passed.scheme,
            "acquisition": "continuous",
            "angles_deg": None if passed.even else list(passed.angles),
            "angular_range_deg": passed.step * number if passed.even else sweep,
            "projections_per_tomogram": each if tomograms > 1 else None,
            "start_angle_deg": start,
            "angle_source": "computed" if angles is None else angles.source,
            "rotation": axis.name,
            **axis_at,
        },
        motors={"rotation": rotation},
        afterwards=[(axis, sweeps[0].start)] if unwind else (),
        plan_args={
            "num_projections": each,
            "num_tomograms": tomograms,
            "angular_range": quantity(sweep, "deg"),
            "start_angle": quantity(start, "deg"),
            **scheme_record(rule),
            **axis_record(axis_at),
            **({} if blur_px is None else {"max_blur": quantity(blur_px, "px")}),
            **({} if unwind else {"unwind": False}),
            "trigger": trigger if isinstance(trigger, str) else trigger.name,
            "velocity": quantity(velocity, "deg/s"),
            "frame_rate": quantity(rate, "Hz"),
        },
        restore=scan.restored(),
        triggers={"projections": by.request},
        max_blur_px=blur_px,
    )
    return (yield from imaging_plan(asked, frames, acquisitions))
