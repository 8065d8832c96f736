"""Whole scans that are in memory."""

import logging
import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from concertino._errors import ReconstructionError

from ._reconstructor import Reconstructor
from .analysis._metrics import Metric
from .analysis._result import AxisEstimate, UncertainAxisWarning
from .analysis._search import ParameterEstimate
from .settings._settings import Interval, ReconstructionSettings

LOG = logging.getLogger("concertino.reconstruction")


def reconstruct(
    projections: NDArray[np.generic],
    angles: ArrayLike | None = None,
    *,
    darks: NDArray[np.generic] | None = None,
    flats: NDArray[np.generic] | None = None,
    settings: ReconstructionSettings | None = None,
) -> NDArray[np.float32]:
    """Reconstruct a whole scan that is in memory.

    The same bits as from a `Reconstructor` that was fed in any batches.

    Parameters
    ----------
    projections
        (angle, row, column), counts or, without `flats`, line integrals (real dtype).
    angles
        float, (angle,), radians; None: half a turn in equal steps, end excluded.
    darks, flats
        (frame, row, column), or None.
    settings
        How to reconstruct; None: the defaults.

    Returns
    -------
    ndarray
        float32, (slice, y, x): linear attenuation per pixel when the input is counts with flats.
        Row 0 of a slice is its top (largest y); the rotation axis passes through its middle.

    Raises
    ------
    ParameterError, ReconstructionError
        As `Reconstructor`.

    Warns
    -----
    UncertainAxisWarning
        The rotation axis was looked for, and it is not sure where it is: the confidence is below 0.3.

    Examples
    --------
    >>> import numpy as np
    >>> reconstruct(np.zeros((8, 1, 64), np.float32), settings=ReconstructionSettings(center=31.5)).shape
    (1, 64, 64)
    """
    chosen = settings or ReconstructionSettings()
    result = _fed(projections, angles, darks, flats, chosen).finish()
    doubt = AxisEstimate(result.center_px, result.confidence, "").doubt
    if doubt:
        warnings.warn(doubt, UncertainAxisWarning, stacklevel=2)
    for doubt in result.doubts:
        LOG.warning("%s", doubt)
    return result.volume


def find_axis(
    projections: NDArray[np.generic],
    angles: ArrayLike | None = None,
    *,
    darks: NDArray[np.generic] | None = None,
    flats: NDArray[np.generic] | None = None,
    settings: ReconstructionSettings | None = None,
    tilt: bool = False,
) -> AxisEstimate:
    """Find the column of the rotation axis in a whole scan.

    Parameters
    ----------
    projections, angles, darks, flats, settings
        As for `reconstruct`; `settings.center` is not looked at.
    tilt
        Find also the roll of the axis about the beam, from many rows.

    Returns
    -------
    AxisEstimate
        Column in px (at the middle row), confidence 0 to 1, method, tilt in rad.
    """
    chosen = (settings or ReconstructionSettings()).updated(center=None)
    job = _fed(projections, angles, darks, flats, chosen)
    return job.tilted_axis() if tilt else job.axis()


def find_parameter(
    projections: NDArray[np.generic],
    angles: ArrayLike | None = None,
    *,
    parameter: str,
    region: Interval,
    metric: Metric = "std",
    darks: NDArray[np.generic] | None = None,
    flats: NDArray[np.generic] | None = None,
    settings: ReconstructionSettings | None = None,
) -> ParameterEstimate:
    """Find the value of a setting that makes the best slice of a whole scan.

    Parameters
    ----------
    projections, angles, darks, flats, settings
        As for `reconstruct`.
    parameter, region, metric
        As for `ParameterSearch.find_parameter`.

    Returns
    -------
    ParameterEstimate
        The value, its confidence, and the curve.
    """
    chosen = settings or ReconstructionSettings()
    whole = chosen.updated(z_parameter=parameter, region=region)
    job = _fed(projections, angles, darks, flats, whole)
    return job.search.find_parameter(parameter, region, metric)


def _fed(
    projections: NDArray[np.generic],
    angles: ArrayLike | None,
    darks: NDArray[np.generic] | None,
    flats: NDArray[np.generic] | None,
    settings: ReconstructionSettings,
) -> Reconstructor:
    """A reconstructor that has got a whole scan."""
    stack = np.asarray(projections)
    if stack.ndim != 3:
        raise ReconstructionError(
            f"projections: an array of shape {stack.shape} was given; give one of (angle, row, "
            "column)."
        )
    reconstructor = Reconstructor(
        settings,
        num_projections=len(stack),
        frame_shape=(stack.shape[1], stack.shape[2]),
        angles=angles,
        live=False,
    )
    if darks is not None:
        reconstructor.add_darks(darks)
    if flats is not None:
        reconstructor.add_flats(flats)
    reconstructor._adopt(stack)
    return reconstructor
