"""What a grating interferometer tells: intensity, visibility and phase of the fringes in each pixel.

References
----------
T. Weitkamp et al., X-ray phase imaging with a grating interferometer, doi:10.1364/OPEX.13.006296

F. Pfeiffer et al., Hard-X-ray dark-field imaging using a grating interferometer,
doi:10.1038/nmat2096
"""

from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import NDArray

from concertino._errors import ReconstructionError


@dataclass(frozen=True)
class Fringes:
    """The fringes of one phase stepping; each float32, (height, width).

    Attributes
    ----------
    intensity
        Mean over the steps less the dark field, in counts.
    visibility
        Amplitude over mean, 0 to 1.
    phase
        In rad, -pi to pi.
    """

    intensity: NDArray[np.float32]
    visibility: NDArray[np.float32]
    phase: NDArray[np.float32]


@dataclass(frozen=True)
class Contrasts:
    """What the sample did to the fringes; each float32, (height, width).

    Attributes
    ----------
    intensity
        Transmission: intensity with the sample over that without.
    dark_field
        Visibility contrast: visibility with the sample over that without.
    differential_phase
        Shift of the fringes' phase, in rad, -pi to pi.
    refraction_angle
        Towards larger columns, in rad: ``sign * differential_phase * period / (2 pi distance)``; None
        when the distance or the period is not known. A ball refracts outwards.
    """

    intensity: NDArray[np.float32]
    dark_field: NDArray[np.float32]
    differential_phase: NDArray[np.float32]
    refraction_angle: NDArray[np.float32] | None = None


class PhaseStepping:
    """Takes the frames of one phase stepping in any order and keeps only two sums.

    Parameters
    ----------
    num_periods : int
        Periods of the grating over which is stepped.
    num_steps : int
        Steps in all.

    Notes
    -----
    With F the discrete Fourier transform over the steps and k the number of periods: the intensity
    is ``|Re F0|`` over the number of steps, the visibility ``2 |Fk| / Re F0``, the phase ``arg Fk``.

    Examples
    --------
    >>> import numpy as np
    >>> from concertino.reconstruction import PhaseStepping
    >>> stepping = PhaseStepping(num_periods=1, num_steps=8)
    >>> for step in range(8):
    ...     value = 100 * (1 + 0.2 * np.cos(2 * np.pi * step / 8 + 0.5))
    ...     stepping.add(np.full((1, 1), value), step)
    >>> fringes = stepping.fringes()
    >>> [round(float(part[0, 0]), 6) for part in (fringes.intensity, fringes.visibility, fringes.phase)]
    [100.0, 0.2, 0.5]
    """

    def __init__(self, num_periods: int, num_steps: int) -> None:
        self.num_periods = num_periods
        self.num_steps = num_steps
        self._seen: set[int] = set()
        self._zeroth: NDArray[np.float64] | None = None
        self._first: NDArray[np.complex128] | None = None

    @property
    def missing(self) -> tuple[int, ...]:
        """Steps that have not come yet."""
        return tuple(step for step in range(self.num_steps) if step not in self._seen)

    def add(self, frame: NDArray[np.generic], step: int) -> None:
        """Add the frame (height, width) of one step, counted from 0; one that was added is not again.

        Raises
        ------
        ReconstructionError
            When there is no such step.
        """
        if not 0 <= step < self.num_steps:
            raise ReconstructionError(
                f"Step {step} of a phase stepping came, and there are {self.num_steps}: they count "
                "from 0. Check num_periods and num_steps_per_period."
            )
        if step in self._seen:
            return
        values = np.asarray(frame, dtype=np.float64)
        turn = np.exp(-2j * pi * self.num_periods * step / self.num_steps)
        if self._zeroth is None or self._first is None:
            self._zeroth = np.zeros(values.shape)
            self._first = np.zeros(values.shape, np.complex128)
        self._zeroth += values
        self._first += turn * values
        self._seen.add(step)

    def fringes(self, dark: NDArray[np.floating] | None = None) -> Fringes:
        """Return the fringes.

        Parameters
        ----------
        dark
            (height, width), mean dark frame in counts; None for no dark signal.

        Raises
        ------
        ReconstructionError
            When a step is missing.
        """
        if self.missing or self._zeroth is None or self._first is None:
            raise ReconstructionError(
                f"Steps {', '.join(map(str, self.missing))} of {self.num_steps} are missing: the "
                "phase of the fringes follows from whole periods only. Repeat the scan."
            )
        zeroth = self._zeroth if dark is None else self._zeroth - self.num_steps * dark
        amplitude = 2 * np.abs(self._first)
        visibility = np.divide(amplitude, zeroth, out=np.zeros_like(zeroth), where=zeroth != 0)
        return Fringes(
            (np.abs(zeroth) / self.num_steps).astype(np.float32),
            visibility.astype(np.float32),
            np.angle(self._first).astype(np.float32),
        )


def grating_contrasts(
    sample: Fringes,
    reference: Fringes,
    *,
    period_um: float | None = None,
    distance_mm: float | None = None,
    sign: int = -1,
) -> Contrasts:
    """Return what the sample did to the fringes.

    Parameters
    ----------
    sample, reference
        With and without the sample.
    period_um
        Of the analyser grating, in um; None: no refraction angle.
    distance_mm
        From sample to analyser grating, in mm; None: no refraction angle.
    sign
        1 if light that is refracted towards larger columns increases the phase, as when the phase
        grating is stepped that way; -1 if it lowers it, as when the analyser is. A run's is
        `GratingBlock.refraction_sign`.

    Examples
    --------
    >>> import numpy as np
    >>> from concertino.reconstruction import Fringes, grating_contrasts
    >>> one = np.ones((1, 1), np.float32)
    >>> found = grating_contrasts(
    ...     Fringes(one * 50, one * 0.15, one * -3), Fringes(one * 100, one * 0.3, one * 3),
    ...     period_um=2.4, distance_mm=100,
    ... )
    >>> round(float(found.differential_phase[0, 0]), 4), round(float(found.dark_field[0, 0]), 4)
    (0.2832, 0.5)
    """
    shift = np.angle(np.exp(1j * (sample.phase.astype(np.float64) - reference.phase)))
    refraction = None
    if period_um is not None and distance_mm:
        refraction = (sign * shift * period_um / (2 * pi * distance_mm * 1000)).astype(np.float32)
    return Contrasts(
        _ratio(sample.intensity, reference.intensity),
        _ratio(sample.visibility, reference.visibility),
        shift.astype(np.float32),
        refraction,
    )


def _ratio(over: NDArray[np.float32], under: NDArray[np.float32]) -> NDArray[np.float32]:
    # A pixel without light has no contrast; it must not become infinite.
    return np.divide(over, under, out=np.zeros_like(over), where=under != 0)
