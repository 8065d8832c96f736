"""A grating interferometer before the detector: fringes that the sample shifts and blurs."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from concertino import ParameterError

from ._checks import check_positive


@dataclass(frozen=True)
class Grating:
    """A grating interferometer of known visibility, and what a sample does to its fringes.

    With the grating at the position x_g, counted to the right, the intensity in each pixel is that
    without gratings times ``1 + visibility * d * cos(2 pi x_g / period + p + s)``, where p is the phase
    of the empty interferometer, s the shift by the refraction in the sample and d the blur by its
    small-angle scattering.

    A sample refracts X-rays by ``-d/dx`` of the integral of delta along the beam, positive to the right:
    a ball outwards, as delta is positive. The fringes move with the light: a phase grating that is
    stepped to the right moves them, too (s has the sign of the angle); the analyser must be stepped
    after them, and a source grating that is stepped to the right moves them to the left (s has the
    opposite sign).

    Parameters
    ----------
    period_um : float
        Of the grating that is stepped, in um; taken for that of the fringes at the analyser, too.
    visibility : float
        Of the fringes without sample, 0 to 1.
    distance_mm : float
        Over which the refraction acts: from sample to analyser grating, in mm.
    moire_px : float
        Period of the moiré fringes across the columns, in px: the empty phase is not the same
        everywhere; ``inf`` for the same everywhere.
    refraction_um : float
        Decrement of the refractive index over the attenuation coefficient, delta / mu, in um.
    scattering : float
        The fringes' amplitude falls with exp(-scattering * line integral of the attenuation).
    stepped : {"analyser", "phase", "source"}
        Which grating is stepped.
    direction : {1, -1}
        1 if larger positions of it are farther to the right, -1 if they are farther to the left.

    Examples
    --------
    >>> from concertino.simulation import Grating
    >>> round(float(Grating(visibility=0.3, moire_px=float("inf")).fringes(None, (1, 1), 0.0)[0, 0]), 3)
    1.3
    """

    period_um: float = 2.4
    visibility: float = 0.3
    distance_mm: float = 200.0
    moire_px: float = 64.0
    refraction_um: float = 0.002
    scattering: float = 0.3
    stepped: Literal["analyser", "phase", "source"] = "analyser"
    direction: Literal[1, -1] = 1

    def __post_init__(self) -> None:
        check_positive(
            period_um=self.period_um,
            distance_mm=self.distance_mm,
            moire_px=self.moire_px,
        )
        if not 0 <= self.visibility <= 1:
            raise ParameterError(f"visibility: {self.visibility} was given; give 0 to 1.")
        if not (math.isfinite(self.scattering) and self.scattering >= 0):
            raise ParameterError(f"scattering: {self.scattering} was given; give 0 or more.")
        if self.stepped not in ("analyser", "phase", "source") or self.direction not in (1, -1):
            raise ParameterError(
                f"stepped, direction: {self.stepped!r} and {self.direction!r} were given; give "
                "'analyser', 'phase' or 'source', and 1 or -1."
            )

    def empty_phase(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Return the phase of the fringes without sample (height, width), in rad."""
        phase = 2 * np.pi * np.arange(shape[1]) / self.moire_px
        return np.broadcast_to(phase, shape)

    def refraction_angle(
        self, lines: NDArray[np.floating], pixel_size_mm: float
    ) -> NDArray[np.float64]:
        """Return by what angle the sample refracts to the right, in rad, from its line integrals.

        Parameters
        ----------
        lines : ndarray, shape (height, width)
            Dimensionless line integrals of the attenuation.
        pixel_size_mm : float
            In mm.
        """
        if lines.shape[1] < 2:
            return np.zeros(lines.shape)
        path_mm = lines.astype(np.float64) * self.refraction_um / 1000
        return np.asarray(-np.gradient(path_mm, pixel_size_mm, axis=1))

    def phase_shift(self, lines: NDArray[np.floating], pixel_size_mm: float) -> NDArray[np.float64]:
        """Return by how much the sample shifts the phase, were larger positions to the right, in rad.

        It is not wrapped.
        """
        shift_um = self.refraction_angle(lines, pixel_size_mm) * self.distance_mm * 1000
        sign = 1 if self.stepped == "phase" else -1
        return np.asarray(sign * 2 * np.pi * shift_um / self.period_um)

    def dark_field(self, lines: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the visibility behind the sample over that without it, 0 to 1."""
        return np.asarray(np.exp(-self.scattering * lines.astype(np.float64)))

    def fringes(
        self,
        lines: NDArray[np.floating] | None,
        shape: tuple[int, int],
        position_um: float,
        pixel_size_mm: float = 1.0,
    ) -> NDArray[np.float64]:
        """Return the factor (height, width) on the intensity.

        Parameters
        ----------
        lines : ndarray, shape (height, width), optional
            Line integrals of the attenuation; None without sample.
        shape : (int, int)
            Height and width, in px.
        position_um : float
            Of the grating, in um.
        pixel_size_mm : float
            In mm.
        """
        phase = self.direction * 2 * np.pi * position_um / self.period_um + self.empty_phase(shape)
        amplitude: NDArray[np.float64] | float = self.visibility
        if lines is not None:
            phase = phase + self.phase_shift(lines, pixel_size_mm)
            amplitude = amplitude * self.dark_field(lines)
        return np.asarray(1 + amplitude * np.cos(phase))
