"""Phase retrieval from one distance: filters over whole projections.

References
----------
D. Paganin et al., Simultaneous phase and amplitude extraction from a single defocused image of a
homogeneous object, doi:10.1046/j.1365-2818.2002.01010.x

P. Cloetens et al., Holotomography, doi:10.1063/1.125225

A. Pogany et al., Contrast and resolution in imaging with a microfocus x-ray source, doi:10.1063/1.1148194

J. Moosmann et al., Nonlinear phase retrieval from single-distance radiograph,
doi:10.1364/OE.18.025771
"""

import numpy as np
from numpy.typing import NDArray

from concertino._errors import ParameterError
from concertino.reconstruction.settings._settings import ReconstructionSettings

KEV_UM = 1.2398419843320026e-3  # Planck's constant times the speed of light


def phase_filter(shape: tuple[int, int], settings: ReconstructionSettings) -> NDArray[np.float32]:
    """Response for `scipy.fft.rfft2` of a padded projection.

    Parameters
    ----------
    shape
        (rows, columns) of the padded projection.
    settings
        All that the method needs is given; the pixel is the detector's, also in a cone.

    Returns
    -------
    ndarray
        float32, (rows, columns // 2 + 1): applied to transmission ('tie', 1 at frequency 0), or to
        transmission minus 1 (the others; gives minus the phase).
    """
    import scipy.fft

    energy, pixel = settings.energy_kev, settings.pixel_size_um
    distance = settings.propagation_distance_mm
    if energy is None or pixel is None or distance is None or settings.phase_parameters_missing():
        raise ParameterError(
            "Phase retrieval was asked for without "
            f"{', '.join(settings.phase_parameters_missing())}. Give these too."
        )
    # Of a cone: as a parallel beam from a distance less by the magnification, in the plane of the sample; by the
    # detector's larger pixel, from one that is more by it.
    wavelength_um, distance_um = KEV_UM / energy, distance * 1e3 * settings.magnification
    down = scipy.fft.fftfreq(shape[0], pixel)[:, None]
    across = scipy.fft.rfftfreq(shape[1], pixel)[None]
    chi = np.pi * wavelength_um * distance_um * (down**2 + across**2)
    if settings.phase_method == "tie":
        return np.asarray(1.0 / (1.0 + (settings.delta_beta or 1.0) * chi), dtype=np.float32)
    wave = np.sin(chi)
    # Tikhonov's: 1 / (2 sin) as it should be down to near the floor, where it turns towards 0.
    floor = 0.5 / settings.amplification
    response = -0.5 * wave / (wave**2 + floor**2)
    if settings.phase_method != "ctf":
        lost = (chi > np.pi / 2) & (np.abs(wave) < settings.thresholding_rate)
        instead = 0.0
        if settings.phase_method == "qp2":
            instead = -0.5 * np.sign(wave[lost]) / settings.thresholding_rate
        response[lost] = instead
    if settings.delta is not None:
        response /= 2.0 * np.pi / wavelength_um * settings.delta * pixel
    return np.asarray(response, dtype=np.float32)


def retrieve(
    transmission: NDArray[np.float32], settings: ReconstructionSettings, lowest: float, threads: int
) -> NDArray[np.float32]:
    """Turn transmission (projection, row, column) into what is reconstructed.

    Edges are mirrored up to twice the size, so that one edge does not reach the opposite one.
    """
    import scipy.fft

    rows, columns = transmission.shape[1:]
    shape = (
        scipy.fft.next_fast_len(2 * rows, real=True),
        scipy.fft.next_fast_len(2 * columns, real=True),
    )
    before = ((shape[0] - rows) // 2, (shape[1] - columns) // 2)
    places = [
        _mirrored(np.arange(size) - start, count)
        for size, start, count in zip(shape, before, (rows, columns), strict=True)
    ]
    response = phase_filter(shape, settings)
    out = np.empty_like(transmission)
    for index, frame in enumerate(transmission):
        padded = frame[places[0]][:, places[1]]
        if settings.phase_method != "tie":
            padded = padded - np.float32(1.0)
        spectrum = scipy.fft.rfft2(padded, workers=threads) * response
        filtered = scipy.fft.irfft2(spectrum, shape, workers=threads)
        inner = filtered[before[0] : before[0] + rows, before[1] : before[1] + columns]
        if settings.phase_method == "tie":
            inner = -np.log(np.maximum(inner, np.float32(lowest)))
        out[index] = inner
    return out


def _mirrored(places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Indices of pixels that stand for places beyond the edges."""
    folded = np.mod(places, 2 * count)
    return np.asarray(np.where(folded < count, folded, 2 * count - 1 - folded))
