"""Phase retrieval from one distance: filters over whole projections.

References
----------
D. Paganin et al., Simultaneous phase and amplitude extraction from a single defocused image of a
homogeneous object, doi:10.1046/j.1365-2818.2002.01010.x

P. Cloetens et al., Holotomography, doi:10.1063/1.125225

J. Moosmann et al., Nonlinear phase retrieval from single-distance radiograph,
doi:10.1364/OE.18.025771
"""

import logging
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, field_validator, model_validator

from concertino._errors import ParameterError

KEV_UM = 1.2398419843320026e-3  # Planck's constant times the speed of light

_HIGHEST_KEV = 1000.0
_LOWEST_KEV = 0.1  # the water window begins at 0.28
_NEAREST_MM, _FARTHEST_MM = 1.0, 3e5  # no sample and detector are so near, no hall is so long
LOG = logging.getLogger("concertino.reconstruction")
_FINEST_UM = 0.002  # a fifth of what the finest microscopes have

PhaseMethod = Literal["none", "tie", "ctf", "qp", "qp2"]


class PhaseSettings(BaseModel):
    """Phase retrieval before -log; lengths in the units of the names."""

    phase_method: PhaseMethod = Field(
        "none",
        description="'tie': one material (Paganin), gives attenuation; 'ctf', 'qp', 'qp2': weak "
        "absorption, gives the phase shift in rad per px.",
    )
    energy_kev: float | None = Field(None, gt=0, description="Photon energy in keV.")
    propagation_distance_mm: float | None = Field(
        None, gt=0, description="From sample to detector in mm."
    )
    pixel_size_um: float | None = Field(None, gt=0, description="Detector pixel in um.")
    delta_beta: float | None = Field(
        None, gt=0, description="'tie': refractive decrement over absorption index of the material."
    )
    amplification: float = Field(
        1e4,
        gt=1,
        description="'ctf', 'qp', 'qp2': how much frequencies that the image hardly shows, the low ones among "
        "them, are amplified at most. Less gives less noise, and too low values of what is large.",
    )
    thresholding_rate: float = Field(
        0.01, gt=0, lt=1, description="'qp', 'qp2': |sin| below which a frequency counts as lost."
    )
    delta: float | None = Field(
        None, gt=0, description="Refractive decrement: 'ctf', 'qp' and 'qp2' then give its share."
    )

    @model_validator(mode="before")
    @classmethod
    def _regularization_has_a_name(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "regularization_rate" in values:
            rate = values["regularization_rate"]
            raise ValueError(
                f"regularization_rate was given, {rate!r}, which meant one thing or the other; give "
                "delta_beta, 10 to the power of it, for 'tie', or amplification for the other methods"
            )
        return values

    @field_validator("energy_kev")
    @classmethod
    def _is_in_kev(cls, energy: float | None) -> float | None:
        if energy is not None and energy > _HIGHEST_KEV:
            raise ValueError(
                f"{energy:g} keV is no energy of X-ray imaging; if it was meant in eV, give {energy / 1e3:g}"
            )
        if energy is not None and energy < _LOWEST_KEV:
            raise ValueError(
                f"{energy:g} keV is no energy of X-ray imaging; if it was meant in MeV, give {energy * 1e3:g}"
            )
        return energy

    @field_validator("propagation_distance_mm")
    @classmethod
    def _is_in_mm(cls, distance: float | None) -> float | None:
        if distance is not None and distance > _FARTHEST_MM:
            LOG.warning(
                "propagation_distance_mm: %g mm are %g m, farther than any detector; if it was meant in um, give %g",
                distance, distance / 1e3, distance / 1e3,
            )  # fmt: skip
        elif distance is not None and distance < _NEAREST_MM:
            LOG.warning(
                "propagation_distance_mm: %g mm show no phase; if it was meant in m, give %g",
                distance, distance * 1e3,
            )  # fmt: skip
        return distance

    @field_validator("pixel_size_um")
    @classmethod
    def _is_in_um(cls, pixel: float | None) -> float | None:
        if pixel is not None and pixel < _FINEST_UM:
            raise ValueError(
                f"{pixel:g} um is no pixel of a detector; if it was meant in mm, give {pixel * 1e3:g}, "
                f"if in m, {pixel * 1e6:g}"
            )
        return pixel

    def phase_parameters_missing(self) -> list[str]:
        """Names of settings that the method needs and that are not given."""
        if self.phase_method == "none":
            return []
        needed = ["energy_kev", "propagation_distance_mm", "pixel_size_um"]
        if self.phase_method == "tie":
            needed.append("delta_beta")
        return [name for name in needed if getattr(self, name) is None]


def phase_filter(shape: tuple[int, int], settings: PhaseSettings) -> NDArray[np.float32]:
    """Response for `scipy.fft.rfft2` of a padded projection.

    Parameters
    ----------
    shape
        (rows, columns) of the padded projection.
    settings
        All that the method needs is given.

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
    wavelength_um, distance_um = KEV_UM / energy, distance * 1e3
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
    transmission: NDArray[np.float32], settings: PhaseSettings, lowest: float, threads: int
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
