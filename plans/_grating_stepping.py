"""Grating stepping: the fringes of a grating interferometer, without and with the sample."""

from collections.abc import Sequence
from typing import Any, Literal

from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from concertino.documents import OBJECT_STEPPING, REFERENCE_STEPPING, SteppedGrating
from concertino.units import QuantityLike

from .core._cameras import Cameras, OnLost
from .core._described import described
from .imaging._acquisition import Darks
from .imaging._grating_steps import GratingSteps
from .imaging._imaging_scan import ImagingScan
from .imaging._take_scan import take_scan


@described
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
    per_frame: Sequence[Readable[Any]] = (),
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
    beam, sample_stage, radio_position, flat_position
    grating_period : quantity
        Period of the grating; a plain number is in um.
    stepping_start_position : quantity
        Position of the first step; a plain number is in the unit of the motor.
    num_darks
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
        The acquisitions and their order; one that is not named is left out. Darks may come several times.
    on_lost, per_frame, md

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
    without_sample = GratingSteps(
        sample=False, grating_period=grating_period, stepping_start_position=stepping_start_position,
        num_periods=num_periods, num_steps_per_period=num_steps_per_period,
        propagation_distance=propagation_distance, stepped_grating=stepped_grating,
        stepping_direction=stepping_direction, analyser_period=analyser_period,
    )  # fmt: skip
    with_sample = without_sample.model_copy(update={"sample": True})
    scan = ImagingScan(
        plan="grating_stepping",
        acquisitions=[Darks(number=num_darks), without_sample, with_sample],
        radio_position=radio_position, flat_position=flat_position, order=order, on_lost=on_lost,
    )  # fmt: skip
    return (
        yield from take_scan(
            scan, camera, beam, sample_stage, {"stepping": stepping}, per_frame=per_frame, md=md
        )
    )
