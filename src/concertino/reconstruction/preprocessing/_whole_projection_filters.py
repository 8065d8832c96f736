"""Steps that need more than one row of one projection: phase, stripes, half acquisition."""

import numpy as np
from numpy.typing import NDArray

from concertino.reconstruction.settings._settings import ReconstructionSettings
from concertino.runtime._kept_memory import large_array

from ._correct import FlatFieldCorrection
from ._phase import retrieve
from ._rows import ProjectionRows, Rows
from ._sinogram import attenuation_rows
from ._stripes import remove_stripes

_AT_ONCE = 32
_AT_ONCE_BYTES = 2**26
# of a projection that is padded to twice its size both ways: itself, its spectrum, what is left of it,
# the response and the filtered one
_RETRIEVAL_BYTES = 5 * 4 * 4


def conditioning_bytes(shape: tuple[int, int], settings: ReconstructionSettings) -> int:
    """Return the bytes that are in work while projections of shape (row, column) are treated."""
    if settings.phase_method == "none":
        return 0
    pixels = shape[0] * shape[1]
    return 3 * 4 * pixels * _at_once(pixels) + _RETRIEVAL_BYTES * pixels


def _at_once(pixels: int) -> int:
    return max(1, min(_AT_ONCE, _AT_ONCE_BYTES // (4 * pixels)))


def conditioned(
    rows: Rows,
    flat_field: FlatFieldCorrection,
    settings: ReconstructionSettings,
    wanted: NDArray[np.int64],
    center: float,
    threads: int,
) -> tuple[ProjectionRows, FlatFieldCorrection]:
    """Attenuation with all steps done, and a flat field that does nothing more.

    Parameters
    ----------
    rows
        Raw rows.
    wanted
        Places among the rows of those to keep.
    center
        Column of the rotation axis.
    """
    from concertino.reconstruction.kernels._normalize import mend_transmission

    present = np.flatnonzero(rows.present)
    result = ProjectionRows(len(rows.present), wanted, rows.columns)
    data = large_array((len(rows.present), len(wanted), rows.columns), zeros=True)
    result.data = data
    result.present, result.frame_dtype = rows.present.copy(), np.dtype(np.float32)
    at_once = _at_once(rows.row_count * rows.columns)
    blocks = [present[first : first + at_once] for first in range(0, len(present), at_once)]
    if settings.phase_method != "none":
        everything = np.arange(rows.row_count)
        bright = FlatFieldCorrection(
            flat_field.offset, flat_field.gain, flat_field.gain_after, False
        )
        as_it_is = settings.updated(fix_nonfinite=False)
        for some in blocks:
            frames = attenuation_rows(rows, some, bright, as_it_is, everything)
            if settings.fix_nonfinite:  # what is not known must not count as opaque
                mend_transmission(frames)
            lines = retrieve(frames, settings, settings.minimum_transmission, threads)
            data[some] = lines[:, wanted]
    else:
        for some in blocks:
            data[some] = attenuation_rows(rows, some, flat_field, settings, wanted)
    if settings.stripe_removal != "none":
        for place in range(len(wanted)):
            sinogram = data[present, place]
            calm = remove_stripes(sinogram, settings.stripe_removal, settings.stripe_width)
            data[present, place] = calm
    if settings.half_acquisition:
        data *= half_acquisition_weights(rows.columns, center)
    shape = (len(wanted), rows.columns)
    idle = FlatFieldCorrection(np.zeros(shape, np.float32), np.ones(shape, np.float32), None, False)
    return result, idle


def half_acquisition_weights(columns: int, center: float) -> NDArray[np.float32]:
    """Share of each column in a full turn whose axis is near an edge.

    What lies nearer to the axis than the near edge is seen twice, from both sides; the two views fade
    into one another and add up to 2, and nothing is left of a view at its edge. Beyond, what is seen
    once counts double. The fading has no kink, of which the ramp filter would make a ring.

    Parameters
    ----------
    columns
        Width of the detector.
    center
        Column of the axis.

    Returns
    -------
    ndarray
        float32, (column,).
    """
    to_far_side = np.arange(columns) - center
    if center > (columns - 1) / 2:
        to_far_side = -to_far_side
    overlap = min(center, columns - 1 - center) + 0.5
    t = np.clip(0.5 + to_far_side / (2 * overlap), 0.0, 1.0)
    return np.asarray(2 * t**4 * (35 - 84 * t + 70 * t**2 - 20 * t**3), dtype=np.float32)
