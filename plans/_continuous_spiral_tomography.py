"""Continuous spiral tomography: the sample turns and moves along the axis steadily."""

from collections.abc import Sequence
from typing import Any

from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from concertino.units import QuantityLike

from .core._cameras import Cameras, OnLost, Readout
from .core._described import described
from .imaging._acquisition import Darks, Flats
from .imaging._imaging_scan import DEFAULT_ORDER, ImagingScan
from .imaging._spiral_projections import SpiralProjections
from .imaging._take_scan import take_scan


@described
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
    per_frame: Sequence[Readable[Any]] = (),
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
    beam, sample_stage, radio_position, flat_position
    start_position_vertical, vertical_shift_per_tomogram, sample_height, num_darks, num_flats
    num_projections : int
        Number of projections per tomogram.
    angular_range : quantity
        Angle per tomogram; a plain number is in deg.
    start_angle, order, on_lost, max_blur, readout, per_frame, md

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
    spiral = SpiralProjections(
        number=num_projections, angular_range=angular_range, start_angle=start_angle,
        start_position_vertical=start_position_vertical,
        vertical_shift_per_tomogram=vertical_shift_per_tomogram, sample_height=sample_height,
    )  # fmt: skip
    scan = ImagingScan(
        plan="continuous_spiral_tomography",
        acquisitions=[Darks(number=num_darks), Flats(number=num_flats), spiral],
        radio_position=radio_position, flat_position=flat_position,
        order=order, on_lost=on_lost, readout=readout, max_blur=max_blur,
    )  # fmt: skip
    motors = {"rotation": rotation, "vertical_stage": vertical_stage}
    return (
        yield from take_scan(scan, camera, beam, sample_stage, motors, per_frame=per_frame, md=md)
    )
