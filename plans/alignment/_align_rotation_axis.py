"""Bring the rotation axis upright: parallel to the detector's columns, across the beam."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from concertino.plans.core._cameras import OnLost
from concertino.plans.core._described import described
from concertino.plans.core._device_queries import ends_where_only_a_run_can_tell
from concertino.plans.imaging._acquisition import Darks, Flats
from concertino.plans.imaging._imaging_scan import ImagingScan
from concertino.plans.imaging._take_scan import take_scan
from concertino.units import QuantityLike

from ._axis_views import measured
from ._closed_loop import LoopResult
from ._tilt_views import Feature, TiltViews, tilt_deg


@dataclass(frozen=True)
class AxisAlignment:
    """How upright the rotation axis is after its alignment.

    Parameters
    ----------
    uid : str
        Of the run.
    roll_deg, pitch_deg : float
        What is left, in deg.
    uncertainty_deg : float
        Both are off by less in 95 of 100 alignments, in deg.
    iterations : int
        How often they were measured.
    """

    uid: str
    roll_deg: float
    pitch_deg: float
    uncertainty_deg: float
    iterations: int


@ends_where_only_a_run_can_tell
@described
def align_rotation_axis(
    camera: Readable[Any],
    rotation: Movable[Any],
    axis_roll: Movable[Any],
    axis_pitch: Movable[Any],
    beam: Movable[Any],
    sample_stage: Movable[Any],
    *,
    radio_position: QuantityLike,
    flat_position: QuantityLike,
    num_darks: int = 10,
    num_flats: int = 20,
    num_views: int = 40,
    feature: Feature = "sphere",
    tolerance: QuantityLike = "0.01 deg",
    max_iterations: int = 5,
    angular_range: QuantityLike = "360 deg",
    on_lost: OnLost = "fail",
    md: dict[str, Any] | None = None,
) -> MsgGenerator[AxisAlignment]:
    """Tilt the rotation stage until its axis is upright, as one run.

    A ball or a needle beside the axis is followed through a turn: it is seen on an ellipse, which
    shows how the axis leans. The stages are moved against that and it is looked again; a stage that
    turns the other way, or further than it says, is found out in the second look. What was found
    stands in the run's stream ``axis_tilt``.

    Parameters
    ----------
    camera : device
        The camera, with a frame stream; takes software triggers.
    rotation : device
        Rotation stage; one whose unit is no angle is taken to be in deg.
    axis_roll, axis_pitch : device
        Tilt the rotation stage in the detector's plane and along the beam.
    beam, sample_stage, radio_position, flat_position
    num_darks, num_flats, num_views : int
        Number of frames without beam, without sample, and of each look.
    feature : {"sphere", "needle"}
        What is beside the axis. A needle's tip must be in the view.
    tolerance : quantity
        Which tilt is good enough; a plain number is in deg.
    max_iterations : int
        How often to look at most.
    angular_range : quantity
        Angle of one look, half a turn or more; a plain number is in deg.
    on_lost, md

    Returns
    -------
    AxisAlignment

    Raises
    ------
    ParameterError
        If a parameter cannot work; nothing has moved then. Or a tilt stage cannot go far enough.
    ReconstructionError
        If the feature is not seen, leaves the view, or does not move.
    DeviceError
        If the axis is not upright after the last iteration.

    Examples
    --------
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import align_rotation_axis
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> plan = align_rotation_axis(b.camera, b.rotation, b.axis_roll, b.axis_pitch, b.beam,
    ...                            b.sample_stage, radio_position=0, flat_position="10 mm")
    """
    views = TiltViews(
        num_views=num_views, feature=feature, tolerance=tolerance,
        max_iterations=max_iterations, angular_range=angular_range,
    )  # fmt: skip
    scan = ImagingScan(
        plan="align_rotation_axis",
        acquisitions=[Darks(number=num_darks), Flats(number=num_flats), views],
        radio_position=radio_position, flat_position=flat_position, on_lost=on_lost,
    )  # fmt: skip
    found: dict[str, Any] = {}
    motors = {"rotation": rotation, "axis_roll": axis_roll, "axis_pitch": axis_pitch}
    uid = yield from take_scan(scan, camera, beam, sample_stage, motors, md=md, found=found)
    end: LoopResult = measured(found, "tilt")
    roll, pitch = tilt_deg(end.values[-1])
    uncertainty = float(np.rad2deg(end.values[-1].within_rad))
    return AxisAlignment(uid, roll, pitch, uncertainty, end.iterations)
