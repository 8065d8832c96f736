"""Draw what the faults of numbers did to slices: one picture each, to be looked at.

Every picture has a slice of an analytic phantom, the profile through its row with the truth, and says what was measured.
Run with the code of today and, from a worktree, with that of another day:

    python benchmarks/faults_of_numbers.py [DIRECTORY]
    PYTHONPATH=WORKTREE/src python benchmarks/faults_of_numbers.py OTHER_DIRECTORY
"""

import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

from concertino.reconstruction import ReconstructionSettings, find_axis, reconstruct

matplotlib.use("Agg")
from matplotlib import pyplot

Array = NDArray[Any]
Disc = tuple[float, float, float, float]
SIZE = 160
DISCS = [(0.0, 0.0, 60.0, 0.01), (25.0, 18.0, 12.0, 0.02), (-28.0, -10.0, 8.0, -0.01)]


def chords(angles: Array, center: float, discs: list[Disc] = DISCS, width: int = SIZE) -> Array:
    """Line integrals (angle, row, column) of discs (x, y, radius, value), averaged over pixels."""
    total = np.zeros((len(angles), width))
    for part in (np.arange(8) + 0.5) / 8 - 0.5:
        columns = np.arange(width)[None] - center + part
        for x, y, radius, value in discs:
            apart = columns - (x * np.cos(angles) + y * np.sin(angles))[:, None]
            total += 2 * value * np.sqrt(np.maximum(radius**2 - apart**2, 0)) / 8
    return total.astype(np.float32)[:, None]


def spheres(
    angles: Array,
    balls: list[tuple[float, float, float, float, float]],
    shape: tuple[int, int],
    source: float | None = None,
    lift: Array | None = None,
) -> Array:
    """Line integrals (angle, row, column) of balls (x, y, z, radius, value), detector at the axis."""
    rows, columns = shape
    u = np.arange(columns) - (columns - 1) / 2
    v = ((rows - 1) / 2 - np.arange(rows))[:, None]
    total = np.zeros((len(angles), rows, columns))
    for index, (image, angle) in enumerate(zip(total, angles, strict=True)):
        for x, y, z, radius, value in balls:
            across = x * np.cos(angle) + y * np.sin(angle)
            along = -x * np.sin(angle) + y * np.cos(angle)
            up = z + (0.0 if lift is None else lift[index])
            if source is None:
                squared = (u - across) ** 2 + (v - up) ** 2
            else:
                towards = across * u + (along + source) * source + up * v
                to_ball = across**2 + (along + source) ** 2 + up**2
                squared = to_ball - towards**2 / (u**2 + v**2 + source**2)
            image += 2 * value * np.sqrt(np.maximum(radius**2 - squared, 0))
    return total.astype(np.float32)


def truth(width: int, discs: list[Disc] = DISCS) -> Array:
    """Return the slice that is right, (y, x)."""
    place = np.arange(width) - (width - 1) / 2
    x, y = np.meshgrid(place, -place)
    return np.asarray(sum(v * (np.hypot(x - a, y - b) < r) for a, b, r, v in discs), float)


def turn(number: int, turns: float = 0.5) -> Array:
    """Equal steps over so many turns."""
    return np.arange(number) * 2 * np.pi * turns / number


Drawn = tuple[list[tuple[str, Array]], Array | None]
CASES: dict[str, Callable[[], Drawn]] = {}


def case(function: Callable[[], Drawn]) -> Callable[[], Drawn]:
    CASES[function.__name__] = function
    return function


def parallel(angles: Array, center: float = 79.5, **settings: Any) -> Array:
    """Reconstruct the three discs."""
    chosen = ReconstructionSettings(center=center, **settings)
    return reconstruct(chords(angles, center), angles, settings=chosen)[0]


@case
def b2_b19_repeated_angles() -> Drawn:
    """2.5 exact turns, and three of 60 angles each."""
    both = [turn(300, 2.5), turn(360, 3.0)]
    return [(f"{t} turns", parallel(a)) for t, a in zip((2.5, 3), both, strict=True)], truth(SIZE)


@case
def b3_half_acquisition_lost_frames() -> Drawn:
    """5 % of the frames of half acquisition lost."""
    angles = np.sort(np.random.default_rng(3).choice(turn(400, 1.0), 380, replace=False))
    settings = ReconstructionSettings(center=20.25, half_acquisition=True)
    made = reconstruct(chords(angles, 20.25), angles, settings=settings)[0]
    return [("5 % lost", made)], truth(len(made))


