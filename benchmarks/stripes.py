"""Gain and cost of removing stripes: what is left of the rings, and what is taken of a clean sample.

Everything is measured on slices, from chords through discs: a foam off centre, which turns through the columns; and, in
the middle of the rotation, a disc, a pipe with a wall of 6 px and a core of 4 px radius, whose projections never change. To each method these are
rings. Gain is the ring's rms that is left of random stripes of 2 % of the sample's strongest attenuation, one column
in four being struck; cost is how much the mean changes of what is measured when there are no stripes.

    python benchmarks/stripes.py > table.md
"""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from concertino.reconstruction import ReconstructionSettings, reconstruct

Array = NDArray[Any]
Disc = tuple[float, float, float, float]
WALL_PX, CORE_PX = 6, 4  # thickness of a pipe's wall, radius of a core
Method = Literal["normalisation", "fourier-wavelet", "sorting"]


def lines(width: int, angles: Array, discs: list[Disc]) -> Array:
    """Chords (angle, row, column) through discs (x, y, radius, value), averaged over pixels."""
    total = np.zeros((len(angles), width))
    for part in (np.arange(8) + 0.5) / 8 - 0.5:
        columns = np.arange(width)[None] - (width - 1) / 2 + part
        for x, y, radius, value in discs:
            apart = columns - (x * np.cos(angles) + y * np.sin(angles))[:, None]
            total += 2 * value * np.sqrt(np.maximum(radius**2 - apart**2, 0)) / 8
    return total.astype(np.float32)[:, None]


def away(width: int, x: float = 0.0, y: float = 0.0) -> Array:
    """Distance in px of each pixel of a slice from a point."""
    place = np.arange(width) - (width - 1) / 2
    right, up = np.meshgrid(place, -place)
    return np.asarray(np.hypot(right - x, up - y))


def foam(width: int) -> tuple[list[Disc], Array]:
    """A disc with bubbles beside the axis, and where it is."""
    random, unit = np.random.default_rng(5), width / 256
    x, y, radius = 40 * unit, 20 * unit, 70 * unit
    discs = [(x, y, radius, 0.02 / unit)]
    for _ in range(60):
        along, up = random.uniform(-0.6, 0.6, 2) * radius
        discs.append((x + along, y + up, random.uniform(3, 8) * unit, -0.01 / unit))
    return discs, away(width, x, y) < radius - 2


class Case:
    """Slices of one width, one method after the other."""

    def __init__(self, width: int, size: int) -> None:
        self.width, self.size, self.unit = width, size, width / 256
        self.angles = np.arange(round(1.5 * width)) * np.pi / round(1.5 * width)
        self.settings = ReconstructionSettings(center=(width - 1) / 2, stripe_width=size)

    def slice_of(self, projections: Array, method: Method | None) -> Array:
        """Reconstruct, with stripes removed by this method."""
        settings = self.settings.updated(stripe_removal=method or "none")
        return reconstruct(projections, self.angles, settings=settings)[0]

    def cost(self, method: Method, discs: list[Disc], where: Array) -> float:
        """Return by what share the mean of a clean sample changes."""
        clean = lines(self.width, self.angles, discs)
        plain = self.slice_of(clean, None)[where].mean()
        return float(self.slice_of(clean, method)[where].mean() / plain - 1)

    def rings_left(self, method: Method) -> float:
        """Return the share of rms that is left of rings in a foam, its own change included."""
        discs, inside = foam(self.width)
        clean = lines(self.width, self.angles, discs)
        random = np.random.default_rng(1)
        struck = random.random(self.width) < 0.25
        stripes = np.where(struck, random.normal(0, 0.02 * clean.max(), self.width), 0)
        spoilt = clean + stripes.astype(np.float32)
        truth = self.slice_of(clean, None)
        before = self.slice_of(spoilt, None) - truth
        after = self.slice_of(spoilt, method) - truth
        return float(after[inside].std() / before[inside].std())

    def row(self, method: Method) -> str:
        """Return the table's line."""
        value, middle, radius = 0.02 / self.unit, away(self.width), 70 * self.unit
        disc = [(0.0, 0.0, radius, value)]
        pipe = [*disc, (0.0, 0.0, radius - WALL_PX, -value)]
        core = [(0.0, 0.0, CORE_PX, value)]
        edge = (middle < radius - 2) & (middle > radius - 7)
        wall = (middle < radius - 1.5) & (middle > radius - WALL_PX + 1.5)
        numbers = [
            self.rings_left(method),
            self.cost(method, *foam(self.width)),
            self.cost(method, disc, middle < radius - 2),
            self.cost(method, disc, edge),
            self.cost(method, pipe, wall),
            self.cost(method, core, middle < CORE_PX - 1.5),
        ]
        shown = " | ".join(f"{100 * number:.1f} %" for number in numbers)
        return f"| {method} | {self.width} | {self.size} | {shown} |"


def main() -> None:
    """Print the table."""
    print(
        "| method | columns | width | rings left | foam | disc | disc's edge | pipe's wall | core |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for width, size in ((128, 21), (256, 21), (512, 21), (256, 9), (256, 5)):
        case = Case(width, size)
        for method in get_args(Method):
            print(case.row(method), flush=True)


if __name__ == "__main__":
    main()
