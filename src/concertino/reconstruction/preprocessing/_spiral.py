"""Put the rows together that a slice of a spiral scan left in its projections."""

import numpy as np
from numpy.typing import NDArray

from concertino._errors import ReconstructionError


def rebin_helical(
    projections: NDArray[np.floating],
    heights: NDArray[np.floating],
    *,
    height: float,
    count: int,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the sinogram of one slice of a sample that moved along the axis, in parallel light.

    Of the projections, those `count` in a row are taken in which the slice is nearest to the middle
    of the detector. Between two detector rows it is interpolated linearly.

    Parameters
    ----------
    projections
        float, (projection, row, column), line integrals: flat-field corrected already, as that
        belongs to the detector's rows.
    heights
        float, (projection,), height of the sample at each projection in px, upwards.
    height
        Height of the slice in the sample, in px, upwards; at ``heights == 0`` the height 0 is seen
        in the detector's middle row.
    count
        Projections to take, as many as make half a turn (or a full one).

    Returns
    -------
    sinogram, indices
        float32, (count, 1, column), for `reconstruct`; and int64, (count,), which projections.

    Raises
    ------
    ReconstructionError
        When the slice was not on the detector in as many projections.

    Examples
    --------
    >>> import numpy as np
    >>> from concertino.reconstruction import rebin_helical
    >>> rising = np.arange(6) * 0.5
    >>> sinogram, indices = rebin_helical(np.ones((6, 4, 8)), rising, height=-1.0, count=4)
    >>> sinogram.shape, indices
    ((4, 1, 8), array([0, 1, 2, 3]))
    """
    rows = (projections.shape[1] - 1) / 2 - (height + np.asarray(heights, dtype=np.float64))
    offsets = np.abs(rows - (projections.shape[1] - 1) / 2)
    if not 0 < count <= len(rows):
        raise ReconstructionError(
            f"{count} projections per slice were asked for and the spiral has {len(rows)}; give as "
            "many as make half a turn."
        )
    reach = np.convolve(offsets, np.ones(count), mode="valid")
    indices = int(np.argmin(reach)) + np.arange(count)
    wanted = rows[indices]
    seen = (wanted >= 0) & (wanted <= projections.shape[1] - 1)
    if not seen.all():
        raise ReconstructionError(
            f"The slice at {height:g} px is on the detector in {int(seen.sum())} of the {count} "
            "projections that it needs; choose one farther from the ends of the sample, or scan "
            "with a smaller vertical shift per tomogram."
        )
    below = np.minimum(wanted.astype(np.int64), max(projections.shape[1] - 2, 0))
    above = np.minimum(below + 1, projections.shape[1] - 1)
    share = (wanted - below)[:, None]
    sinogram = projections[indices, below] * (1 - share) + projections[indices, above] * share
    return np.asarray(sinogram[:, None], dtype=np.float32), indices
