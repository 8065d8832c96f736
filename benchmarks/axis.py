"""Error and confidence of the rotation axis in situations that scans have, beside algotom's.

The sinograms are chords through discs (of balls, where the axis is tilted), with Poisson noise. The peer is
`find_center_vo` of algotom, given half a turn, as its documentation does also for a turn whose axis is near the middle. It
does not apply to half acquisition: there it is `find_center_360`, which is given a window of half the overlap, and the end of the turn.
Of a tilted axis the peer is a straight line through what `find_center_vo` finds in 9 rows.

Without algotom its column is empty. It is no part of this project's environment:

    pip install --target DIRECTORY --no-deps algotom pywavelets joblib tqdm
    PYTHONPATH=DIRECTORY python benchmarks/axis.py > table.md
"""

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino.reconstruction import find_axis

WIDTH, VIEWS, ROWS = 256, 400, 48
SEARCHED = (
    60,
    196,
)  # columns, for algotom; its default of 112 to 144 would miss the axes off centre
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


def rolled_foam(angles: Array, center: float, radius: float, roll: float, seed: int) -> Array:
    """Chords through a cylinder's worth of balls whose axis leans to the right, (angle, row, column)."""
    random = np.random.default_rng(seed)
    u = np.arange(WIDTH) - center
    v = ((ROWS - 1) / 2 - np.arange(ROWS))[:, None]
    total = np.zeros((len(angles), ROWS, WIDTH))
    for _ in range(150):
        away, turn = radius * np.sqrt(random.uniform(0, 0.9)), random.uniform(0, 2 * np.pi)
        height, size = random.uniform(-0.7, 0.7) * ROWS, random.uniform(3, 12)
        across = away * np.cos(angles - turn)
        right = across * np.cos(roll) + height * np.sin(roll)
        up = height * np.cos(roll) - across * np.sin(roll)
        for view, x, z in zip(total, right, up, strict=True):
            view += np.sqrt(np.maximum(size**2 - (u - x) ** 2 - (v - z) ** 2, 0)) / radius
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
    half_acquisition: bool = False
    roll_deg: float | None = None
    angles: Callable[[int, float], Array] = field(
        default=lambda number, turns: np.arange(number) * 2 * np.pi * turns / number
    )

    def projections(self, seed: int) -> tuple[Array, Array]:
        """Return attenuation (angle, row, column) and angles in rad."""
        angles = self.angles(self.views, self.turns)
        if self.roll_deg is None:
            lines = foam(angles, self.center, self.radius, seed, self.bubbles)[:, None]
        else:
            lines = rolled_foam(
                angles, self.center, self.radius, float(np.deg2rad(self.roll_deg)), seed
            )
        lines = lines * (not self.empty) + np.linspace(0, self.drift, len(angles))[:, None, None]
        stripes = np.random.default_rng(seed + 100).normal(0, self.stripes, lines.shape[1:])
        return (counted(lines, self.noise, seed) + stripes).astype(np.float32), angles


def _golden(number: int, turns: float) -> Array:
    return np.sort(np.fmod(np.arange(number) * (np.sqrt(5) - 1) / 2, 1)) * 2 * np.pi * turns


def _ends_early(number: int, turns: float) -> Array:
    return np.linspace(0, 2 * np.pi * turns - np.deg2rad(10), number)


half, full = partial(Situation), partial(Situation, turns=1.0, views=2 * VIEWS)
beside = partial(full, radius=220, half_acquisition=True)

SITUATIONS = [
    half("half turn"),
    half("half turn, noise 5 %", noise=0.05),
    half("half turn, noise 10 %", noise=0.1),
    half("half turn, off centre", center=101.3),
    half("half turn, far off centre", center=75.3, radius=70),
    half("half turn, 100 views", views=100),
    half("half turn, 30 views", views=30),
    half("half turn, 16 views", views=16),
    half("half turn that ends 10° early, 60 views", views=60, angles=_ends_early),
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
    beside("half acquisition", center=25.0),
    beside("half acquisition, stripes of 5 %", center=25.0, stripes=0.05),
    beside("half acquisition, noise 3 %", center=25.0, noise=0.03),
    beside("half acquisition, 5 px beyond the axis", center=5.0, noise=0.005),
    beside("half acquisition, other side", center=245.5),
    half("half turn, rolled by 0.3°", roll_deg=0.3, views=200),
    half("half turn, rolled by -1°, noise 5 %", roll_deg=-1.0, views=200, noise=0.05),
    half("half turn, rolled by 0.5°, off centre", roll_deg=0.5, views=200, center=101.3),
    full("turn, rolled by 0.3°", roll_deg=0.3),
    full("turn, rolled by -1°, noise 5 %", roll_deg=-1.0, noise=0.05),
]


