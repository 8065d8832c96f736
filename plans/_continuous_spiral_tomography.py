"""Continuous spiral tomography: the sample turns and moves along the axis steadily."""

from collections.abc import Sequence
from typing import Any

from bluesky.protocols import Movable
from bluesky.utils import MsgGenerator

from concertino.units import QuantityLike

from .core._cameras import Cameras, OnLost, Readout
from .imaging._acquisition import Darks, Flats
from .imaging._imaging_scan import DEFAULT_ORDER, ImagingScan
from .imaging._spiral_projections import SpiralProjections
from .imaging._take_scan import take_scan


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
        The acquisitions and their order; one that is not named is left out. Darks and flats may come several
        times, and ``"flats every 100 projections"`` takes flats before each hundred projections.
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
    motors = {"rotation": rotation, "vertical_stage": vertical_stage}
    scan = ImagingScan(
        plan="continuous_spiral_tomography",
        acquisitions=[
            Darks(number=num_darks),
            Flats(number=num_flats),
            SpiralProjections(
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
        readout=readout,
        max_blur=max_blur,
    )
    return (yield from take_scan(scan, camera, beam, sample_stage, motors, md=md))
