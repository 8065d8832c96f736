"""Slices of a scan of the twin, those of the twin in process at the true positions, and those of the phantom."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino.reconstruction import ReconstructionSettings, rebin_helical, reconstruct
from concertino.simulation import BeamlineState, Twin

_HEIGHTS = (-4.0, 0.0, 4.0)


@dataclass(frozen=True)
class Seen:
    """Frames (n, height, width), angles in deg and heights in mm."""

    darks: NDArray[Any]
    flats: NDArray[Any]
    projections: NDArray[Any]
    angles_deg: NDArray[np.float64]
    heights_mm: NDArray[np.float64]


@dataclass(frozen=True)
class Answer:
    """Slices (3, width, width) of a scan, and of the phantom."""

    slices: NDArray[Any]
    phantom: NDArray[Any]


def expected(
    twin: Twin,
    noted: dict[str, list[dict[str, Any]]],
    exposure_s: float,
    angles_deg: NDArray[np.float64],
    heights_mm: NDArray[np.float64],
) -> Seen:
    """Return what the twin shows when nothing is between it and us."""
    taken = {}
    for name, exposures in noted.items():
        frames = np.empty((len(exposures), *twin.shape), np.uint16)
        for number, one in enumerate(exposures):
            begin, end = np.deg2rad(one["angle_deg"])
            state = BeamlineState(
                beam_on=one["beam_on"], angle_start_rad=begin, angle_end_rad=end,
                sample_offset_mm=tuple(one["offset_mm"]),
            )  # fmt: skip
            twin.expose(state, exposure_s, frames[number], number, kind=name)
        taken[name] = frames.astype(float)
    return Seen(taken["darks"], taken["flats"], taken["projections"], angles_deg, heights_mm)


def answer(twin: Twin, seen: Seen, spiral: bool) -> Answer:
    """Return slices above, in and below the middle of the detector."""
    pixel_mm, middle = twin.detector.pixel_size_mm, (twin.shape[0] - 1) / 2
    dark = seen.darks.mean(axis=0)
    lines = -np.log(np.maximum(seen.projections - dark, 1) / (seen.flats.mean(axis=0) - dark))
    count = 40 if spiral else len(lines)
    settings = ReconstructionSettings(center=twin.rotation_axis_px)
    slices, phantom = [], []
    for height in _HEIGHTS:
        sinogram, indices = rebin_helical(
            lines, seen.heights_mm / pixel_mm, height=height, count=count
        )
        angles = np.deg2rad(seen.angles_deg[indices])
        slices.append(reconstruct(sinogram, angles, settings=settings)[0])
        phantom.append(twin.phantom.slice(middle - height, twin.shape, pixel_mm))
    return Answer(np.array(slices), np.array(phantom))
