"""What the detector makes of the light."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from concertino import ParameterError

from ._checks import check_not_negative, check_positive


@dataclass(frozen=True)
class Detector:
    """A camera with an uneven sensor.

    Parameters
    ----------
    shape : (int, int)
        Height and width, in px.
    pixel_size_mm : float
        Pixel size in the sample's plane, in mm.
    gain : float
        Counts per electron; a detected photon makes one electron.
    offset : float
        Counts without any light or time.
    dark_current : float
        Electrons per pixel and second.
    read_noise : float
        Standard deviation of the read-out, in electrons.
    full_well : float
        Electrons that a pixel holds; more are lost.
    unevenness : float
        Relative standard deviation of the pixels' sensitivities. Flat-field correction removes it.
    ring_pixels : float
        Part of the pixels, 0 to 1, that don't answer linearly. Flat-field correction doesn't remove
        that: they draw rings in the slices.
    ring_strength : float
        Part of the signal that such a pixel misses or adds at full well, as standard deviation.
    bit_depth : int
        Counts stay below ``2**bit_depth``; at most 16.
    seed : int
        Seed of the uneven sensor.
    """

    shape: tuple[int, int] = (512, 512)
    pixel_size_mm: float = 0.005
    gain: float = 1.0
    offset: float = 100.0
    dark_current: float = 10.0
    read_noise: float = 5.0
    full_well: float = 60_000.0
    unevenness: float = 0.02
    ring_pixels: float = 0.01
    ring_strength: float = 0.1
    bit_depth: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.shape) != 2 or min(self.shape) < 1:
            raise ParameterError(
                f"shape: {self.shape} was given; give (height, width) in px, 1 or more."
            )
        check_positive(
            finite=True,
            pixel_size_mm=self.pixel_size_mm,
            gain=self.gain,
            full_well=self.full_well,
        )
        check_not_negative(
            dark_current=self.dark_current,
            read_noise=self.read_noise,
            unevenness=self.unevenness,
            ring_pixels=self.ring_pixels,
            ring_strength=self.ring_strength,
        )
        if not 1 <= self.bit_depth <= 16:
            raise ParameterError(f"bit_depth: {self.bit_depth} was given; give 1 to 16 bits.")

    @property
    def field_mm(self) -> tuple[float, float]:
        """Height and width of the field of view, in mm."""
        return self.shape[0] * self.pixel_size_mm, self.shape[1] * self.pixel_size_mm

    @property
    def maximum(self) -> int:
        """Largest count that a frame can hold."""
        return int(2**self.bit_depth) - 1

    def even(self) -> "Detector":
        """Return the same detector with pixels that are all alike: no rings."""
        return replace(self, unevenness=0.0, ring_pixels=0.0, ring_strength=0.0)

    def sensitivity(self) -> NDArray[np.float64]:
        """Return the sensitivity of each pixel (height, width), 1 on average."""
        rng = np.random.default_rng((self.seed, 2))
        return np.clip(1 + self.unevenness * rng.standard_normal(self.shape), 0.05, None)

    def curvature(self) -> NDArray[np.float64]:
        """Return the part of its signal that each pixel (height, width) misses at full well."""
        rng = np.random.default_rng((self.seed, 3))
        bent = rng.random(self.shape) < self.ring_pixels
        return np.clip(bent * self.ring_strength * rng.standard_normal(self.shape), -0.9, 0.9)

    def dark(self) -> NDArray[np.float64]:
        """Return the dark current of each pixel (height, width), in electrons per s."""
        rng = np.random.default_rng((self.seed, 4))
        spread = 10 * self.unevenness
        return self.dark_current * rng.lognormal(-(spread**2) / 2, spread, self.shape)
