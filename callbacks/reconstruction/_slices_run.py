"""The processing run that a live reconstruction's slices go into."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from concertino.documents import TomoBlock
from concertino.processing._processing_run import ProcessingRun
from concertino.processing._slices import (
    slice_rows,
    slices_configuration,
    volumes_of,
    without_slices,
)
from concertino.reconstruction import AxisEstimate, ReconstructionResult, Reconstructor

CHEAP_SLICES = 64  # a look at one more, in two halves, is little beside as many


class SlicesJob(Protocol):
    """What is told of a reconstruction whose slices are stored.

    Attributes
    ----------
    tomo : TomoBlock
        Geometry of the scan.
    height : int
        Rows of the detector.
    directory : Path, optional
        Of the processing run, when there is one.
    cut_short : str
        Why the run that is reconstructed did not get to its end.
    """

    tomo: TomoBlock
    height: int
    directory: Path | None
    cut_short: str

    def store(
        self, parameters: Mapping[str, Any], **more: Any
    ) -> AbstractContextManager[ProcessingRun | None]:
        """Open the processing run."""


def store_slices(
    job: SlicesJob,
    reconstructor: Reconstructor,
    resolution: bool | None,
    result: ReconstructionResult,
    changes: Sequence[Mapping[str, Any]] = (),
) -> ReconstructionResult:
    """Give the slices to a processing run, and then what takes more time.

    Parameters
    ----------
    job : SlicesJob
        The job.
    reconstructor : Reconstructor
        What made the result.
    resolution : bool, optional
        Whether their resolution is wanted; by default where it is cheap.
    result : ReconstructionResult
        With the slices.
    changes : sequence of mapping
        How the settings were changed meanwhile.

    Returns
    -------
    ReconstructionResult
        With the resolution.
    """
    with _processing_run(job, result, changes) as run:
        if run is None:
            return _resolved(reconstructor, result, resolution)
        run.publish(
            result.volume,
            stream="slices",
            data_key="slices",
            configuration=_configuration(job, result, len(result.volume)),
        )
        if result.missing:
            run.record(
                "missing",
                {
                    "projections": list(result.missing),
                    "angles": [float(angle) for angle in result.missing_angles],
                },
            )
        result = _resolved(reconstructor, result, resolution)
        if result.resolution is not None:
            found = result.resolution
            run.record(
                "resolution",
                {
                    "resolution_px": float(found.resolution_px),
                    "signal_to_noise": float(found.signal_to_noise),
                    "frequency": found.frequency.tolist(),
                    "correlation": found.correlation.tolist(),
                    "threshold": found.threshold.tolist(),
                },
            )
        return result


def store_series(job: SlicesJob, results: Iterator[ReconstructionResult]) -> None:
    """Publish the slices of tomograms as they come, as one processing run."""
    first = next(results, None)
    if first is None:
        return
    volumes = volumes_of(first, results)
    each, first = len(first.volume), without_slices(first)
    with _processing_run(job, first) as run:
        if run is None:
            for _ in volumes:
                pass
            return
        run.publish_parts(
            volumes,
            first.volume.shape[1:],
            first.volume.dtype,
            stream="slices",
            data_key="slices",
            configuration=_configuration(job, first, each, series=True),
        )


@contextmanager
def _processing_run(
    job: SlicesJob,
    result: ReconstructionResult,
    changes: Sequence[Mapping[str, Any]] = (),
) -> Iterator[ProcessingRun | None]:
    with job.store(
        result.settings.model_dump(mode="json")
        | {"center": result.center_px, "camera": job.tomo.camera},
        more={"settings_changed": list(changes)} if changes else None,
        backend={"name": result.backend, "reason": result.backend_reason},
    ) as run:
        if run is not None:
            job.directory = run.directory
        yield run
        if run is not None:
            run.cut_short = job.cut_short  # of a series it is known only now


def _configuration(
    job: SlicesJob, result: ReconstructionResult, slices: int, *, series: bool = False
) -> dict[str, Any]:
    """What the slices are made with, how many a tomogram has, and where they are."""
    return slices_configuration(
        result,
        AxisEstimate(result.center_px, result.confidence, "found"),
        job.tomo,
        slice_rows(result.settings, job.height),
        series=series,
    ) | {
        "rows": [float(row) for row in result.slice_rows],
        "slices_per_tomogram": slices,
    }


def _resolved(
    reconstructor: Reconstructor, result: ReconstructionResult, wanted: bool | None
) -> ReconstructionResult:
    """Return the result with its resolution, if that is wanted and can be told."""
    settings = result.settings
    cheap = not settings.general and settings.phase_method == "none"
    if wanted is None and not (cheap and len(result.volume) <= CHEAP_SLICES):
        return result
    if wanted is False or settings.z_parameter is not None:
        return result
    if min(result.volume.shape[1:]) < 8 or reconstructor.received < 4:
        return result
    found = reconstructor.resolution(one_slice=True)
    return dataclasses.replace(result, resolution=found)
