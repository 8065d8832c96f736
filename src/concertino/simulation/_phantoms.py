"""Ready-made phantoms."""

import math

import numpy as np
from numpy.typing import NDArray

from concertino import ParameterError

from ._phantom import Ellipsoid, Phantom

# attenuation, semi-axes x y z, centre x y z, turn about z in degrees; the head fits in radius 1
_SHEPP_LOGAN = (
    (1.0, (0.6900, 0.9200, 0.810), (0.00, 0.0000, 0.00), 0),
    (-0.8, (0.6624, 0.8740, 0.780), (0.00, -0.0184, 0.00), 0),
    (-0.2, (0.1100, 0.3100, 0.220), (0.22, 0.0000, 0.00), -18),
    (-0.2, (0.1600, 0.4100, 0.280), (-0.22, 0.0000, 0.00), 18),
    (0.1, (0.2100, 0.2500, 0.410), (0.00, 0.3500, -0.15), 0),
    (0.1, (0.0460, 0.0460, 0.050), (0.00, 0.1000, 0.25), 0),
    (0.1, (0.0460, 0.0460, 0.050), (0.00, -0.1000, 0.25), 0),
    (0.1, (0.0460, 0.0230, 0.050), (-0.08, -0.6050, 0.00), 0),
    (0.1, (0.0230, 0.0230, 0.020), (0.00, -0.6060, 0.00), 0),
    (0.1, (0.0230, 0.0460, 0.020), (0.06, -0.6050, 0.00), 0),
)

_GRAINS = 0.1  # of a foam's inclusions; the others are voids
_DENSE_PER_MM = 10.0  # attenuation of what an axis is aligned with


def shepp_logan_3d(radius_mm: float = 1.0, attenuation_per_mm: float = 2.0) -> Phantom:
    """Return the three-dimensional Shepp-Logan head with raised contrast.

    Parameters
    ----------
    radius_mm : float
        Radius, in mm, of the cylinder about the rotation axis in which the head fits
        (it reaches 0.92 of it).
    attenuation_per_mm : float
        Attenuation of the skull, in 1/mm; the brain has a fifth of it.

    References
    ----------
    L. A. Shepp, B. F. Logan, "The Fourier reconstruction of a head section",
    IEEE Trans. Nucl. Sci. 21 (1974) 21-43, doi:10.1109/TNS.1974.6499235.
    """
    if radius_mm <= 0:
        raise ParameterError(f"radius_mm: {radius_mm} was given; give a length in mm, more than 0.")
    head = Phantom(
        tuple(
            Ellipsoid(centre, axes, value, rotation_rad=math.radians(turn))
            for value, axes, centre, turn in _SHEPP_LOGAN
        )
    )
    return head.scaled(radius_mm, attenuation_per_mm)


def ellipsoid_foam(
    seed: int = 0,
    number: int = 100,
    *,
    radius_mm: float = 1.0,
    height_mm: float = 2.0,
    attenuation_per_mm: float = 1.0,
) -> Phantom:
    """Return a solid ellipsoid with voids and dense grains in it that don't touch one another.

    Parameters
    ----------
    seed : int
        The same seed gives the same foam.
    number : int
        How many voids and grains to place.
    radius_mm, height_mm : float
        Radius and full height of the body, in mm.
    attenuation_per_mm : float
        Attenuation of the body, in 1/mm; voids have none, grains, a tenth of the
        inclusions, three times as much.

    Raises
    ------
    ParameterError
        A length is not positive or the number is negative.
    """
    if radius_mm <= 0 or height_mm <= 0 or number < 0:
        raise ParameterError(
            f"A foam was asked for with radius_mm {radius_mm}, height_mm {height_mm} and number "
            f"{number}; give lengths of more than 0, and a number of 0 or more."
        )
    rng = np.random.default_rng(seed)
    body = np.array([radius_mm, radius_mm, height_mm / 2])
    parts = [Ellipsoid((0.0, 0.0, 0.0), (body[0], body[1], body[2]), attenuation_per_mm)]
    # a fifth of the volume as spheres; large ones first, or the small ones leave no room for them
    typical = float((0.2 * np.prod(body) / max(number, 1)) ** (1 / 3))
    radii = np.sort(typical * rng.lognormal(0.0, 0.35, number))[::-1]
    radii = np.minimum(radii, 0.3 * body.min())
    placed = np.empty((0, 4))
    for wanted in radii:
        centre, radius = _free_place(rng, body, placed, float(wanted))
        placed = np.vstack([placed, [*centre, radius]])
        axes = radius * rng.uniform(0.55, 1.0, 3)
        grain = rng.random() < _GRAINS
        turn, tilt, spin = rng.uniform(0.0, math.pi, 3)
        parts.append(
            Ellipsoid(
                (float(centre[0]), float(centre[1]), float(centre[2])),
                (float(axes[0]), float(axes[1]), float(axes[2])),
                attenuation_per_mm * (2.0 if grain else -1.0),
                float(turn),
                float(tilt),
                float(spin),
            )
        )
    return Phantom(tuple(parts))


def sphere(
    radius_mm: float = 0.05,
    *,
    distance_mm: float = 0.4,
    height_mm: float = 0.0,
) -> Phantom:
    """Return a ball beside the rotation axis, as it is used to align the axis; it attenuates by 10/mm.

    Parameters
    ----------
    radius_mm : float
        Radius of the ball, in mm.
    distance_mm, height_mm : float
        Distance of its centre from the axis, and height over the middle of the beam, in mm.

    Raises
    ------
    ParameterError
        The radius is not positive, or a number is not finite.
    """
    axes = (radius_mm, radius_mm, radius_mm)
    return Phantom((Ellipsoid((distance_mm, 0.0, height_mm), axes, _DENSE_PER_MM),))


def needle(
    length_mm: float = 1.0,
    *,
    radius_mm: float = 0.05,
    distance_mm: float = 0.4,
    tip_height_mm: float = 0.0,
) -> Phantom:
    """Return a slim ellipsoid beside the rotation axis that points up, as a needle does; it attenuates by 10/mm.

    Its tip may be smaller than a pixel: a twin with ``supersampling=4`` sees it as a camera does, one without
    only where the middle of a pixel is on it.

    Parameters
    ----------
    length_mm, radius_mm : float
        Its length and its radius where it is thickest, in mm.
    distance_mm, tip_height_mm : float
        Distance from the axis, and height of the tip over the middle of the beam, in mm.

    Raises
    ------
    ParameterError
        A length is not positive, or a number is not finite.
    """
    centre = (distance_mm, 0.0, tip_height_mm - length_mm / 2)
    axes = (radius_mm, radius_mm, length_mm / 2)
    return Phantom((Ellipsoid(centre, axes, _DENSE_PER_MM),))


def _free_place(
    rng: np.random.Generator,
    body: NDArray[np.float64],
    placed: NDArray[np.float64],
    radius: float,
) -> tuple[NDArray[np.float64], float]:
    """Find a centre for a sphere that touches none of those placed; shrink it until it fits."""
    while True:
        for _ in range(100):
            centre = rng.uniform(-1.0, 1.0, 3) * body
            inside = np.sum((centre / (body - 1.05 * radius)) ** 2) <= 1
            gaps = np.linalg.norm(placed[:, :3] - centre, axis=1) - placed[:, 3]
            if inside and bool(np.all(gaps > 1.05 * radius)):
                return centre, radius
        radius *= 0.9