@case
def b4_one_half_finer() -> Drawn:
    """The second quarter turn in steps six times finer."""
    angles = np.concatenate([turn(30, 0.25), np.pi / 2 + turn(180, 0.25)])
    return [("a half six times finer", parallel(angles))], truth(SIZE)


@case
def b5_helix() -> Drawn:
    """Helices of two and six turns through balls."""
    balls = [(0.0, 0.0, 0.0, 20.0, 0.01), (12.0, 8.0, 0.0, 6.0, 0.02)]
    made = []
    for turns in (2, 6):
        angles = turn(121 * turns, turns)
        lift = np.linspace(-10 * turns, 10 * turns, len(angles))
        settings = ReconstructionSettings(
            center=31.5, detector_z=tuple((-lift).tolist()), slices=(16,)
        )
        lines = spheres(angles, balls, (32, 64), lift=lift)
        made.append((f"{turns} turns", reconstruct(lines, angles, settings=settings)[0]))
    return made, truth(64, [(0.0, 0.0, 20.0, 0.01), (12.0, 8.0, 6.0, 0.02)])


@case
def b6_axis_of_a_wide_sample() -> Drawn:
    """The axis that is found in half a turn of a sample wider than the view."""
    return _found(turn(400), 0.0)


@case
def b7_axis_of_a_turn_with_stripes() -> Drawn:
    """The axis that is found in a turn with stripes of 5 %."""
    return _found(turn(800, 1.0), 0.05)


def _found(angles: Array, stripes: float) -> Drawn:
    random = np.random.default_rng(1)
    radius = 160 if stripes == 0 else 90
    discs = [(0.0, 0.0, float(radius), 0.5 / radius)]
    for _ in range(150):
        x, y = random.uniform(-0.7, 0.7, 2) * radius
        discs.append((x, y, random.uniform(2, 7), random.choice([-0.5, 0.5]) / radius))
    lines = chords(angles, 118.0, discs, 256)
    lines = lines + random.normal(0, 0.01, lines.shape) + random.normal(0, stripes, 256)
    found = find_axis(lines.astype(np.float32), angles)
    settings = ReconstructionSettings(center=found.center_px)
    made = reconstruct(lines.astype(np.float32), angles, settings=settings)[0]
    said = f"column {found.center_px:.2f} (118), confidence {found.confidence:.2f}"
    return [(said, made)], None


@case
def b8_c10_half_acquisition() -> Drawn:
    """Half acquisition with a fractional axis, over one turn and over 1.3."""
    settings = ReconstructionSettings(center=30.3, half_acquisition=True)
    made = []
    for turns in (1.0, 1.3):
        angles = turn(round(400 * turns), turns)
        lines = chords(angles, 30.3)
        made.append((f"{turns} turns", reconstruct(lines, angles, settings=settings)[0]))
    return made, truth(len(made[0][1]))


@case
def b9_short_cone() -> Drawn:
    """A ball in a cone beam over a turn and over 220°."""
    balls = [(0.0, 0.0, 0.0, 24.0, 0.01), (12.0, 8.0, 0.0, 6.0, 0.02)]
    made = []
    for degrees in (360, 220):
        angles = np.arange(degrees) * np.deg2rad(1.0)
        settings = ReconstructionSettings(center=31.5, slices=(16,), source_distance=200.0)
        lines = spheres(angles, balls, (32, 64), source=200.0)
        made.append((f"{degrees}°", reconstruct(lines, angles, settings=settings)[0]))
    return made, truth(64, [(0.0, 0.0, 24.0, 0.01), (12.0, 8.0, 6.0, 0.02)])


def _phase(method: str, **more: Any) -> ReconstructionSettings:
    """Settings of phase retrieval; an older day knew no `delta_beta` and silently took 100."""
    if "delta_beta" in ReconstructionSettings.model_fields:
        more["delta_beta"] = 100.0
    return ReconstructionSettings(
        phase_method=method, energy_kev=20, pixel_size_um=1, propagation_distance_mm=100, **more
    )  # fmt: skip


@case
def b10_dark_row_before_phase_retrieval() -> Drawn:
    """A row without light beside the slice, and a projection that is no number."""
    angles, balls = turn(60), [(8.0, -4.0, 0.5, 6.0, 0.02)]
    made = []
    for said in ("dark row", "NaN"):
        lit = np.ones((40, 64))
        if said == "dark row":
            lit[12] = 0
        counts = np.exp(-spheres(angles, balls, (40, 64))) * lit * 5e4 + 100
        if said == "NaN":
            counts[7] = np.nan
        image = reconstruct(
            counts.astype(np.float32),
            angles,
            darks=np.full((1, 40, 64), 100.0),
            flats=lit[None] * 5e4 + 100,
            settings=_phase("tie", center=31.5, slices=(20,)),
        )[0]
        made.append((said, image))
    return made, truth(64, [(8.0, -4.0, 6.0, 0.02)])


