"""What comes out of the source."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from concertino import ParameterError

from ._checks import check_positive
from ._state import BeamlineState


@dataclass(frozen=True)
class Beam:
    """An uneven beam that drifts, at a storage ring or an X-ray tube.

    Parameters
    ----------
    flux : float
        Photons per pixel and second where the beam is strongest, at the nominal current.
    vertical_width : float
        Full width at half maximum of the beam across the rows, in heights of the field of view.
    horizontal_width : float
        The same across the columns, in widths of the field of view.
    stripes : float
        Relative height of the horizontal stripes that a monochromator leaves in the beam.
    drift : float
        Relative amplitude of the slow change of intensity.
    drift_period_s : float
        Period of that change, in s.
    wander_px : float
        Amplitude of the slow movement of the beam across the rows, in px.
    wander_period_s : float
        Period of that movement, in s.
    nominal_ring_ma, nominal_tube_ma, nominal_tube_kv : float
        Ring current, tube current and tube voltage at which `flux` is reached. The flux is
        proportional to each current and to the square of the voltage.
    seed : int
        Seed of the stripes.
    """

    flux: float = 1e6
    vertical_width: float = 1.6
    horizontal_width: float = 3.0
    stripes: float = 0.03
    drift: float = 0.01
    drift_period_s: float = 300.0
    wander_px: float = 0.3
    wander_period_s: float = 120.0
    nominal_ring_ma: float = 150.0
    nominal_tube_ma: float = 1.0
    nominal_tube_kv: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.flux) and self.flux >= 0):
            raise ParameterError(f"flux: {self.flux} was given; give 0 or more photons/px/s.")
        check_positive(
            vertical_width=self.vertical_width,
            horizontal_width=self.horizontal_width,
            drift_period_s=self.drift_period_s,
            wander_period_s=self.wander_period_s,
            nominal_ring_ma=self.nominal_ring_ma,
            nominal_tube_ma=self.nominal_tube_ma,
            nominal_tube_kv=self.nominal_tube_kv,
        )

    def profile(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Return the intensity (height, width) relative to `flux`, at rest."""
        height, width = shape
        rows = (np.arange(height) - (height - 1) / 2) / height
        columns = (np.arange(width) - (width - 1) / 2) / width
        across = np.exp(-4 * math.log(2) * (rows / self.vertical_width) ** 2)
        along = np.exp(-4 * math.log(2) * (columns / self.horizontal_width) ** 2)
        rng = np.random.default_rng((self.seed, 1))
        waves = rng.uniform(4.0, 25.0, 6)
        phases = rng.uniform(0.0, 2 * math.pi, 6)
        bent = rows[:, None] + 0.02 * np.sin(2 * math.pi * columns)[None, :]
        ripple = np.mean(
            [np.cos(2 * math.pi * w * bent + p) for w, p in zip(waves, phases, strict=True)], axis=0
        )
        profile: NDArray[np.float64] = (
            across[:, None] * along[None, :] * (1 + self.stripes * ripple)
        )
        return profile

    def intensity(self, state: BeamlineState, exposure_s: float) -> float:
        """Return the intensity relative to nominal, averaged over the exposure; 0 with beam off."""
        middle = state.time_s + exposure_s / 2
        value = state.beam_on * (
            1 + self.drift * math.sin(2 * math.pi * middle / self.drift_period_s)
        )
        if state.ring_current_ma is not None:
            value *= state.ring_current_ma / self.nominal_ring_ma
        if state.tube_current_ma is not None:
            value *= state.tube_current_ma / self.nominal_tube_ma
        if state.tube_voltage_kv is not None:
            value *= (state.tube_voltage_kv / self.nominal_tube_kv) ** 2
        return max(value, 0.0)

    def wander(self, state: BeamlineState, exposure_s: float) -> float:
        """Return how far the beam has moved down the rows, in px."""
        middle = state.time_s + exposure_s / 2
        return self.wander_px * math.sin(2 * math.pi * middle / self.wander_period_s)
