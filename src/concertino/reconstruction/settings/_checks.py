"""Refusals before anything is computed, each saying what to do."""

import logging
import math
import os
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from concertino._errors import ParameterError, ReconstructionError

from ._geometry import DESCRIBED_BY
from ._settings import Interval, ReconstructionSettings, positions

LOG = logging.getLogger("concertino.reconstruction")
_OTHER_UNITS = {  # of a quarter, a half, a whole turn and more, by their size
    180.0: "degrees", 360.0: "degrees", 90.0: "degrees", 270.0: "degrees", 540.0: "degrees",
    720.0: "degrees", 200.0: "gon", 400.0: "gon", 1000 * math.pi: "mrad", 2000 * math.pi: "mrad",
    10800.0: "minutes of arc", 21600.0: "minutes of arc",
}  # fmt: skip


def checked_angles(angles: ArrayLike | None, count: int) -> NDArray[np.float64]:
    """Return float64 angles (projection,) in radians; None: half a turn, end excluded."""
    if count < 2:
        raise ParameterError(f"num_projections: {count} was given; give 2 or more.")
    if angles is None:
        return np.arange(count) * np.pi / count
    values = np.array(angles, dtype=np.float64)
    if values.shape != (count,):
        raise ParameterError(
            f"angles: an array of shape {values.shape} was given for {count} projections; give one "
            "angle for each, in radians."
        )
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ParameterError(
            f"angles: number {int(bad[0])} is {values[bad[0]]} ({len(bad)} of {count} are not "
            "finite); give every projection's angle in radians."
        )
    unit, whole = _other_unit(values)
    if whole in (180.0, 360.0):  # nobody turns to these by accident, in radians
        raise ParameterError(_said_of(values, unit))
    return values


def tell_other_units(values: NDArray[np.float64]) -> None:
    """Say of angles that they may not be in radians."""
    unit, _ = _other_unit(values)
    if unit:
        turns = float(np.ptp(values)) / (2 * math.pi)
        LOG.warning("%s. They are taken as radians: %.2f turns", _said_of(values, unit), turns)


def _said_of(values: NDArray[np.float64], unit: str) -> str:
    return (
        f"angles: they go from {values.min():g} to {values.max():g} in about even steps, which looks "
        f"like {unit}; give radians, such as np.deg2rad(angles)."
    )


def _other_unit(values: NDArray[np.float64]) -> tuple[str, float]:
    """Return the unit in which angles are spread over a round number, and that number; or no unit.

    Neither encoders' jitter nor a few lost frames, nor golden angles, keep them from being even.
    """
    span, count = float(np.ptp(values)), len(values)
    if count < 8 or span < 80:
        return "", 0.0
    step = span / (count - 1)
    gaps = np.diff(np.sort(values))
    if np.mean((gaps > 0.2 * step) & (gaps < 2.7 * step)) < 0.9:
        return "", 0.0
    for whole, unit in _OTHER_UNITS.items():
        # 28.5 and 57.5 turns are 0.4 % off and more
        if min(abs(span - whole), abs(span + step - whole)) < 0.003 * whole:
            return unit, whole
    return "", 0.0


def checked_frame_shape(frame_shape: tuple[int, int]) -> tuple[int, int]:
    """Return (rows, columns) as int."""
    if len(frame_shape) != 2 or min(frame_shape) < 1 or frame_shape[1] < 2:
        raise ParameterError(
            f"frame_shape: {tuple(frame_shape)} was given; give (rows, columns) of at least (1, 2)."
        )
    return int(frame_shape[0]), int(frame_shape[1])


def checked_rows(settings: ReconstructionSettings, rows: int) -> NDArray[np.int64]:
    """Return the detector rows that are asked for."""
    if settings.slices is not None:
        wanted = np.array(settings.slices, dtype=np.int64)
    elif settings.region is not None:
        wanted = _whole_rows(settings.region)
    else:
        return np.arange(rows)
    outside = wanted[(wanted < 0) | (wanted >= rows)]
    if len(outside):
        raise ParameterError(
            f"Row {int(outside[0])} was asked for, and the frames have the rows 0 to {rows - 1}; "
            "choose other `slices` or `region`."
        )
    return wanted


