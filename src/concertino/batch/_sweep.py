"""One row of a stored run for each value of a setting."""

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from concertino._errors import ParameterError
from concertino.processing._processing_run import stored_processing_run
from concertino.processing._scan_frames import ScanFrames
from concertino.processing._slices import axes_configuration
from concertino.reconstruction import (
    GeometrySettings,
    Metric,
    ParameterEstimate,
    ReconstructionSettings,
    Reconstructor,
    largest_is_best,
)
from concertino.storage import Run

from ._memory import ring_bytes
from ._parts import Progress, counter

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Sweep:
    """What `sweep_run` made.

    Attributes
    ----------
    directory
        Of the processing run: ``slices/`` and ``metric.png``.
    estimate
        The best value, its confidence, and the curve.
    values
        float64: value of each slice.
    row
        Detector row of the slices.
    """

    directory: Path
    estimate: ParameterEstimate
    values: NDArray[np.float64]
    row: int


def sweep_run(
    run: Run,
    parameter: str,
    region: tuple[float, float, float],
    *,
    row: int | None = None,
    metric: Metric = "std",
    settings: ReconstructionSettings | None = None,
    directory: str | Path | None = None,
    progress: Progress | None = None,
    camera: str | None = None,
    tomogram: int | None = None,
) -> Sweep:
    """Reconstruct one row of a stored run for each value of a setting, and find the best value.

    Parameters
    ----------
    run
        A tomography run.
    parameter
        Name of a setting, such as ``"center"``; see `ReconstructionSettings.z_parameter`.
    region
        Its values: (from, to, step), `to` excluded.
    row
        Detector row; the middle one by default.
    metric
        What makes a slice good; see `slice_metric`.
    settings
        Everything else.
    directory
        Where the processing run's directory is made; beside the run's by default.
    progress
        Called with frames read and frames to read in all.
    camera
        Name of the camera whose frames are reconstructed; the first of the run's by default.
    tomogram
        Which tomogram of a time series, counted from 0; by default all projections count.

    Returns
    -------
    Sweep
        Where the slices are, and the best value.

    Raises
    ------
    ParameterError
        If there is no such setting, row or metric, or the region is empty.
    DocumentError, ReconstructionError, StorageError
        As `reconstruct_run`.
    """
    scan = ScanFrames(run, camera, tomogram=tomogram)
    chosen = _checked_row(scan, row)
    start, increment = _checked_start_and_step(region)
    base = scan.with_known_axis(settings or ReconstructionSettings())
    # Neither needs the answer: what is unknown is refused before frames are read.
    largest_is_best(metric)
    base.updated(**{parameter: start})
    reconstructor = _of_row(scan, base, chosen, parameter)
    reconstructor.search.check_sweep(region)
    scan.feed(reconstructor, counter(progress, scan.num_frames))
    strip, estimate = reconstructor.search.sweep_and_find(parameter, region, metric)
    if estimate.at_edge:
        LOG.warning("%s The slices are stored.", estimate.at_edge)
    values = start + increment * np.arange(len(strip), dtype=float)
    how = base.model_dump(mode="json") | {
        "parameter": parameter, "region": list(region), "row": chosen, "metric": metric,
        "best": estimate.value, "confidence": estimate.confidence, "at_edge": estimate.at_edge,
    }  # fmt: skip
    with stored_processing_run(
        {**run.start, "run_directory": str(run.directory)},
        "sweep",
        how,
        name=f"sweep_{parameter}",
        directory=None if directory is None else Path(directory),
    ) as processing:
        assert processing is not None
        assert processing.directory is not None
        processing.publish_parts(
            [strip],
            strip.shape[1:],
            strip.dtype,
            stream="slices",
            data_key="slices",
            configuration={
                "best": estimate.value,
                "confidence": float(estimate.confidence),
                "value_unit": reconstructor.value_unit,
                **axes_configuration(
                    base, scan.tomo, strip.shape[1:], (chosen,), (parameter, values.tolist())
                ),
            },
            ring_bytes=ring_bytes(base, strip[0].nbytes),
        )
        return Sweep(processing.directory, estimate, values, chosen)


def _of_row(
    scan: ScanFrames, settings: ReconstructionSettings, row: int, parameter: str
) -> Reconstructor:
    """Return what reconstructs one row; a slice of another geometry lies across many."""
    return scan.reconstructor(
        settings.updated(slices=(row,), region=None),
        all_rows=parameter in GeometrySettings.model_fields,
    )


def _checked_row(scan: ScanFrames, row: int | None) -> int:
    """Return the row of a sweep, the middle one by default; refuse what the detector has not."""
    height = scan.frame_shape[0]
    chosen = height // 2 if row is None else row
    if not 0 <= chosen < height:
        raise ParameterError(
            f"row: {chosen} was given; {scan.run.name} has the rows 0 to {height - 1}; give one of these."
        )
    return chosen


def _checked_start_and_step(region: tuple[float, float, float]) -> tuple[float, float]:
    """Return the first value of a sweep and its step; refuse a region without values, or without end."""
    start, stop, step = region
    if not all(map(math.isfinite, region)):
        raise ParameterError(f"region: {region} has no end; give a finite from, to and step.")
    if not step or (stop - start) / step <= 0:
        raise ParameterError(f"region: {region} holds no value; give from, to and step.")
    return start, step