def peers_axis(situation: Situation, lines: Array) -> tuple[float, float] | None:
    """Return algotom's column in the middle row and its roll in degrees; None without algotom."""
    try:
        import algotom.prep.calculation as peer
    except ImportError:
        return None
    if situation.half_acquisition:
        overlap = 2 * min(situation.center, WIDTH - 1 - situation.center) + 1
        closed = np.concatenate([lines[:, 0], lines[:1, 0]])
        return float(peer.find_center_360(closed, max(4, int(overlap / 2)))[0]), 0.0
    half_turn = lines[: VIEWS if situation.turns == 1 else None]
    rows = np.linspace(0, lines.shape[1] - 1, min(9, lines.shape[1])).astype(int)
    found = [float(peer.find_center_vo(half_turn[:, row], *SEARCHED)) for row in rows]
    if len(rows) == 1:
        return found[0], 0.0
    slope, column = np.polyfit((ROWS - 1) / 2 - rows, found, 1)
    return float(column), float(np.rad2deg(np.arctan(slope)))


@dataclass
class Line:
    """What was found in the samples of a situation."""

    situation: Situation
    errors: list[float] = field(default_factory=list)
    roll_errors: list[float] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    peers: list[float] = field(default_factory=list)
    peers_roll: list[float] = field(default_factory=list)

    def measure(self, seed: int, with_peer: bool) -> None:
        """Find the axis of one sample."""
        situation = self.situation
        lines, angles = situation.projections(seed)
        roll = situation.roll_deg
        found = find_axis(lines, angles, tilt=roll is not None)
        self.errors.append(abs(found.center_px - situation.center))
        self.roll_errors.append(abs(float(np.rad2deg(found.tilt_rad)) - (roll or 0.0)))
        self.confidences.append(found.confidence)
        peer = peers_axis(situation, lines) if with_peer and not situation.empty else None
        if peer is not None:
            self.peers.append(abs(peer[0] - situation.center))
            self.peers_roll.append(abs(peer[1] - (roll or 0.0)))

    @property
    def wrong(self) -> int:
        """Axes that are wrong and were told with confidence."""
        pairs = zip(self.errors, self.confidences, strict=True)
        return sum(error > 0.5 and confidence > 0.5 for error, confidence in pairs)

    def __str__(self) -> str:
        least, most = min(self.confidences), max(self.confidences)
        said = f"{least:.2f}" if f"{least:.2f}" == f"{most:.2f}" else f"{least:.2f} to {most:.2f}"
        shown = (
            "nothing to find"
            if self.situation.empty
            else self._largest(self.errors, self.roll_errors)
        )
        peer = self._largest(self.peers, self.peers_roll) if self.peers else ""
        return f"| {self.situation.name} | {shown} | {said} | {peer} |"

    def _largest(self, errors: list[float], rolls: list[float]) -> str:
        roll = "" if self.situation.roll_deg is None else f"; {max(rolls):.2f}°"
        return f"{max(errors):.2f}{roll}"


def main() -> int:
    """Print the table; exit with 1 if a wrong axis has a confidence above 0.5."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="samples of each situation")
    parser.add_argument(
        "--peer-seeds", type=int, default=1, help="those that algotom gets, which is slow"
    )
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="algotom")  # that it would like to search farther
    print("| situation | largest error (px; roll) | confidence | algotom's largest error |")
    print("| --- | ---: | ---: | ---: |")
    wrong = 0
    for situation in SITUATIONS:
        line = Line(situation)
        for seed in range(options.seeds):
            line.measure(seed, seed < options.peer_seeds)
        wrong += line.wrong
        print(line, flush=True)
    print(
        f"\nSituations: {len(SITUATIONS)}. Errors above 0.5 px with a confidence above 0.5: {wrong}"
    )
    return min(wrong, 1)


if __name__ == "__main__":
    raise SystemExit(main())
