"""What the slices of a reconstruction are: rows, positions, axis."""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino.documents import TomoBlock
from concertino.reconstruction import AxisEstimate, ReconstructionResult, ReconstructionSettings

LOG = logging.getLogger("concertino.reconstruction")


def slice_rows(settings: ReconstructionSettings, height: int) -> tuple[float, ...]:
    """Return the detector rows that become slices, in order; in a general geometry also between rows.

    Parameters
    ----------
    settings
        What is reconstructed.
    height
        Rows of the detector.
    """
    if settings.slices is not None:
        return settings.slices
    if settings.region is not None:
        rows = np.arange(*settings.region).tolist()
        return tuple(rows) if settings.general else tuple(round(row) for row in rows)
    return tuple(range(height))


def volumes_of(
    first: ReconstructionResult, others: Iterator[ReconstructionResult]
) -> Iterator[NDArray[np.float32]]:
    """Return the slices of one result after the other, and keep none while the next is made."""
    waiting = [first]
    del first
    yield waiting.pop().volume
    yield from map(attrgetter("volume"), others)


def without_slices(result: ReconstructionResult) -> ReconstructionResult:
    """Return what a result says, without its slices, whose memory somebody else needs."""
    volume = result.volume
    return dataclasses.replace(result, volume=np.empty((0, *volume.shape[1:]), volume.dtype))


def slices_configuration(
    result: ReconstructionResult,
    axis: AxisEstimate,
    tomo: TomoBlock,
    rows: Sequence[float],
    *,
    series: bool = False,
) -> dict[str, Any]:
    """Return the configuration of a stream of slices: how they came about, and where they are.

    It also logs a warning when nobody is sure where the axis is, or darks or flats are odd: these slices
    will be believed.

    Parameters
    ----------
    result
        The reconstruction, or its first part.
    axis
        The rotation axis.
    tomo
        Of the scan.
    rows
        Detector rows of all slices, in order.
    series
        More tomograms of these rows follow, so that slices are only counted.
    """
    settings = result.settings
    if axis.doubt and settings.z_parameter != "center":
        LOG.warning("%s", axis.doubt)
    for doubt in result.doubts:
        LOG.warning("%s", doubt)
    swept: tuple[str, Sequence[float]] | None = ("slice", []) if series else None
    if settings.z_parameter is not None and settings.region is not None:
        swept = settings.z_parameter, result.slice_rows
    return {
        "center": float(axis.center_px),
        "center_confidence": float(axis.confidence),
        "center_method": axis.method,
        "missing_projections": len(result.missing),
        "value_unit": result.value_unit,
        **axes_configuration(settings, tomo, result.volume.shape[1:], rows, swept),
    }


def axes_configuration(
    settings: ReconstructionSettings,
    tomo: TomoBlock,
    shape: tuple[int, ...],
    rows: Sequence[float],
    swept: tuple[str, Sequence[float]] | None = None,
) -> dict[str, Any]:
    """Return where slices are, as an image writer takes it from the configuration of their stream.

    Parameters
    ----------
    settings
        How they were reconstructed.
    tomo
        Of the scan; in um if it has a pixel size.
    shape
        Of a slice, (height, width).
    rows
        Detector rows of all slices, in order.
    swept
        The setting that takes the place of z, and its values.

    Returns
    -------
    dict
        Name, unit and values of the first axis, start and step of the others, and in um the pixel of the detector
        that the slices' values are per. z grows with the detector's
        row; x and y count from the rotation axis. Settings count in pixels of the detector, the block has
        the pixel in the plane of the sample: in a cone beam they differ by the magnification.
    """
    pixel = 1.0 if tomo.pixel_size_um is None else tomo.pixel_size_um * settings.magnification
    unit = "px" if tomo.pixel_size_um is None else "um"
    if swept is None:
        name, axis_unit, values = "z", unit, [float(row) * pixel for row in rows]
    else:
        name, axis_unit, values = swept[0], "", [float(value) for value in swept[1]]
    known = {} if tomo.pixel_size_um is None else {"detector_pixel_um": float(pixel)}
    return known | {
        "axis": name,
        "axis_unit": axis_unit,
        "axis_values": values,
        "pixel_unit": unit,
        "y": _start_and_step(settings.y_region, shape[0], pixel),
        "x": _start_and_step(settings.x_region, shape[1], pixel),
    }


def _start_and_step(
    region: tuple[float, float, float] | None, size: int, pixel: float
) -> list[float]:
    start, step = (-(size - 1) / 2, 1.0) if region is None else (region[0], region[2])
    return [start * pixel, step * pixel]
