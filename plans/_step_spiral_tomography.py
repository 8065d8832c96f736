"""Stepped spiral tomography: rotation and height rest while a frame is taken."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from bluesky.protocols import Movable
from bluesky.utils import MsgGenerator

from concertino.units import QuantityLike

from ._acquisitions import Acquisitions, imaging_plan
from ._cameras import Cameras, OnLost, camera_set
from ._imaging import DEFAULT_ORDER, Imaging, imaging_numbers
from ._spiral import checked_spiral


def step_spiral_tomography(
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
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Take darks, flats and projections along a spiral, step by step, as one run.

    There are ``abs(sample_height / vertical_shift_per_tomogram) + 1`` tomograms of `num_projections`
    each; a part of one is taken, too. Projection ``i`` is taken at
    ``start_angle + i * angular_range / N`` and ``start_position_vertical + i * shift / N``; its event
    in the stream ``projections`` has both read-backs.

    Parameters
    ----------
    camera : device, or sequence of devices
        The camera, with a frame stream; takes software triggers. Of several, which expose together, each has
        streams of its own: those of the first have the plain names.
    rotation, vertical_stage : device
        Stages that turn the sample, and lift it along the rotation axis (mm).
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
    >>> from concertino.plans import step_spiral_tomography
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> plan = step_spiral_tomography(
    ...     b.camera, b.rotation, b.vertical_stage, b.beam, b.sample_stage,
    ...     radio_position="0 mm", flat_position="10 mm", start_position_vertical="0 mm",
    ...     vertical_shift_per_tomogram="2 mm", sample_height="5 mm", num_projections=90)
    """
    asked = Imaging(
        camera_set(camera), beam, sample_stage, radio_position, flat_position,
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
        velocity=False,
    )
    if "projections" in frames:
        frames["projections"] = spiral.total
    points = [(rotation, spiral.angles()), (vertical_stage, spiral.heights())]
    acquisitions = Acquisitions(
        "step_spiral_tomography",
        asked.around(partial(asked.steps, points)),
        tomo={
            **spiral.tomo(rotation),
            "acquisition": "stepped",
            "angle_source": "readback",
        },
        motors={"rotation": rotation, "vertical_stage": vertical_stage},
        afterwards=[(axis, positions[0]) for axis, positions in points],
        triggers={"projections": "software"},
        plan_args=spiral.plan_args(),
    )
    return (yield from imaging_plan(asked, frames, acquisitions))
