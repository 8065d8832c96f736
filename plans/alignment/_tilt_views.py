"""Views of a feature through a turn, by which the rotation axis is brought upright, as a value."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from bluesky.utils import MsgGenerator
from pydantic import field_validator

from concertino import DeviceError, ParameterError
from concertino.documents import ImageKind
from concertino.plans.core._cameras import Trigger
from concertino.plans.core._parameters import (
    angular_range_deg,
    check_limits,
    per_degree,
    read_number,
)
from concertino.plans.imaging._acquisition import Acquisition, Ready, register_acquisition
from concertino.plans.imaging._scan_values import Counted, In
from concertino.plans.run._computed_readings import ComputedReadings, number
from concertino.plans.run._pause_request import PauseRequest
from concertino.plans.run._segments import AcquisitionSegment
from concertino.plans.stubs._frames import move_together
from concertino.plans.stubs._scan_setup import ScanSetup
from concertino.reconstruction import AxisTilt, axis_tilt, needle_tip, sphere_centre

from ._axis_views import AxisViews
from ._closed_loop import LoopResult, iterate

Feature = Literal["sphere", "needle"]

_FEATURES: Mapping[Feature, Callable[[Any], tuple[float, float]]] = {
    "sphere": sphere_centre,
    "needle": needle_tip,
}


@register_acquisition
class TiltViews(Acquisition):
    """Views of a ball or needle through a turn, again and again until the axis is upright.

    Parameters
    ----------
    num_views : int
        Frames of each look: 5 or more.
    feature, tolerance, max_iterations, angular_range
        As for `align_rotation_axis`.
    """

    STREAM: ClassVar[str] = "views_1"  # the first look's
    TRIGGER: ClassVar[Trigger] = "software"
    MOTORS: ClassVar[Mapping[str, bool]] = {
        "rotation": False, "axis_roll": False, "axis_pitch": False,
    }  # fmt: skip
    PAUSES: ClassVar[bool] = False

    kind: Literal["tilt_views"] = "tilt_views"
    num_views: Annotated[int, Counted("num_views", minimum=5)] = 40
    feature: Feature = "sphere"
    tolerance: Annotated[float, In("deg", positive=True)] = 0.01
    max_iterations: Annotated[int, Counted("max_iterations", unit="")] = 5
    angular_range: Annotated[float, In("deg")] = 360.0

    @field_validator("feature", mode="before")
    @classmethod
    def _known_feature(cls, value: Any) -> Any:
        if value not in _FEATURES:
            raise ParameterError(f"feature: {value!r} was given; give 'sphere' or 'needle'.")
        return value

    @field_validator("angular_range")
    @classmethod
    def _half_a_turn(cls, value: float) -> float:
        if abs(angular_range_deg(value)) < 180:
            raise ParameterError(
                f"angular_range: {value:g} deg was given. Give half a turn or more."
            )
        return value

    @property
    def count(self) -> int:
        """Number of frames of the first look; how many there will be nobody knows."""
        return self.num_views

    @property
    def image_kinds(self) -> Mapping[str, ImageKind]:
        """What the images of the looks are."""
        return {_stream(look): "projection" for look in range(1, self.max_iterations + 1)}

    def tomo(self, setup: ScanSetup) -> dict[str, Any]:
        """Return the fields of the `TomoBlock` that it knows."""
        return {
            "scheme": "alignment",
            "acquisition": "stepped",
            "num_projections": self.num_views,
            "rotation": setup.motors["rotation"].name,
        }

    def ready(self, setup: ScanSetup) -> MsgGenerator[Ready]:
        """Check the angles."""
        rotation = setup.motors["rotation"]
        degree = yield from per_degree(rotation)
        angles = [index * self.angular_range / self.num_views for index in range(self.num_views)]
        for angle in (angles[0], angles[-1]):
            yield from check_limits(rotation, angle * degree, "angular_range")
        tilts = []
        for part in ("axis_roll", "axis_pitch"):
            stage = setup.motors[part]
            tilts.append(_TiltStage(part, stage, (yield from per_degree(stage, part))))
        views = AxisViews(setup, degree, self.stream)
        look = _Look(views, _FEATURES[self.feature], angles)
        return Ready(
            self,
            partial(self._align, look, tilts),
            self.TRIGGER,
            tomo=self.tomo(setup),
            plan_args=self.plan_args(),
            around=views.around,
        )

    def _align(
        self,
        look: "_Look",
        tilts: Sequence["_TiltStage"],
        setup: ScanSetup,
        piece: AcquisitionSegment,
        hold: PauseRequest | None,
    ) -> MsgGenerator[bool]:
        good_deg = self.tolerance

        def upright(tilt: AxisTilt) -> bool:
            return max(map(abs, tilt_deg(tilt))) <= good_deg

        def correct(tilt: AxisTilt) -> MsgGenerator[None]:
            moves = []
            for stage, found in zip(tilts, tilt_deg(tilt), strict=True):
                moves.append((stage.motor, (yield from stage.target(found, good_deg))))
            yield from move_together(*moves)

        end = yield from iterate(look.measure, upright, correct, self.max_iterations)
        setup.found["tilt"] = end
        _check_arrived(end, good_deg)
        return True


class _Look:
    """Measures the tilt, each time into a stream of its own."""

    def __init__(
        self, views: AxisViews, find: Callable[[Any], tuple[float, float]], angles: list[float]
    ) -> None:
        self.views = views
        self._find = find
        self._angles = angles
        self._count = 0
        self._figures = ComputedReadings(
            "axis_tilt", dict.fromkeys(("roll", "pitch", "uncertainty"), number("deg"))
        )

    def measure(self) -> MsgGenerator[AxisTilt]:
        self._count += 1
        images = yield from self.views.take(self._angles, _stream(self._count))
        places = []
        for angle, image in zip(self._angles, images, strict=True):
            try:
                places.append(self._find(image))
            except Exception as error:
                error.add_note(f"At {angle:g} deg, in the view {_stream(self._count)}.")
                raise
        columns, rows = np.array(places).T
        tilt = axis_tilt(np.deg2rad(self._angles), columns, rows)
        roll, pitch = tilt_deg(tilt)
        yield from self._figures.note(
            roll=roll, pitch=pitch, uncertainty=float(np.rad2deg(tilt.within_rad))
        )
        return tilt


class _TiltStage:
    """A stage, and how many degrees the axis turns for each that it is told to."""

    def __init__(self, name: str, motor: Any, degree: float) -> None:
        self.name = name
        self.motor = motor
        self._degree = degree
        self._gain = 1.0
        self._told: tuple[float, float] | None = None

    def target(self, tilt_deg: float, noticeable_deg: float) -> MsgGenerator[float]:
        if self._told is not None and abs(self._told[1]) > 3 * noticeable_deg:
            before, move = self._told
            gain = (tilt_deg - before) / move
            if 0.1 < abs(gain) < 10:
                self._gain = gain
        move = -tilt_deg / self._gain
        self._told = (tilt_deg, move)
        position = (yield from read_number(self.motor)) + move * self._degree
        yield from check_limits(self.motor, position, self.name)
        return position


def _check_arrived(end: LoopResult, good_deg: float) -> None:
    if end.arrived:
        return
    last: AxisTilt = end.values[-1]
    roll, pitch = tilt_deg(last)
    uncertainty = float(np.rad2deg(last.within_rad))
    advice = (
        "Take more views, expose longer, or bring the feature further from the axis."
        if max(abs(roll), abs(pitch)) <= good_deg + uncertainty
        else "See whether the tilt stages move, and whether the sample stands firmly."
    )
    raise DeviceError(
        f"align_rotation_axis: after {end.iterations} iterations the axis leans by {roll:.4f} deg (roll) "
        f"and {pitch:.4f} deg (pitch), known to {uncertainty:.4f} deg; {good_deg:g} deg was asked for. "
        f"{advice}"
    )


def tilt_deg(tilt: AxisTilt) -> tuple[float, float]:
    """Return roll and pitch of an axis, in deg."""
    return float(np.rad2deg(tilt.roll_rad)), float(np.rad2deg(tilt.pitch_rad))


def _stream(index: int) -> str:
    return f"views_{index}"