@case
def b28_phase_of_a_ball() -> Drawn:
    """The phase of a ball of 40 px beside the axis, in rad per px: by ctf and by qp."""
    size, fine, off, per_px = 128, 4, 25.0, 0.002
    place = (np.arange(size * fine) + 0.5) / fine - size / 2
    chord = 2 * np.sqrt(np.maximum(400 - place[:, None] ** 2 - place**2, 0))
    k = np.fft.fftfreq(size * fine, 1 / fine)  # per px of 1 um
    wavelength_um = 12.39842 / 20 * 1e-4
    spread = np.exp(-1j * np.pi * wavelength_um * 1e5 * (k[:, None] ** 2 + k**2))
    image = np.abs(np.fft.ifft2(np.fft.fft2(np.exp(-1j * per_px * chord)) * spread)) ** 2
    image = image.reshape(size, fine, size, fine).mean((1, 3))
    angles = turn(120)
    moved = np.exp(-2j * np.pi * np.fft.fftfreq(size) * off * np.cos(angles)[:, None, None])
    images = (1 + np.fft.ifft2(np.fft.fft2(image - 1) * moved).real).astype(np.float32)
    return [
        (
            method,
            reconstruct(images, angles, settings=_phase(method, center=63.5, slices=(64,)))[0],
        )
        for method in ("ctf", "qp")
    ], truth(size, [(off, 0.0, 20.0, per_px)])


@case
def b13_dead_pixels() -> Drawn:
    """Counts of a detector with columns without light, and one projection that is no number."""
    angles = turn(240)
    flats = np.full((1, 1, SIZE), 5000.0, np.float32)
    flats[..., [40, 41, 100]] = 1.0
    counts = flats * np.exp(-chords(angles, 79.5))
    counts[17] = np.nan
    made = reconstruct(
        counts.astype(np.float32),
        angles,
        darks=np.zeros((1, 1, SIZE), np.float32),
        flats=flats,
        settings=ReconstructionSettings(center=79.5),
    )[0]
    return [("dead columns, a projection of NaN", made)], truth(SIZE)


@case
def b27_stripes() -> Drawn:
    """What stripe removal does to a clean disc in the middle."""
    angles, discs = turn(240), [(0.0, 0.0, 50.0, 0.01)]
    lines = chords(angles, 79.5, discs)
    return [
        (
            method,
            reconstruct(
                lines,
                angles,
                settings=ReconstructionSettings(center=79.5, stripe_removal=method),
            )[0],
        )
        for method in ("normalisation", "fourier-wavelet", "sorting")
    ], truth(SIZE, discs)


def draw(name: str, made: list[tuple[str, Array]], right: Array | None, path: Path) -> None:
    """Draw slices over their profiles through the middle row and a third above."""
    figure, axes = pyplot.subplots(2, len(made), figsize=(5 * len(made), 8), squeeze=False)
    for (said, image), (above, below) in zip(made, axes.T, strict=True):
        top = np.nanmax(right) if right is not None else np.nanpercentile(image, 99.5)
        above.imshow(image, cmap="gray", vmin=-0.3 * top, vmax=1.3 * top)
        lost = np.mean(~np.isfinite(image))
        above.set_title(f"{said}" + (f", {lost:.0%} no numbers" if lost else ""), fontsize=9)
        above.axis("off")
        for row, colour in (
            (len(image) // 2, "C0"),
            (round(len(image) / 2 - 0.11 * len(image)), "C1"),
        ):
            below.plot(image[row], colour, lw=1)
            if right is not None and right.shape == image.shape:
                below.plot(right[row], "k:", lw=0.8)
        below.set_ylim(-0.4 * top, 1.5 * top)
    figure.suptitle(name)
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    pyplot.close(figure)


def main() -> int:
    """Draw all cases into a directory; what cannot be drawn is said."""
    where = sys.argv[1:] or [Path(__file__).parent / "results" / "faults_of_numbers"]
    directory = Path(where[0])
    directory.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    failed = 0
    for name, function in CASES.items():
        try:
            draw(f"{name}: {function.__doc__}", *function(), directory / f"{name}.png")
        except Exception:
            failed += 1
            print(f"{name}: {traceback.format_exc(limit=1).strip().splitlines()[-1]}")
    print(f"{len(CASES) - failed} of {len(CASES)} drawn into {directory}")
    return min(failed, 1)


if __name__ == "__main__":
    raise SystemExit(main())
