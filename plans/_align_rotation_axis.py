"""Bring the rotation axis upright: parallel to the detector's columns, across the beam."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from concertino import DeviceError, ParameterError
from concertino.reconstruction import AxisTilt, axis_tilt, needle_tip, sphere_centre
from concertino.units import QuantityLike, convert, convert_count

from ._acquisitions import Acquisitions, imaging_plan, undivided
from ._axis_views import AxisViews
from ._cameras import OnLost, camera_set
from ._closed_loop import LoopResult, iterate
from ._figures import Figures, number
from ._find_rotation_axis import ALIGNMENT_ORDER, VIEW_KINDS
from ._frames import move_together
from ._imaging import Imaging
from ._metadata import quantity
from ._parameters import angular_range_deg, check_limits, check_motor, per_degree, read_number
from ._pieces import Take
from ._questions import ends_where_only_a_run_can_tell

Feature = Literal["sphere", "needle"]

_FEATURES: dict[str, Callable[[Any], tuple[float, float]]] = {
    "sphere": sphere_centre,
    "needle": needle_tip,
}


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
    beam : device
        The shutter or tube: takes True for beam, False for none.
    sample_stage : device
        Moves the sample across the beam; linear (mm) or rotary (deg).
    radio_position, flat_position : quantity
        Where the stage holds the sample in the beam and out of it; plain numbers are in its unit.
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
    on_lost : {"fail", "flag"}
        What lost frames do: fail the run, or only stand in its ledger.
    md : dict, optional
        Metadata for the run.

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
    numbers = {"darks": num_darks, "flats": num_flats, "views": num_views}
    asked = Imaging(
        camera_set(camera), beam, sample_stage, radio_position, flat_position,
        numbers, ALIGNMENT_ORDER, on_lost, md,
    )  # fmt: skip
    counts = asked.checked_counts()
    axis: Any = rotation
    stages: dict[str, Any] = {"axis_roll": axis_roll, "axis_pitch": axis_pitch}
    for parameter, motor in {"rotation": axis, **stages}.items():
        check_motor(motor, parameter)
    if feature not in _FEATURES:
        raise ParameterError(f"feature: {feature!r} was given; give 'sphere' or 'needle'.")
    limit = convert_count(max_iterations, parameter="max_iterations", unit="")
    good_deg = convert(tolerance, "deg", parameter="tolerance", positive=True)
    sweep = angular_range_deg(angular_range)
    views_taken = convert_count(counts["views"], parameter="num_views", minimum=5)
    if abs(sweep) < 180:
        raise ParameterError(f"angular_range: {sweep:g} deg was given. Give half a turn or more.")
    degree = yield from per_degree(axis)
    angles = [index * sweep / views_taken for index in range(views_taken)]
    for angle in (angles[0], angles[-1]):
        yield from check_limits(axis, angle * degree, "angular_range")
    tilts = []
    for name, stage in stages.items():
        tilts.append(_TiltStage(name, stage, (yield from per_degree(stage, name))))
    look = _Look(AxisViews(asked, axis, degree), _FEATURES[feature], angles)
    ends: list[LoopResult] = []

    def align(radio: float) -> MsgGenerator[None]:
        def upright(tilt: AxisTilt) -> bool:
            return max(map(abs, _tilt_deg(tilt))) <= good_deg

        def correct(tilt: AxisTilt) -> MsgGenerator[None]:
            moves = []
            for stage, found in zip(tilts, _tilt_deg(tilt), strict=True):
                moves.append((stage.motor, (yield from stage.target(found, good_deg))))
            yield from move_together(*moves)

        end = yield from iterate(lambda: look.measure(radio), upright, correct, limit)
        ends.append(end)
        _check_arrived(end, good_deg)

    def blocks(radio: float, flat: float) -> dict[str, Take]:
        return {
            "darks": undivided(look.views.darks),
            "flats": undivided(lambda: look.views.flats(flat)),
            _stream(1): undivided(lambda: align(radio)),
        }

    streams = [_stream(index) for index in range(1, limit + 1)]
    frames = {"darks": counts["darks"], "flats": counts["flats"], _stream(1): views_taken}
    acquisitions = Acquisitions(
        "align_rotation_axis",
        blocks,
        tomo={
            "scheme": "alignment",
            "acquisition": "stepped",
            "num_projections": views_taken,
            "image_kinds": {
                "darks": "dark",
                "flats": "flat",
                **dict.fromkeys(streams, VIEW_KINDS["views"]),
            },
            "rotation": axis.name,
        },
        motors={"rotation": axis, **stages},
        plan_args={
            "num_views": views_taken,
            "feature": feature,
            "tolerance": quantity(good_deg, "deg"),
            "max_iterations": limit,
            "angular_range": quantity(sweep, "deg"),
        },
        triggers={_stream(1): "software"},
        interruptible=False,
    )
    uid = yield from imaging_plan(asked, frames, acquisitions)
    last: AxisTilt = ends[0].values[-1]
    roll, pitch = _tilt_deg(last)
    uncertainty = float(np.rad2deg(last.within_rad))
    return AxisAlignment(uid, roll, pitch, uncertainty, ends[0].iterations)


class _Look:
    """Measures the tilt, each time into a stream of its own."""

    def __init__(
        self, views: AxisViews, find: Callable[[Any], tuple[float, float]], angles: list[float]
    ) -> None:
        self.views = views
        self._find = find
        self._angles = angles
        self._count = 0
        self._figures = Figures(
            "axis_tilt", dict.fromkeys(("roll", "pitch", "uncertainty"), number("deg"))
        )

    def measure(self, radio: float) -> MsgGenerator[AxisTilt]:
        self._count += 1
        images = yield from self.views.take(self._angles, _stream(self._count), radio)
        places = []
        for angle, image in zip(self._angles, images, strict=True):
            try:
                places.append(self._find(image))
            except Exception as error:
                error.add_note(f"At {angle:g} deg, in the view {_stream(self._count)}.")
                raise
        columns, rows = np.array(places).T
        tilt = axis_tilt(np.deg2rad(self._angles), columns, rows)
        roll, pitch = _tilt_deg(tilt)
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
    roll, pitch = _tilt_deg(last)
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


def _tilt_deg(tilt: AxisTilt) -> tuple[float, float]:
    return float(np.rad2deg(tilt.roll_rad)), float(np.rad2deg(tilt.pitch_rad))


def _stream(index: int) -> str:
    return f"views_{index}"
