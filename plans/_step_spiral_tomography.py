"""Stepped spiral tomography: rotation and height rest while a frame is taken."""

from collections.abc import Sequence
from typing import Any

from bluesky.protocols import Movable
from bluesky.utils import MsgGenerator

from concertino.units import QuantityLike

from .core._cameras import Cameras, OnLost
from .imaging._acquisition import Darks, Flats
from .imaging._imaging_scan import DEFAULT_ORDER, ImagingScan
from .imaging._spiral_projections import StepSpiralProjections
from .imaging._take_scan import take_scan


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
        The acquisitions and their order; one that is not named is left out. Darks and flats may come several
        times, and ``"flats every 100 projections"`` takes flats before each hundred projections.
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
    motors = {"rotation": rotation, "vertical_stage": vertical_stage}
    scan = ImagingScan(
        plan="step_spiral_tomography",
        acquisitions=[
            Darks(number=num_darks),
            Flats(number=num_flats),
            StepSpiralProjections(
                number=num_projections,
                angular_range=angular_range,
                start_angle=start_angle,
                start_position_vertical=start_position_vertical,
                vertical_shift_per_tomogram=vertical_shift_per_tomogram,
                sample_height=sample_height,
            ),
        ],
        radio_position=radio_position,
        flat_position=flat_position,
        order=order,
        on_lost=on_lost,
    )
    return (yield from take_scan(scan, camera, beam, sample_stage, motors, md=md))
