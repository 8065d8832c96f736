"""The height of the sample at each projection of a stored spiral."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino._errors import DocumentError
from concertino.documents import PROJECTION_ANGLES, TomoBlock
from concertino.units import convert, meant_unit

from ._run import Run

_MOTION = "motion"


def run_heights(*runs: Run) -> NDArray[np.float64]:
    """Return where the vertical stage was while each projection of a spiral was taken.

    In a stepped scan that is its read-back. In a continuous one it follows from where the stage was seen at speed, and
    when (stream ``motion``), from the time of each projection (stream ``projection_angles``), and from the velocity:
    two stages that were told to set out together are some hundredths of a second apart, so that heights do not follow
    from angles.

    Parameters
    ----------
    *runs
        A spiral, see `open_run`; of runs that resume one another all, in order: later ones win.

    Returns
    -------
    numpy.ndarray
        float64, (num_projections,), in mm. Where nothing was told the heights of the plan.

    Raises
    ------
    DocumentError
        If it is no spiral.

    Examples
    --------
    >>> from concertino.storage import open_run, run_heights
    >>> run_heights(open_run("data/scan_0001"))[0]  # doctest: +SKIP
    np.float64(-0.05)
    """
    tomo = TomoBlock.from_start(runs[0].start)
    if tomo.scheme != "spiral":
        raise DocumentError(
            f"The heights of {runs[0].name} were asked for, and its scheme is {tomo.scheme!r}: the sample does not "
            "rise. Choose a run of a spiral."
        )
    heights = tomo.vertical_mm()
    for run in runs:
        stage = str(run.start["plan_args"].get("vertical_stage", ""))
        moved = _moved if tomo.acquisition == "continuous" else _stepped
        for number, height in moved(run, tomo, stage):
            if 0 <= number < len(heights):
                heights[number] = height
    return heights


def _stepped(run: Run, tomo: TomoBlock, stage: str) -> Iterator[tuple[int, float]]:
    """Yield number and height of each projection that was taken at rest."""
    for name in run.streams:
        if tomo.kind(name) != "projection":
            continue
        first, per_unit = tomo.segment(name).first, _mm_per_unit(run, name, stage)
        for event in run[name].events:
            if stage in event["data"]:
                yield first + event["seq_num"] - 1, event["data"][stage] * per_unit


def _moved(run: Run, tomo: TomoBlock, stage: str) -> Iterator[tuple[int, float]]:
    """Yield number and height of each projection that was taken in motion."""
    velocity: Mapping[str, Any] | None = run.start["plan_args"].get("vertical_velocity")
    if velocity is None or _MOTION not in run or PROJECTION_ANGLES not in run:
        return
    speed = convert(velocity, "mm/s", parameter="vertical_velocity")
    seen = [event for event in run[_MOTION].events if stage in event["data"]]
    per_unit = _mm_per_unit(run, _MOTION, stage)
    # Of a scan that was paused, each part has been seen; its first frames come before that, and after the camera's start.
    starts = np.array(
        [event["data"].get(f"{tomo.camera}-start_time", event["time"]) for event in seen]
    )
    for event in run[PROJECTION_ANGLES].events if seen else ():
        time_s = event["timestamps"]["projection"]
        part = max(0, int(np.searchsorted(starts, time_s, "right")) - 1)
        begun, begun_s = seen[part]["data"][stage] * per_unit, seen[part]["timestamps"][stage]
        yield int(event["data"]["projection"]), begun + speed * (time_s - begun_s)


def _mm_per_unit(run: Run, stream: str, stage: str) -> float:
    told = run[stream].descriptors[0]["data_keys"].get(stage, {})
    unit = meant_unit(told.get("units") or "mm")
    return convert({"value": 1.0, "unit": unit}, "mm", parameter=stage)
