"""The rotation axis: exact on clean data, robust on noisy data, honest on data that cannot tell."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino.reconstruction import UncertainAxisWarning, find_axis, reconstruct
from concertino.simulation import Beam, BeamlineState, Detector, Twin, ellipsoid_foam
from tests.reconstruction.analytic import disc_lines
from tests.reconstruction.oracle import plain_slice
from tests.reconstruction.phantoms import ellipse_sinogram, inside

COLUMNS, COUNT = 160, 240
HALF = np.arange(COUNT) * np.pi / COUNT
TOOTH = Path(__file__).parents[4] / "shared" / "data" / "tooth.h5"


def _noisy(lines: NDArray[np.floating[Any]], noise: float, seed: int = 0) -> NDArray[np.float32]:
    counts = np.exp(-lines) + noise * np.random.default_rng(seed).normal(size=lines.shape)
    noisy: NDArray[np.float32] = -np.log(np.maximum(counts, 0.01)).astype(np.float32)
    return noisy


@pytest.mark.parametrize("center", [79.5, 80.25, 71.37, 91.8])
def test_clean_data_tell_it_to_a_hundredth(center: float) -> None:
    lines = ellipse_sinogram(COLUMNS, HALF, center, 65.0)[:, None].astype(np.float32)
    found = find_axis(lines, HALF)
    assert found.center_px == pytest.approx(center, abs=0.02)
    assert found.confidence > 0.95


ANGLES = {
    "full turn": np.arange(2 * COUNT) * np.pi / COUNT,
    "backwards": -HALF,
    "start elsewhere": HALF + 1.0,
    "both ends": np.linspace(0, np.pi, COUNT + 1),
    "golden": np.arange(COUNT) * (np.sqrt(5) - 1) / 2 * np.pi % np.pi,
    "gaps": np.delete(HALF, [3, 50, 51, 120]),
}


@pytest.mark.parametrize("angles", ANGLES.values(), ids=ANGLES.keys())
def test_any_angles_that_cover_half_a_turn(angles: NDArray[np.float64]) -> None:
    lines = ellipse_sinogram(COLUMNS, angles, 83.2, 65.0)[:, None].astype(np.float32)
    assert find_axis(lines, angles).center_px == pytest.approx(83.2, abs=0.05)


def test_four_percent_noise() -> None:
    lines = ellipse_sinogram(COLUMNS, HALF, 83.2, 65.0)[:, None] / 65.0
    found = find_axis(np.concatenate([_noisy(lines, 0.04, seed) for seed in range(4)], 1), HALF)
    assert found.center_px == pytest.approx(83.2, abs=0.1)
    assert found.confidence > 0.4


@pytest.mark.parametrize("pattern", [0.0, 0.03])
def test_without_a_sample_it_says_so(pattern: float) -> None:
    generator = np.random.default_rng(6)
    flat = 1 + pattern * generator.normal(size=(1, 2, COLUMNS))
    counts = 5000 * flat + 70 * generator.normal(size=(COUNT, 2, COLUMNS))
    flats = 5000 + np.zeros((3, 2, COLUMNS))
    found = find_axis(counts.astype(np.float32), HALF, flats=flats)
    assert found.confidence < 0.2


def test_an_empty_view_is_the_middle_of_nothing() -> None:
    found = find_axis(np.zeros((COUNT, 1, COLUMNS), np.float32), HALF)
    assert found.center_px == (COLUMNS - 1) / 2
    assert found.confidence == 0.0


def test_a_quarter_turn_cannot_tell() -> None:
    lines = ellipse_sinogram(COLUMNS, HALF[:120], 83.2, 65.0)[:, None].astype(np.float32)
    found = find_axis(lines, HALF[:120])
    assert found.confidence == 0.0
    assert "do not cover half a turn" in found.method


@pytest.mark.parametrize("center", [14.5, 140.2])
def test_an_axis_near_the_edge_of_a_full_turn(center: float) -> None:
    angles = np.arange(2 * COUNT) * np.pi / COUNT
    lines = ellipse_sinogram(COLUMNS, angles, center, 110.0)[:, None].astype(np.float32)
    found = find_axis(lines, angles)
    assert found.center_px == pytest.approx(center, abs=0.1)
    assert found.confidence > 0.9


def test_a_tilt_with_four_percent_noise() -> None:
    rows, tilt, middle = 120, np.deg2rad(0.3), 82.7
    heights = (rows - 1) / 2 - np.arange(rows)
    lines = np.stack(
        [
            ellipse_sinogram(COLUMNS, HALF, middle + height * np.tan(tilt), 65.0, 1) / 65.0
            for height in heights
        ],
        axis=1,
    )
    found = find_axis(_noisy(lines, 0.04), HALF, tilt=True)
    assert found.center_px == pytest.approx(middle, abs=0.2)
    assert np.rad2deg(found.tilt_rad) == pytest.approx(0.3, abs=0.05)
    assert find_axis(_noisy(lines, 0.04), HALF).tilt_rad == 0.0


@pytest.mark.parametrize("turn", [1, 2], ids=["half a turn", "a full turn"])
def test_the_roll_of_the_twin_s_axis_with_four_percent_noise(turn: int) -> None:
    size, count, roll = 192, 300, np.deg2rad(0.3)
    twin = Twin(
        ellipsoid_foam(), Beam(flux=6250), Detector((size, size), pixel_size_mm=0.0067),
        axis_offset_px=4.3, axis_tilt_rad=(roll, 0.0), seed=3,
    )  # fmt: skip
    angles = np.arange(turn * count) * np.pi / count

    def frames(states: list[BeamlineState], kind: str) -> NDArray[np.uint16]:
        taken = np.empty((len(states), size, size), np.uint16)
        for index, (state, out) in enumerate(zip(states, taken, strict=True)):
            twin.expose(state, 0.1, out, index, kind=kind)
        return taken

    darks = frames([BeamlineState(beam_on=0.0)] * 10, "darks")
    flats = frames([BeamlineState(sample_offset_mm=(100.0, 0.0))] * 40, "flats")
    light = flats[:, size // 2, size // 2].astype(float) - darks.mean()
    assert light.std() / light.mean() == pytest.approx(0.04, rel=0.4)
    scan = frames([BeamlineState(angle_start_rad=float(angle)) for angle in angles], "projections")
    found = find_axis(scan, angles, darks=darks, flats=flats, tilt=True)
    assert found.center_px == pytest.approx(twin.rotation_axis_px, abs=0.2)
    assert np.rad2deg(found.tilt_rad) == pytest.approx(0.3, abs=0.02)
    assert found.confidence > 0.8
    nothing = find_axis(np.concatenate([flats] * 3), darks=darks, flats=flats, tilt=True)
    assert nothing.confidence < 0.2


@pytest.mark.skipif(not TOOTH.exists(), reason="the real scan lies beside the repository only")
def test_the_tooth_agrees_with_a_sweep_of_plain_sums() -> None:
    import h5py

    with h5py.File(TOOTH) as file:
        exchange = file["exchange"]
        counts = exchange["data"][:]
        darks, flats = exchange["data_dark"][:], exchange["data_white"][:]
        angles = np.deg2rad(exchange["theta"][:])
    found = find_axis(counts, angles, darks=darks, flats=flats)
    lines = -np.log((counts - darks.mean(0)) / (flats.mean(0) - darks.mean(0)))[:, 0]
    places = np.arange(294.75, 297.0, 0.25)
    mask = inside(640, 0.8)
    negative = [-np.minimum(plain_slice(lines, angles, place)[mask], 0).sum() for place in places]
    curve = np.polynomial.Polynomial.fit(places, negative, 2)
    sharpest = float(curve.deriv().roots()[0])
    assert found.center_px == pytest.approx(sharpest, abs=0.25)
    assert found.center_px == pytest.approx(296, abs=0.5)
    assert found.confidence > 0.9


def _foam(
    columns: int, angles: NDArray[np.float64], center: float, radius: float, seed: int
) -> Any:
    random = np.random.default_rng(seed)
    strength = 0.5 / radius
    discs = [(0.0, 0.0, radius, strength)]
    for _ in range(200):
        x, y = random.uniform(-0.7, 0.7, 2) * radius
        discs.append((x, y, random.uniform(2, 7), random.choice([-1.0, 1.0]) * strength))
    lines = disc_lines(columns, angles, center, discs, oversample=1)[:, 0].astype(float)
    counts = random.poisson(np.exp(-lines) * 1e4) / 1e4
    return -np.log(counts).astype(np.float32)[:, None]


HALF_TURN, WHOLE_TURN = np.arange(400) * np.pi / 400, np.arange(800) * np.pi / 400


@pytest.mark.parametrize("center", [128.0, 118.0, 101.3])
@pytest.mark.parametrize("radius", [120, 140, 160, 220])
def test_a_sample_wider_than_the_view_does_not_draw_the_axis(center: float, radius: float) -> None:
    found = find_axis(_foam(256, HALF_TURN, center, radius, 1), HALF_TURN)
    assert found.center_px == pytest.approx(center, abs=0.3) or found.confidence < 0.3
    assert found.confidence > 0.5 or radius == 220


def test_a_coarse_scan_of_a_sample_wider_than_the_view_is_not_sure() -> None:
    angles = np.arange(100) * np.pi / 100
    for seed in range(4):
        found = find_axis(_foam(256, angles, 118.0, 160, seed), angles)
        assert abs(found.center_px - 118) < 0.5 or found.confidence < 0.5


@pytest.mark.parametrize(("end_deg", "number"), [(170, 60), (175, 60), (176, 100)])
def test_the_last_views_of_half_a_turn_may_be_lost(end_deg: float, number: int) -> None:
    angles = np.linspace(0, np.deg2rad(end_deg), number)
    for center in (100.3, 118.4, 140.0):
        off_centre = _noisy(disc_lines(256, angles, center, [(20, -25, 20, 1 / 40)]), 0.01)
        for lines in (off_centre, _foam(256, angles, center, 90, 1)):
            found = find_axis(lines, angles)
            assert found.center_px == pytest.approx(center, abs=0.3)
            assert found.confidence > 0.9


@pytest.mark.parametrize("stripes", [0.05, 0.3])
@pytest.mark.parametrize(("center", "radius"), [(118.4, 90), (25.0, 220)])
def test_stripes_that_stand_still_do_not_draw_the_axis_of_a_turn(
    stripes: float, center: float, radius: float
) -> None:
    for seed in range(2):
        lines = _foam(256, WHOLE_TURN, center, radius, seed)
        lines += np.random.default_rng(seed).normal(0, stripes, 256).astype(np.float32)
        found = find_axis(lines, WHOLE_TURN)
        assert found.center_px == pytest.approx(center, abs=0.3)
        assert found.confidence > 0.9


@pytest.mark.parametrize("stripes", [0.0, 0.05])
@pytest.mark.parametrize("angles", [HALF_TURN, WHOLE_TURN], ids=["half", "whole"])
def test_an_empty_field_has_no_axis(stripes: float, angles: NDArray[np.float64]) -> None:
    for seed in range(3):
        random = np.random.default_rng(seed)
        lines = random.normal(0, 0.02, (len(angles), 1, 256)) + random.normal(0, stripes, 256)
        assert find_axis(lines.astype(np.float32), angles).confidence < 0.3


def test_a_slice_of_an_axis_that_nobody_knows_warns() -> None:
    lines = np.random.default_rng(1).normal(0, 0.02, (400, 1, 64)).astype(np.float32)
    with pytest.warns(UncertainAxisWarning, match=r"column .* confidence of 0\.0.*center=.*sweep"):
        reconstruct(lines, HALF_TURN)