def rows_of_sweep(settings: ReconstructionSettings, rows: int) -> NDArray[np.int64]:
    """Return the detector rows that a sweep needs: one, or all in a general geometry."""
    if settings.general or settings.z_parameter in DESCRIBED_BY:
        return np.arange(rows)
    chosen = (rows // 2,) if settings.slices is None else settings.slices[:1]
    return checked_rows(settings.updated(slices=chosen, region=None, z_parameter=None), rows)


def checked_heights(settings: ReconstructionSettings, rows: int) -> NDArray[np.float64]:
    """Return the heights in px above the beam's axis of the slices of a general geometry."""
    middle = (rows - 1) / 2 if settings.center_row is None else settings.center_row
    if settings.slices is not None:
        wanted = np.array(settings.slices, dtype=np.float64)
        if len(wanted) > 2 and not np.allclose(np.diff(wanted), wanted[1] - wanted[0]):
            raise ParameterError(
                f"slices: {settings.slices} were given, and in this geometry they must be equally "
                "spaced; reconstruct them one by one, or use `region`."
            )
    else:
        wanted = np.array(positions(settings.region or (0.0, float(rows), 1.0)))
    return np.asarray(middle - wanted)


def _whole_rows(region: Interval) -> NDArray[np.int64]:
    values = np.array(positions(region))
    if not np.allclose(values, np.round(values)):
        raise ParameterError(f"region: {region} was given; give whole detector rows.")
    return np.round(values).astype(np.int64)


def check_center(center: float, columns: int) -> None:
    """Refuse an axis that the detector does not see."""
    if not 0 <= center <= columns - 1:
        raise ParameterError(
            f"center: {center:g} px lies outside of the frame (columns 0 to {columns - 1}); give it "
            "in detector columns, or None to have it found."
        )


def checked_frames(
    frames: NDArray[np.generic], frame_shape: tuple[int, int], what: str
) -> NDArray[np.generic]:
    """Return frames as (frame, row, column)."""
    stack = np.asarray(frames)
    if stack.ndim == 2:
        stack = stack[None]
    if stack.ndim != 3 or stack.shape[1:] != frame_shape:
        raise ReconstructionError(
            f"{what} of shape {stack.shape[-2:] if stack.ndim > 2 else stack.shape} do not fit this "
            f"reconstruction's frames of shape {frame_shape}. Give all images of a scan in one "
            "shape (rows, columns)."
        )
    if stack.dtype.kind not in "uifb":
        raise ReconstructionError(f"{what} have dtype {stack.dtype}; give counts or real numbers.")
    return stack


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_memory(needed: int, budget: int, rows: int, count: int) -> None:
    """Refuse a job whose projections and result do not fit."""
    if needed > budget:
        raise ReconstructionError(
            f"{rows} slices of {count} projections need {needed / 2**30:.3g} GiB, and "
            f"{budget / 2**30:.3g} GiB are allowed; take about "
            f"{max(1, math.floor(rows * budget / needed))} slices at a time, or raise `memory_gib`."
        )


def look_at(
    volume: NDArray[np.float32],
    rows: Sequence[float],
    gain: NDArray[np.float32],
    settings: ReconstructionSettings,
) -> None:
    """Look at a result before it is handed over, and say what share of the detector told nothing.

    Parameters
    ----------
    volume
        float32, (slice, y, x).
    rows
        Detector row of each slice.
    gain
        float32, (row, column): NaN where a pixel tells nothing.
    settings
        Whether what is not finite should have been mended.

    Raises
    ------
    ReconstructionError
        A slice has values that are no numbers, though they were to be mended.
    """
    dead = float(np.mean(np.isnan(gain)))
    if dead > 0:
        LOG.warning(
            "%.2g %% of the detector's pixels are unknown, as their flats are not brighter than their darks; "
            "their neighbours stand in for them",
            100 * dead,
        )
    if not settings.fix_nonfinite:
        return
    with np.errstate(over="ignore", invalid="ignore"):
        wrong = np.flatnonzero(~np.isfinite(volume.sum(axis=(1, 2), dtype=np.float64)))
    if len(wrong):
        share = float(np.mean(~np.isfinite(volume[wrong[0]])))
        raise ReconstructionError(
            f"{len(wrong)} of {len(volume)} slices have values that are no numbers, the first of row "
            f"{rows[int(wrong[0])]:g} in {100 * share:.3g} % of its pixels. Look at the projections, "
            "darks and flats."
        )
