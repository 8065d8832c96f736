"""Continuous spiral tomography: the sample turns and moves along the axis steadily."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from bluesky.protocols import Movable
from bluesky.utils import MsgGenerator

from concertino.units import QuantityLike

from ._acquisitions import Acquisitions, imaging_plan
from ._cameras import Cameras, OnLost, Readout, camera_set, common_frame_rate
from ._formulas import continuous_velocity
from ._imaging import DEFAULT_ORDER, Imaging, imaging_numbers
from ._metadata import quantity
from ._parameters import limit_of_blur
from ._spiral import checked_spiral
from ._sweep import SteadyScan, check_sweep, plan_sweeps, sweep_and_take, sweep_angles

_RATE = "num_projections and the camera's frame rate"


def continuous_spiral_tomography(
    camera: Cameras,
    rotation: Movable[Any],
    vertical_stage: Movable[Any],
    beam: Movable[Any],
    sample_stage: Movable[Any],
    *,
    radio_position: QuantityLike,
    flat_position: QuantityLike,
    start_position_vertical: QuantityLike,
    vertical_shift_per_tomogram: QuantityLike,
    sample_height: QuantityLike,
    num_darks: int = 200,
    num_flats: int = 200,
    num_projections: int = 3000,
    angular_range: QuantityLike = "180 deg",
    start_angle: QuantityLike = "0 deg",
    order: Sequence[str] = DEFAULT_ORDER,
    on_lost: OnLost = "fail",
    max_blur: QuantityLike | None = None,
    readout: Readout = "direct",
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Take darks, flats and projections while the sample turns and rises, as one run.

    There are ``abs(sample_height / vertical_shift_per_tomogram) + 1`` tomograms of `num_projections`
    each; a part of one is taken, too. The velocities are ``frame rate * angular_range / N`` and
    ``frame rate * shift / N``; what they were before returns at the end. The stream ``motion`` says
    where both axes were when, ``projection_angles`` at which angle each projection was taken.

    Parameters
    ----------
    camera : device, or sequence of devices
        The camera, with a frame stream and a frame rate. Of several, which expose together, each has
        streams of its own: those of the first have the plain names.
    rotation, vertical_stage : device
        Stages that turn the sample, and lift it along the rotation axis (mm); with a ``velocity``.
    beam : device
        The shutter or tube: takes True for beam, False for none.
    sample_stage : device
        Moves the sample across the beam; linear (mm) or rotary (deg).
    radio_position : quantity
        Where the stage holds the sample in the beam; a plain number is in the stage's unit.
    flat_position : quantity
        Where the stage holds the sample out of the beam; likewise.
    start_position_vertical : quantity
        Where the vertical stage is at the first projection; a plain number is in the stage's unit.
    vertical_shift_per_tomogram : quantity
        How far it moves per tomogram; negative for down; a plain number is in mm.
    sample_height : quantity
        Height to cover; a plain number is in mm.
    num_darks, num_flats : int
        Number of frames without beam, and without sample.
    num_projections : int
        Number of projections per tomogram.
    angular_range : quantity
        Angle per tomogram; a plain number is in deg.
    start_angle : quantity
        First angle; a plain number is in deg.
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
    >>> from concertino.plans import continuous_spiral_tomography
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> plan = continuous_spiral_tomography(
    ...     b.camera, b.rotation, b.vertical_stage, b.beam, b.sample_stage,
    ...     radio_position="0 mm", flat_position="10 mm", start_position_vertical="0 mm",
    ...     vertical_shift_per_tomogram="2 mm", sample_height="5 mm", num_projections=90)
    """
    asked = Imaging(
        camera_set(camera, readout), beam, sample_stage, radio_position, flat_position,
        imaging_numbers(num_darks, num_flats, num_projections), order, on_lost, md,
    )  # fmt: skip
    frames = asked.checked_counts()
    spiral = yield from checked_spiral(
        rotation,
        vertical_stage,
        projections=frames.get("projections", 1),
        angular_range=angular_range,
        start_angle=start_angle,
        start_position_vertical=start_position_vertical,
        vertical_shift_per_tomogram=vertical_shift_per_tomogram,
        sample_height=sample_height,
        velocity=True,
    )
    if "projections" in frames:
        frames["projections"] = spiral.total
    blur_px = limit_of_blur(max_blur)
    rate = yield from common_frame_rate(asked.cameras)
    velocity = continuous_velocity(rate, spiral.range_deg, spiral.projections)
    lift = continuous_velocity(rate, spiral.shift_mm, spiral.projections)
    sweeps = yield from plan_sweeps(
        [
            (rotation, spiral.start_deg * spiral.per_degree, velocity * spiral.per_degree),
            (vertical_stage, spiral.start_mm * spiral.per_mm, lift * spiral.per_mm),
        ],
        spiral.total / rate,
    )
    turning, lifting = sweeps
    angles = sweep_angles(asked.cameras, turning, spiral.per_degree)
    yield from check_sweep(turning, "start_angle", "angular_range", f"angular_range, {_RATE}")
    yield from check_sweep(
        lifting,
        "start_position_vertical",
        "sample_height",
        f"vertical_shift_per_tomogram, {_RATE}",
    )
    scan = SteadyScan(sweeps, spiral.total, angles)
    acquisitions = Acquisitions(
        "continuous_spiral_tomography",
        asked.around(partial(sweep_and_take, asked, scan)),
        tomo={
            **spiral.tomo(rotation),
            "acquisition": "continuous",
            "angle_source": "computed" if angles is None else angles.source,
        },
        motors={"rotation": rotation, "vertical_stage": vertical_stage},
        afterwards=[(sweep.axis, sweep.start) for sweep in sweeps],
        plan_args={
            **spiral.plan_args(),
            **({} if blur_px is None else {"max_blur": quantity(blur_px, "px")}),
            "velocity": quantity(velocity, "deg/s"),
            "vertical_velocity": quantity(lift, "mm/s"),
            "frame_rate": quantity(rate, "Hz"),
        },
        restore=scan.restored(),
        max_blur_px=blur_px,
    )
    return (yield from imaging_plan(asked, frames, acquisitions))
