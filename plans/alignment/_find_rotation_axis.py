"""Find the column of the rotation axis from two views half a turn apart."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from concertino import DeviceError
from concertino.plans.core._cameras import OnLost, Trigger
from concertino.plans.core._described import described
from concertino.plans.core._device_queries import ends_where_only_a_run_can_tell
from concertino.plans.core._parameters import check_limits, per_degree
from concertino.plans.imaging._acquisition import (
    Acquisition,
    Darks,
    Flats,
    Ready,
    register_acquisition,
)
from concertino.plans.imaging._imaging_scan import ImagingScan
from concertino.plans.imaging._scan_values import Counted, In
from concertino.plans.imaging._take_scan import take_scan
from concertino.plans.run._computed_readings import ComputedReadings, number
from concertino.plans.run._metadata import quantity
from concertino.plans.run._pause_request import PauseRequest
from concertino.plans.run._segments import AcquisitionSegment
from concertino.plans.stubs._scan_setup import ScanSetup
from concertino.reconstruction import AxisEstimate, axis_from_opposite
from concertino.units import QuantityLike

from ._axis_views import AxisViews, measured

_LEAST_CONFIDENCE = 0.2


@register_acquisition
class OppositeViews(Acquisition):
    """Views half a turn apart, from which the column of the rotation axis is found.

    Parameters
    ----------
    number : int
        Frames at each of the two angles.
    start_angle : quantity
        First angle; a plain number is in deg.
    """

    STREAM: ClassVar[str] = "views"
    TRIGGER: ClassVar[Trigger] = "software"
    MOTORS: ClassVar[Mapping[str, bool]] = {"rotation": False}
    PAUSES: ClassVar[bool] = False

    kind: Literal["opposite_views"] = "opposite_views"
    number: Annotated[int, Counted("num_views")] = 5
    start_angle: Annotated[float, In("deg")] = 0.0

    @property
    def count(self) -> int:
        """Number of its frames."""
        return 2 * self.number

    def tomo(self, setup: ScanSetup) -> dict[str, Any]:
        """Return the fields of the `TomoBlock` that it knows."""
        return {
            "scheme": "alignment",
            "acquisition": "stepped",
            "num_projections": self.count,
            "rotation": setup.motors["rotation"].name,
        }

    def ready(self, setup: ScanSetup) -> MsgGenerator[Ready]:
        """Check the angles."""
        degree = yield from per_degree(setup.motors["rotation"])
        for angle in (self.start_angle, self.start_angle + 180):
            yield from check_limits(setup.motors["rotation"], angle * degree, "start_angle")
        views = AxisViews(setup, degree, self.stream)
        return Ready(
            self,
            partial(self._look, views),
            self.TRIGGER,
            tomo=self.tomo(setup),
            plan_args={
                "num_views": self.number,
                "start_angle": quantity(self.start_angle, "deg"),
            },
            around=views.around,
        )

    def _look(
        self,
        views: AxisViews,
        setup: ScanSetup,
        piece: AcquisitionSegment,
        hold: PauseRequest | None,
    ) -> MsgGenerator[bool]:
        start, count = self.start_angle, self.number
        figures = ComputedReadings(
            "rotation_axis", {"center": number("px"), "confidence": number()}
        )
        seen = yield from views.take([start] * count + [start + 180] * count, piece.stream)
        estimate = axis_from_opposite(seen[:count].mean(axis=0), seen[count:].mean(axis=0))
        if estimate.confidence < _LEAST_CONFIDENCE:
            raise DeviceError(
                f"find_rotation_axis: the views of {setup.cameras.name} at {start:g} and {start + 180:g} deg "
                f"do not mirror one another (confidence {estimate.confidence:.2f}). Bring a sample with "
                "contrast into the view, take more views, or align the axis first."
            )
        yield from figures.note(center=estimate.center_px, confidence=estimate.confidence)
        setup.found["axis"] = estimate
        return True


@ends_where_only_a_run_can_tell
@described
def find_rotation_axis(
    camera: Readable[Any],
    rotation: Movable[Any],
    beam: Movable[Any],
    sample_stage: Movable[Any],
    *,
    radio_position: QuantityLike,
    flat_position: QuantityLike,
    num_darks: int = 10,
    num_flats: int = 10,
    num_views: int = 5,
    start_angle: QuantityLike = "0 deg",
    on_lost: OnLost = "fail",
    md: dict[str, Any] | None = None,
) -> MsgGenerator[AxisEstimate]:
    """Find the column of the rotation axis from views half a turn apart, as one run.

    What is found stands in the run's stream ``rotation_axis``. An axis that is tilted is at
    another column in each row; the one returned is where most of the sample is.

    Parameters
    ----------
    camera : device
        The camera, with a frame stream; takes software triggers.
    rotation : device
        Rotation stage; one whose unit is no angle is taken to be in deg.
    beam, sample_stage, radio_position, flat_position
    num_darks, num_flats, num_views : int
        Number of frames without beam, without sample, and at each of the two angles.
    start_angle, on_lost, md

    Returns
    -------
    AxisEstimate
        ``center_px`` in px from the middle of the first column, and ``confidence``.

    Raises
    ------
    ParameterError
        If a parameter cannot work; nothing has moved then.
    DeviceError
        If the views do not mirror one another.

    Examples
    --------
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import find_rotation_axis
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> plan = find_rotation_axis(b.camera, b.rotation, b.beam, b.sample_stage,
    ...                           radio_position=0, flat_position="10 mm")
    """
    views = OppositeViews(number=num_views, start_angle=start_angle)
    scan = ImagingScan(
        plan="find_rotation_axis",
        acquisitions=[Darks(number=num_darks), Flats(number=num_flats), views],
        radio_position=radio_position, flat_position=flat_position, on_lost=on_lost,
    )  # fmt: skip
    found: dict[str, Any] = {}
    motors = {"rotation": rotation}
    yield from take_scan(scan, camera, beam, sample_stage, motors, md=md, found=found)
    estimate: AxisEstimate = measured(found, "axis")
    return estimate
