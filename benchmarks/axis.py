"""Error and confidence of the rotation axis in situations that scans have, beside algotom's.

The sinograms are chords through discs, with Poisson noise. The peer is `find_center_vo` of algotom for half a
turn and `find_center_360` for a turn; without algotom (``pip install algotom``) its columns are empty.

    python benchmarks/axis.py > table.md
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino.reconstruction import find_axis

WIDTH, VIEWS = 256, 400
Array = NDArray[Any]


def foam(angles: Array, center: float, radius: float, seed: int, bubbles: int = 200) -> Array:
    """Chords through a disc with bubbles, (angle, column); 1 through its middle."""
    random = np.random.default_rng(seed)
    columns = np.arange(WIDTH)[None] - center
    total = np.zeros((len(angles), WIDTH))
    discs = [(0.0, 0.0, radius, 1.0)]
    for _ in range(bubbles):
        x, y = random.uniform(-0.7, 0.7, 2) * radius
        discs.append((x, y, random.uniform(2, 7), random.choice([-1.0, 1.0])))
    for x, y, size, sign in discs:
        apart = columns - (x * np.cos(angles) + y * np.sin(angles))[:, None]
        total += sign * np.sqrt(np.maximum(size**2 - apart**2, 0)) / radius
    return total


def counted(lines: Array, noise: float, seed: int) -> Array:
    """Attenuation from Poisson counts of which the open beam has this relative noise."""
    counts = np.random.default_rng(seed).poisson(np.exp(-lines) / noise**2) * noise**2
    return -np.log(np.maximum(counts, 1e-3))


@dataclass(frozen=True)
class Situation:
    """A scan whose axis is known."""

    name: str
    center: float = 118.4
    radius: float = 90.0
    turns: float = 0.5
    views: int = VIEWS
    noise: float = 0.01
    stripes: float = 0.0
    drift: float = 0.0
    bubbles: int = 200
    empty: bool = False
    angles: Callable[[int, float], Array] = field(
        default=lambda number, turns: np.arange(number) * 2 * np.pi * turns / number
    )

    def sinogram(self, seed: int) -> tuple[Array, Array]:
        """Return attenuation (angle, column) and angles in rad."""
        angles = self.angles(self.views, self.turns)
        lines = foam(angles, self.center, self.radius, seed, self.bubbles)
        lines = lines * (not self.empty) + np.linspace(0, self.drift, len(angles))[:, None]
        stripes = np.random.default_rng(seed + 100).normal(0, self.stripes, WIDTH)
        return (counted(lines, self.noise, seed) + stripes).astype(np.float32), angles


def _golden(number: int, turns: float) -> Array:
    return np.sort(np.fmod(np.arange(number) * (np.sqrt(5) - 1) / 2, 1)) * 2 * np.pi * turns


half, full = partial(Situation), partial(Situation, turns=1.0, views=2 * VIEWS)

SITUATIONS = [
    half("half turn"),
    half("half turn, noise 5 %", noise=0.05),
    half("half turn, noise 10 %", noise=0.1),
    half("half turn, off centre", center=101.3),
    half("half turn, far off centre", center=75.3, radius=70),
    half("half turn, 100 views", views=100),
    half("half turn, 30 views", views=30),
    half("half turn, 16 views", views=16),
    half("half turn, golden angles", angles=_golden),
    half("half turn, beam drifts by 10 %", drift=0.1),
    half("half turn, stripes of 2 %", stripes=0.02),
    half("half turn, stripes of 5 %", stripes=0.05),
    half("half turn, stripes of 10 %", stripes=0.1),
    half("half turn, rod", bubbles=0, center=120.3),
    half("half turn, empty", empty=True),
    half("half turn, sample 1.1 of the view", center=118.0, radius=130),
    half("half turn, sample 1.4 of the view", center=118.0, radius=160),
    half("half turn, sample 1.4, off centre", center=101.3, radius=140),
    half("half turn, sample 2.2, off centre", center=101.3, radius=220),
    half("half turn, sample 1.4, noise 3 %", center=118.0, radius=160, noise=0.03),
    half("half turn, sample 1.4, 100 views", center=118.0, radius=160, views=100),
    full("turn"),
    full("turn, noise 5 %", noise=0.05),
    full("turn, noise 10 %", noise=0.1),
    full("turn, stripes of 5 %", stripes=0.05),
    full("turn, stripes of 30 %", stripes=0.3),
    full("turn, sample 2.2 of the view", radius=220),
    full("turn, rod", bubbles=0, center=120.3),
    full("turn, empty", empty=True),
    full("turn, empty, stripes of 5 %", empty=True, stripes=0.05),
    full("half acquisition", center=25.0, radius=220),
    full("half acquisition, stripes of 5 %", center=25.0, radius=220, stripes=0.05),
    full("half acquisition, noise 3 %", center=25.0, radius=220, noise=0.03),
    full("half acquisition, 5 px beyond the axis", center=5.0, radius=220, noise=0.005),
    full("half acquisition, other side", center=245.5, radius=220),
]


def peers_error(situation: Situation, lines: Array) -> float | None:
    """Return how far algotom's answer is off, in px; None without algotom."""
    try:
        import algotom.prep.calculation as peer
    except ImportError:
        return None
    try:
        if situation.turns == 0.5:
            return float(peer.find_center_vo(lines, 60, 196)) - situation.center
        return float(peer.find_center_360(lines, 10)[0]) - situation.center
    except Exception:
        return float("nan")


def main() -> int:
    """Print the table; exit with 1 if a wrong axis has a confidence above 0.5."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="samples of each situation")
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args()
    print("| situation | largest error (px) | confidence | algotom's largest error (px) |")
    print("| --- | ---: | ---: | ---: |")
    wrong = 0
    for situation in SITUATIONS:
        errors, trust, other = [], [], []
        for seed in range(options.seeds):
            lines, angles = situation.sinogram(seed)
            found = find_axis(lines[:, None], angles)
            errors.append(abs(found.center_px - situation.center))
            trust.append(found.confidence)
            wrong += errors[-1] > 0.5 and found.confidence > 0.5
            if not options.no_peer:
                other.append(peers_error(situation, lines))
        peer = "" if not other or None in other else f"{np.max(np.abs(np.array(other, float))):.2f}"
        least, most = min(trust), max(trust)
        said = f"{least:.2f}" if most - least < 0.005 else f"{least:.2f} to {most:.2f}"
        shown = f"{max(errors):.2f}" if not situation.empty else "nothing to find"
        print(f"| {situation.name} | {shown} | {said} | {peer if not situation.empty else ''} |")
    print(f"\nErrors above 0.5 px with a confidence above 0.5: {wrong}")
    return min(wrong, 1)


if __name__ == "__main__":
    raise SystemExit(main())
