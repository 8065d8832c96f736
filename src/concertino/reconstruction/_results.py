"""What a scan comes to: its slices, and how sure they are."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._parameter_search import ParameterSearch
from ._slice_maker import SliceMaker
from .analysis._result import ReconstructionResult, value_unit
from .engines._progress import SliceProgress
from .settings._checks import look_at
from .settings._settings import positions


def volume_of(
    maker: SliceMaker,
    center: float,
    *,
    last: bool,
    only: NDArray[np.int64] | None = None,
    progress: SliceProgress | None = None,
) -> NDArray[np.float32]:
    """Return the slices of all that is there, or the strip of a sweep; as `SliceMaker.volume`."""
    name, region = maker.job.settings.z_parameter, maker.job.settings.region
    if name is not None and region is not None:
        strip = ParameterSearch(maker, nullcontext()).sweep(name, positions(region))
        return strip if only is None else strip[only]
    return maker.volume(center, last=last, only=only, progress=progress)


def finished(
    maker: SliceMaker, progress: Callable[[float], Any] | None = None
) -> ReconstructionResult:
    """Reconstruct with all that has come, as `Reconstructor.finish`."""
    maker.check_ready(2)
    maker.close_angles()
    axis = maker.axis()
    told = SliceProgress(progress)
    volume = volume_of(maker, axis.center_px, last=True, progress=told)
    told.end()
    maker.rest()
    job, store = maker.job, maker.store
    settings, missing = job.settings, store.missing
    field = store.field(settings, job.layout)
    look_at(volume, job.slice_rows, field.gain, settings)
    return ReconstructionResult(
        volume,
        axis.center_px,
        axis.confidence,
        missing,
        settings,
        dict(store.timings),
        job.slice_rows,
        missing_angles=tuple(float(angle) for angle in store.angles.turned[list(missing)]),
        backend=job.backend.name,
        backend_reason=job.backend.reason,
        value_unit=value_unit(settings, field.logarithm),
        doubts=store.flats.doubts(settings),
    )


def halves_of(maker: SliceMaker, *, one_slice: bool) -> list[NDArray[np.float32]]:
    """Return slices of the even and of the odd projections: volumes, or the middle slice of few."""
    job = maker.job
    base = job.settings.updated(center=maker.axis().center_px)
    if one_slice and job.settings.z_parameter is None:
        row = round(job.slice_rows[len(job.slice_rows) // 2])
        base = base.updated(slices=(row,), region=None)
    halves = [finished(maker.with_settings(base, (part, 2))).volume for part in (0, 1)]
    if len(halves[0]) < 8:
        middle = len(halves[0]) // 2
        halves = [volume[middle] for volume in halves]
    return halves
