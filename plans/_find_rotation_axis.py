"""Find the column of the rotation axis from two views half a turn apart."""

from collections.abc import Sequence
from typing import Any

from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from concertino import DeviceError
from concertino.reconstruction import AxisEstimate, axis_from_opposite
from concertino.units import QuantityLike, convert

from ._acquisitions import Acquisitions, imaging_plan, undivided
from ._axis_views import AxisViews
from ._cameras import OnLost, camera_set
from ._figures import Figures, number
from ._imaging import Imaging
from ._metadata import quantity
from ._parameters import check_limits, check_motor, per_degree
from ._pieces import Take
from ._questions import ends_where_only_a_run_can_tell

ALIGNMENT_ORDER: Sequence[str] = ("darks", "flats", "views")
VIEW_KINDS = {"darks": "dark", "flats": "flat", "views": "projection"}

_LEAST_CONFIDENCE = 0.2


@ends_where_only_a_run_can_tell
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
    beam : device
        The shutter or tube: takes True for beam, False for none.
    sample_stage : device
        Moves the sample across the beam; linear (mm) or rotary (deg).
    radio_position, flat_position : quantity
        Where the stage holds the sample in the beam and out of it; plain numbers are in its unit.
    num_darks, num_flats, num_views : int
        Number of frames without beam, without sample, and at each of the two angles.
    start_angle : quantity
        First angle; a plain number is in deg.
    on_lost : {"fail", "flag"}
        What lost frames do: fail the run, or only stand in its ledger.
    md : dict, optional
        Metadata for the run.

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
    numbers = {"darks": num_darks, "flats": num_flats, "views": num_views}
    asked = Imaging(
        camera_set(camera), beam, sample_stage, radio_position, flat_position,
        numbers, ALIGNMENT_ORDER, on_lost, md,
    )  # fmt: skip
    frames = asked.checked_counts()
    axis: Any = rotation
    check_motor(axis, "rotation")
    start = convert(start_angle, "deg", parameter="start_angle")
    degree = yield from per_degree(axis)
    for angle in (start, start + 180):
        yield from check_limits(axis, angle * degree, "start_angle")
    views = AxisViews(asked, axis, degree)
    figures = Figures("rotation_axis", {"center": number("px"), "confidence": number()})
    found: list[AxisEstimate] = []
    count = frames["views"]
    frames = {**frames, "views": 2 * count}

    def look(radio: float) -> MsgGenerator[None]:
        angles = [start] * count + [start + 180] * count
        seen = yield from views.take(angles, "views", radio)
        estimate = axis_from_opposite(seen[:count].mean(axis=0), seen[count:].mean(axis=0))
        if estimate.confidence < _LEAST_CONFIDENCE:
            raise DeviceError(
                f"find_rotation_axis: the views of {asked.cameras.name} at {start:g} and {start + 180:g} deg "
                f"do not mirror one another (confidence {estimate.confidence:.2f}). Bring a sample with "
                "contrast into the view, take more views, or align the axis first."
            )
        yield from figures.note(center=estimate.center_px, confidence=estimate.confidence)
        found.append(estimate)

    def blocks(radio: float, flat: float) -> dict[str, Take]:
        return {
            "darks": undivided(views.darks),
            "flats": undivided(lambda: views.flats(flat)),
            "views": undivided(lambda: look(radio)),
        }

    acquisitions = Acquisitions(
        "find_rotation_axis",
        blocks,
        tomo={
            "scheme": "alignment",
            "acquisition": "stepped",
            "num_projections": 2 * count,
            "image_kinds": VIEW_KINDS,
            "rotation": axis.name,
        },
        motors={"rotation": axis},
        plan_args={"start_angle": quantity(start, "deg")},
        triggers={"views": "software"},
        interruptible=False,
    )
    yield from imaging_plan(asked, frames, acquisitions)
    return found[0]
