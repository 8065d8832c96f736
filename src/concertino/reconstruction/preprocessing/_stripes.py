"""Remove stripes of a sinogram, which become rings in a slice.

References
----------
M. L. Rivers, Tutorial introduction to X-ray computed microtomography data processing (normalisation).

B. Münch, P. Trtik, F. Marone and M. Stampanoni, Stripe and ring artifact removal with combined
wavelet-Fourier filtering, doi:10.1364/OE.17.008567

N. T. Vo, R. C. Atwood and M. Drakopoulos, Superior techniques for eliminating ring artifacts in X-ray
micro-tomography, doi:10.1364/OE.26.028396
"""

from typing import Literal

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

_DAMPING = 0.5  # width of what is damped, in lowest frequencies

StripeMethod = Literal["none", "normalisation", "fourier-wavelet", "sorting"]


def remove_stripes(
    sinogram: NDArray[np.float32], method: StripeMethod, size: int
) -> NDArray[np.float32]:
    """Remove what stays in its detector column while the sample turns.

    Parameters
    ----------
    sinogram
        float32, (angle, column), attenuation.
    method
        'normalisation': what sticks out of the running median of the mean over all angles;
        'fourier-wavelet': the lowest vertical frequencies of the vertical details, on all scales; 'sorting': median over
        columns of each column's sorted values, which finds stripes of any strength.
    size
        Window in px, as algotom's: stripes up to about half as wide are removed.

    Returns
    -------
    ndarray
        float32, (angle, column).
    """
    if method == "normalisation":
        mean = sinogram.mean(axis=0, dtype=np.float64)
        # a median leaves edges and slopes of the sample where they are, which a smooth mean does not
        smooth = scipy.ndimage.median_filter(mean, 2 * (size // 2) + 1, mode="nearest")
        return np.asarray(sinogram - (mean - smooth), dtype=np.float32)
    if method == "sorting":
        order = np.argsort(sinogram, axis=0, kind="stable")
        ordered = np.take_along_axis(sinogram, order, axis=0)
        calm = scipy.ndimage.median_filter(ordered, (1, 2 * (size // 2) + 1), mode="nearest")
        result = np.empty_like(sinogram)
        np.put_along_axis(result, order, calm, axis=0)
        return result
    if method == "fourier-wavelet":
        return _fourier_wavelet(sinogram, max(1, round(np.log2(size)) - 1))
    return sinogram


def _fourier_wavelet(sinogram: NDArray[np.float32], levels: int) -> NDArray[np.float32]:
    """Damp the lowest frequencies along angles of details across columns.

    The wavelets are undecimated (each detail is the difference of two smoothings), so that nothing
    has to be put together again from filters.
    """
    values = sinogram.astype(np.float64)
    mirrored = np.concatenate([values, values[::-1]])  # no jump from the last angle to the first
    frequency = np.fft.rfftfreq(len(mirrored), 1 / len(mirrored))
    damped = -np.expm1(-(frequency**2) / (2 * _DAMPING**2))[:, None]
    result = np.zeros_like(mirrored)
    smooth = mirrored
    for level in range(levels):
        kernel = np.zeros(4 * 2**level + 1)
        kernel[:: 2**level] = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0
        smoother = scipy.ndimage.convolve1d(smooth, kernel, axis=1, mode="nearest")
        detail = np.fft.rfft(smooth - smoother, axis=0) * damped
        result += np.fft.irfft(detail, len(mirrored), axis=0)
        smooth = smoother
    return np.asarray((result + smooth)[: len(values)], dtype=np.float32)
