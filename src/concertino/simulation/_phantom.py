"""A sample whose projections and slices are known exactly."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from concertino import ParameterError


@dataclass(frozen=True)
class Ellipsoid:
    """One ellipsoid of constant attenuation; where ellipsoids overlap, attenuations add up.

    Parameters
    ----------
    centre_mm : (float, float, float)
        x, y, z of the centre in mm; z is the rotation axis, pointing up.
    semi_axes_mm : (float, float, float)
        Semi-axes along x, y, z before the ellipsoid is turned, in mm.
    attenuation_per_mm : float
        Linear attenuation coefficient in 1/mm; negative for a void in a denser ellipsoid.
    rotation_rad : float
        Turn about z, counter-clockwise seen from above, in rad.
    tilt_rad, spin_rad : float
        For a full orientation: a tilt about the ellipsoid's own x axis and a spin about its own z
        axis, applied before the turn (Euler angles z-x'-z''), in rad.

    Raises
    ------
    ParameterError
        A semi-axis is not positive, or a number is not finite.
    """

    centre_mm: tuple[float, float, float]
    semi_axes_mm: tuple[float, float, float]
    attenuation_per_mm: float
    rotation_rad: float = 0.0
    tilt_rad: float = 0.0
    spin_rad: float = 0.0

    def __post_init__(self) -> None:
        numbers = (
            *self.centre_mm, *self.semi_axes_mm, self.attenuation_per_mm,
            self.rotation_rad, self.tilt_rad, self.spin_rad,
        )  # fmt: skip
        if not all(math.isfinite(number) for number in numbers):
            raise ParameterError(f"An ellipsoid was made of {self!r}; give finite numbers only.")
        if min(self.semi_axes_mm) <= 0:
            raise ParameterError(
                f"semi_axes_mm: {self.semi_axes_mm} were given; give lengths in mm, more than 0."
            )

    def matrix(self) -> NDArray[np.float64]:
        """Return the quadratic form (3, 3) in 1/mm²: inside is ``p @ matrix @ p <= 1``."""
        c, s = math.cos(self.rotation_rad), math.sin(self.rotation_rad)
        ct, st = math.cos(self.tilt_rad), math.sin(self.tilt_rad)
        cs, ss = math.cos(self.spin_rad), math.sin(self.spin_rad)
        turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        tilt = np.array([[1.0, 0.0, 0.0], [0.0, ct, -st], [0.0, st, ct]])
        spin = np.array([[cs, -ss, 0.0], [ss, cs, 0.0], [0.0, 0.0, 1.0]])
        axes = turn @ tilt @ spin
        form: NDArray[np.float64] = axes @ np.diag(np.asarray(self.semi_axes_mm) ** -2.0) @ axes.T
        return form


@dataclass(frozen=True)
class Phantom:
    """A sample made of ellipsoids.

    Line integrals are analytic in parallel light. At the angle θ a point (x, y, z) falls on
    ``t = x cos θ + y sin θ``; with W columns, H rows and the pixel size p, it is seen at column
    ``(W-1)/2 + t/p`` and row ``(H-1)/2 - z/p`` of a detector that is centred on the axis.

    Parameters
    ----------
    ellipsoids : tuple of Ellipsoid
        May be empty: no sample.

    Examples
    --------
    >>> from concertino.simulation import Ellipsoid, Phantom
    >>> ball = Phantom((Ellipsoid((0, 0, 0), (0.5, 0.5, 0.5), 2.0),))
    >>> float(ball.projection(0.3, (1, 3), pixel_size_mm=0.5)[0, 1])  # 1 mm through 2 per mm
    2.0
    """

    ellipsoids: tuple[Ellipsoid, ...]

    @cached_property
    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Centres (m, 3) in mm, quadratic forms (m, 3, 3) in 1/mm² and attenuations (m,) per mm."""
        count = len(self.ellipsoids)
        centres = np.array([e.centre_mm for e in self.ellipsoids], float).reshape(count, 3)
        matrices = np.array([e.matrix() for e in self.ellipsoids], float).reshape(count, 3, 3)
        attenuations = np.array([e.attenuation_per_mm for e in self.ellipsoids], float)
        return centres, matrices, attenuations

    @cached_property
    def radius_mm(self) -> float:
        """Largest distance from the rotation axis that the sample may reach, in mm."""
        return max(
            (math.hypot(*e.centre_mm[:2]) + max(e.semi_axes_mm) for e in self.ellipsoids),
            default=0.0,
        )

    def scaled(self, size: float = 1.0, attenuation: float = 1.0) -> "Phantom":
        """Return this phantom with lengths and attenuations multiplied by two factors."""
        return Phantom(
            tuple(
                replace(
                    e,
                    centre_mm=_times(e.centre_mm, size),
                    semi_axes_mm=_times(e.semi_axes_mm, size),
                    attenuation_per_mm=e.attenuation_per_mm * attenuation,
                )
                for e in self.ellipsoids
            )
        )

    def shadows(
        self,
        poses: NDArray[np.float64],
        pixel_size_mm: float,
        axis_tilt_rad: tuple[float, float] = (0.0, 0.0),
    ) -> NDArray[np.float64]:
        """Return the shadows (pose, ellipsoid, 7) that the compiled loops take.

        ``poses`` (pose, 3): angle in rad, column and row of the rotation axis's origin.
        """
        from ._kernels import SHADOW_FIELDS, cast_shadows

        out = np.empty((len(poses), len(self.ellipsoids), len(SHADOW_FIELDS)))
        roll, pitch = axis_tilt_rad
        cast_shadows(*self.arrays, poses, roll, pitch, pixel_size_mm, out)
        return out

    def projection(
        self,
        angle_rad: float,
        shape: tuple[int, int],
        pixel_size_mm: float,
        *,
        axis_offset_px: float = 0.0,
        axis_tilt_rad: tuple[float, float] = (0.0, 0.0),
        sample_offset_px: tuple[float, float] = (0.0, 0.0),
        supersampling: int = 1,
    ) -> NDArray[np.float32]:
        """Return the line integrals of the attenuation that a detector sees.

        Parameters
        ----------
        angle_rad : float
            Angle of the rotation stage, in rad.
        shape : (int, int)
            Height and width of the detector, in px.
        pixel_size_mm : float
            Pixel size in the sample's plane, in mm.
        axis_offset_px : float
            Columns by which the rotation axis is right of the detector's centre, in px.
        axis_tilt_rad : (float, float)
            Roll (in the detector's plane; positive tips the top of the axis to the right) and pitch
            (along the beam) of the rotation axis, in rad.
        sample_offset_px : (float, float)
            Shift of sample and axis to the right and up, in px.
        supersampling : int
            Points per pixel in each direction that are averaged.

        Returns
        -------
        NDArray, shape `shape`, float32
            Dimensionless line integrals (1/mm times mm).
        """
        from ._kernels import project

        out = np.empty(_checked_shape(shape), np.float32)
        grid = subpixels(supersampling)
        poses = np.empty((len(grid), 3))
        poses[:, 0] = angle_rad
        poses[:, 1] = (shape[1] - 1) / 2 + axis_offset_px + sample_offset_px[0] + grid[:, 0]
        poses[:, 2] = (shape[0] - 1) / 2 - sample_offset_px[1] + grid[:, 1]
        project(self.shadows(poses, pixel_size_mm, axis_tilt_rad), out)
        return out

    def slice(
        self,
        row: float,
        shape: tuple[int, int],
        pixel_size_mm: float,
        *,
        supersampling: int = 4,
    ) -> NDArray[np.float32]:
        """Return the slice that a perfect reconstruction of one detector row gives.

        Image pixel (i, j) of a slice N pixels wide lies at ``x = j - (N-1)/2``,
        ``y = (N-1)/2 - i`` pixels from the rotation axis: y points up.

        Parameters
        ----------
        row : float
            Detector row (of an axis without tilt).
        shape : (int, int)
            Height and width of the detector, in px.
        pixel_size_mm : float
            Pixel size, in mm.
        supersampling : int
            Lines per pixel that are averaged; along x the average is exact.

        Returns
        -------
        NDArray, shape (width, width), float32
            Linear attenuation per pixel, that is, per mm times the pixel size.
        """
        from ._kernels import fill_slice

        height, width = _checked_shape(shape)
        out = np.empty((width, width))
        z = ((height - 1) / 2 - row) * pixel_size_mm
        fill_slice(*self.arrays, z, pixel_size_mm, supersampling, out)
        return (out * pixel_size_mm).astype(np.float32)


def subpixels(supersampling: int) -> NDArray[np.float64]:
    """Return the offsets (n², 2) in px, from a pixel's centre, of the points averaged in it."""
    if supersampling < 1:
        raise ParameterError(f"supersampling: {supersampling} was given; give 1 or more points.")
    steps = (np.arange(supersampling) + 0.5) / supersampling - 0.5
    return np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)


def _checked_shape(shape: tuple[int, int]) -> tuple[int, int]:
    if len(shape) != 2 or min(shape) < 1:
        raise ParameterError(f"shape: {shape} was given; give (height, width) in px, 1 or more.")
    return shape


def _times(values: tuple[float, float, float], factor: float) -> tuple[float, float, float]:
    return values[0] * factor, values[1] * factor, values[2] * factor
