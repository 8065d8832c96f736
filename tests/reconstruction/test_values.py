"""Absolute values and positions of analytic discs and balls, in situations that scans really have."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from concertino import ParameterError
from concertino.reconstruction import ReconstructionSettings, Reconstructor, reconstruct

from .analytic import Array, ball_lines, disc_lines
from .oracle import disc_found

TURN = 2 * np.pi
MU, COLUMNS, CENTER = 0.02, 128, 63.2
DISC = (31.3, -17.6, 8.0, MU)
BODY = (0.0, 0.0, 50.0, MU)
GOLDEN = (np.sqrt(5) - 1) / 2


def _random_losses(angles: Array, share: float) -> Array:
    return angles[np.random.default_rng(1).random(len(angles)) > share]


PARALLEL = {
    "half a turn": np.arange(300) * TURN / 600,
    "half a turn, both ends": np.arange(301) * TURN / 600,
    "a turn": np.arange(600) * TURN / 600,
    "a turn, both ends": np.arange(601) * TURN / 600,
    "two and a half turns": np.arange(900) * TURN / 360,
    "three turns": np.arange(1080) * TURN / 360,
    "three turns, read back": np.arange(1080) * TURN / 360
    + np.random.default_rng(2).normal(0, 1e-4, 1080),
    "eight half turns back and forth": np.tile(np.r_[0:200, 199:-1:-1] * TURN / 400, 4),
    "a half six times finer": np.r_[
        np.arange(900) * TURN / 3600, TURN / 4 + np.arange(150) * TURN / 600
    ],
    "golden": np.fmod(np.arange(400) * GOLDEN, 1) * TURN / 2,
    "golden, a turn": np.fmod(np.arange(500) * GOLDEN, 1) * TURN,
    "5 % lost": _random_losses(np.arange(400) * TURN / 800, 0.05),
    "10 in a row lost": np.delete(np.arange(720) * TURN / 1440, np.arange(100, 110)),
    "every second of a half lost": np.delete(np.arange(600) * TURN / 1200, np.arange(301, 600, 2)),
}


@pytest.mark.parametrize("angles", PARALLEL.values(), ids=PARALLEL.keys())
def test_a_disc_has_its_value_and_place(angles: Array) -> None:
    lines = disc_lines(COLUMNS, angles, CENTER, [DISC, BODY])
    image = reconstruct(lines, angles, settings=ReconstructionSettings(center=CENTER))[0]
    assert np.isfinite(image).all()
    value, x, y = disc_found(image - MU, *DISC[:3])
    assert value == pytest.approx(MU, rel=0.005)
    assert (x, y) == pytest.approx(DISC[:2], abs=0.05)


@pytest.mark.parametrize("turns", [1, 2, 3, 4, 8])
def test_noise_falls_as_the_root_of_how_often_each_angle_is_measured(turns: int) -> None:
    width, views = 64, 60
    random = np.random.default_rng(3)
    y, x = np.mgrid[:width, :width] - (width - 1) / 2
    inside = np.hypot(x, y) < 25
    settings = ReconstructionSettings(center=(width - 1) / 2, absorptivity=False)

    def noise(repeats: int) -> float:
        angles = np.arange(views * repeats) * np.pi / views
        found = []
        for _ in range(8):
            frames = random.normal(0, 0.01, (len(angles), 1, width)).astype(np.float32)
            found.append(reconstruct(frames, angles, settings=settings)[0][inside].std())
        return float(np.mean(found))

    assert noise(turns) / noise(1) == pytest.approx(1 / np.sqrt(turns), rel=0.06)


def _half_acquired(angles: Array, present: NDArray[np.bool_], center: float = 12.3) -> Array:
    discs = [(70.3, 30.2, 8.0, MU), (-70.0, -30.0, 8.0, MU), (0.0, 0.0, 95.0, MU)]
    lines = disc_lines(COLUMNS, angles, center, discs)
    job = Reconstructor(
        ReconstructionSettings(center=center, half_acquisition=True),
        num_projections=len(angles), frame_shape=(1, COLUMNS), angles=angles,
    )  # fmt: skip
    for index in np.flatnonzero(present):
        job.add_projections(lines[index : index + 1], int(index))
    return np.asarray(job.finish().volume[0], float)


HALF = {
    "a turn": (720, 1.0, []),
    "5 % lost": (720, 1.0, list(np.flatnonzero(np.random.default_rng(4).random(720) < 0.05))),
    "10 in a row lost": (720, 1.0, list(range(100, 110))),
    "every second of a half lost": (720, 1.0, list(range(361, 720, 2))),
    "630 deg": (1260, 1.75, []),
    "450 deg": (900, 1.25, []),
    "540 deg": (1080, 1.5, []),
    "two turns": (1440, 2.0, []),
}


@pytest.mark.parametrize(("number", "turns", "lost"), HALF.values(), ids=HALF.keys())
def test_half_acquisition_has_the_right_values(number: int, turns: float, lost: list[int]) -> None:
    angles = np.arange(number) * turns * TURN / number
    image = _half_acquired(angles, ~np.isin(np.arange(number), lost))
    value, x, y = disc_found(image - MU, 70.3, 30.2, 8.0)
    assert value == pytest.approx(MU, rel=0.006)
    assert (x, y) == pytest.approx((70.3, 30.2), abs=0.05)


@pytest.mark.parametrize("given", [12.3, None])
def test_a_sweep_of_the_axis_of_half_acquisition_gives_one_strip(given: float | None) -> None:
    """A slice is as wide as both sides together, which goes with the axis; 540 deg, 5 % lost."""
    angles = _random_losses(np.arange(1080) * TURN / 720, 0.05)
    discs = [(70.3, 30.2, 8.0, MU), (-70.0, -30.0, 8.0, MU), (0.0, 0.0, 95.0, MU)]
    lines = disc_lines(COLUMNS, angles, 12.3, discs)
    settings = ReconstructionSettings(center=given, half_acquisition=True)
    job = Reconstructor(
        settings, num_projections=len(angles), frame_shape=(1, COLUMNS), angles=angles
    )
    job.add_projections(lines, 0)
    strip = job.search.sweep("center", [11.3, 12.3, 13.3])
    assert strip.shape[1:] == job.slice_shape
    value, x, y = disc_found(strip[1] - MU, 70.3, 30.2, 8.0)
    assert value == pytest.approx(MU, rel=0.01)
    assert (x, y) == pytest.approx((70.3, 30.2), abs=0.05)


@pytest.mark.parametrize("center", [3.0, 10.25, 30.3, 100.33, 120.6])
def test_half_acquisition_leaves_no_ring_where_the_overlap_ends(center: float) -> None:
    angles = np.arange(800) * TURN / 800
    lines = disc_lines(COLUMNS, angles, center, [(0.0, 0.0, 95.0, MU)])
    settings = ReconstructionSettings(center=center, half_acquisition=True)
    image = reconstruct(lines, angles, settings=settings)[0] / MU
    places = np.arange(image.shape[0]) - (image.shape[0] - 1) / 2
    radius = np.hypot(*np.meshgrid(places, places))
    edge = min(center, COLUMNS - 1 - center)
    for ring in range(-3, 4):
        on_it = (radius >= edge + ring) & (radius < edge + ring + 1)
        if on_it.any():
            assert image[on_it].mean() == pytest.approx(1, abs=0.004)


BALL = (17.3, -9.2, 0.4, 7.0, MU)


def _ball_found(
    volume: NDArray[np.float32], ball: tuple[float, float, float, float, float]
) -> float:
    """Mean well inside of a ball."""
    planes, size, _ = volume.shape
    places = np.arange(size) - (size - 1) / 2
    z, y, x = np.meshgrid((planes - 1) / 2 - np.arange(planes), -places, places, indexing="ij")
    apart = np.sqrt((x - ball[0]) ** 2 + (y - ball[1]) ** 2 + (z - ball[2]) ** 2)
    return float(volume[apart < ball[3] - 2.5].mean())


SOURCE = 200.0
FAN = 2 * np.arctan(48 / SOURCE)
CONE = {
    "a turn": TURN,
    "half a turn and the fan": TURN / 2 + FAN,
    "240 deg": np.deg2rad(240),
    "270 deg": np.deg2rad(270),
    "320 deg": np.deg2rad(320),
}


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("arc", CONE.values(), ids=CONE.keys())
def test_a_ball_in_a_cone_beam_has_its_value(arc: float, backwards: bool) -> None:
    angles = 0.3 + np.arange(240) * arc / 240 * (-1 if backwards else 1)
    lines = ball_lines((24, 96), angles, [BALL], source=SOURCE)
    settings = ReconstructionSettings(center=47.5, source_distance=SOURCE)
    volume = reconstruct(lines, angles, settings=settings)
    assert _ball_found(volume, BALL) == pytest.approx(MU, rel=0.01)
    # in the plane of the source the cone is a fan
    _, x, y = disc_found(volume[11], BALL[0], BALL[1], BALL[3])
    assert (x, y) == pytest.approx(BALL[:2], abs=0.05)


LOST = {
    "5 %": np.flatnonzero(np.random.default_rng(1).random(300) < 0.05),
    "10 in a row": np.arange(70, 80),
    "every second of a half": np.arange(151, 300, 2),
}


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST.keys())
@pytest.mark.parametrize("turns", [1, 2])
def test_a_cone_beam_with_lost_frames_has_its_value(lost: NDArray[np.int64], turns: int) -> None:
    angles = np.delete(np.arange(300) * turns * TURN / 300, lost)
    lines = ball_lines((24, 96), angles, [BALL], source=SOURCE)
    settings = ReconstructionSettings(center=47.5, source_distance=SOURCE)
    volume = reconstruct(lines, angles, settings=settings)
    assert _ball_found(volume, BALL) == pytest.approx(MU, rel=0.01)
    _, x, y = disc_found(volume[11], BALL[0], BALL[1], BALL[3])
    assert (x, y) == pytest.approx(BALL[:2], abs=0.05)


def test_a_cone_beam_over_too_short_an_arc_is_refused() -> None:
    settings = ReconstructionSettings(center=47.5, source_distance=SOURCE)
    words = "26.7 deg needs projections over 206.7 deg at least.*cover 180.0 deg. Scan a full turn"
    with pytest.raises(ParameterError, match=words):
        Reconstructor(
            settings, num_projections=180, frame_shape=(24, 96), angles=np.arange(180) * np.pi / 180
        )


@pytest.mark.parametrize("turns", [2, 3, 4, 6, 8])
def test_a_ball_in_a_helix_is_as_bright_however_long_it_is(turns: int) -> None:
    number = 121 * turns + 1
    angles = np.arange(number) * TURN * turns / number
    lift = np.linspace(-20 * turns, 20 * turns, number)
    lines = ball_lines((48, 96), angles, [BALL], lift=lift)
    settings = ReconstructionSettings(center=47.5, detector_z=tuple((-lift).tolist()))
    volume = reconstruct(lines, angles, settings=settings)
    assert _ball_found(volume, BALL) == pytest.approx(MU, rel=0.005)


@pytest.mark.parametrize("turns", [2, 4])
def test_a_ball_in_a_helix_of_a_cone_beam_has_its_value(turns: int) -> None:
    number = 121 * turns + 1
    angles = np.arange(number) * TURN * turns / number
    lift = np.linspace(-20 * turns, 20 * turns, number)
    lines = ball_lines((48, 96), angles, [BALL], lift=lift, source=300.0)
    down = tuple((-lift).tolist())
    settings = ReconstructionSettings(
        center=47.5, source_distance=300.0, detector_z=down, source_z=down
    )
    volume = reconstruct(lines, angles, settings=settings)
    assert _ball_found(volume, BALL) == pytest.approx(MU, rel=0.01)


BALLS = [(0.0, 0.0, 0.0, 28.0, MU / 2), (13.0, 9.0, 0.0, 9.0, MU), (-9.3, -12.2, 2.0, 8.0, MU)]


def _insides(volume: NDArray[np.float32], slack: float) -> Array:
    """Ratios to the truth of means over 5 by 5 by 3 voxels of `BALLS`, their edges left out."""
    planes, size, _ = volume.shape
    places = np.arange(size) - (size - 1) / 2
    z, y, x = np.meshgrid((planes - 1) / 2 - np.arange(planes), -places, places, indexing="ij")
    truth, edge = np.zeros(volume.shape), np.abs(z) > planes / 2 - 2
    for at_x, at_y, at_z, radius, mu in BALLS:
        apart = np.sqrt((x - at_x) ** 2 + (y - at_y) ** 2 + (z - at_z) ** 2)
        truth += mu * (apart < radius)
        edge |= np.abs(apart - radius) < slack
    smooth = uniform_filter(np.asarray(volume, float), (3, 5, 5))
    chosen = ~edge & (truth > 0)
    assert chosen.sum() > 1000
    return np.asarray(smooth[chosen] / truth[chosen])


HELIX = {  # turns, rows that the sample rises in one, source, kind
    "two turns, 3.2 half turns each": (2, 20.0, None, ""),
    "three turns, 4.92 half turns each": (3, 13.0, None, ""),
    "four turns, 1.6 half turns each": (4, 40.0, None, ""),
    "four turns, downwards": (4, 24.0, None, "down"),
    "four turns, backwards": (4, 24.0, None, "back"),
    "four turns, angles from 0 to 360 deg": (4, 24.0, None, "wrapped"),
    "four turns, a turn at rest before and after": (4, 24.0, None, "rest"),
    "four turns, 5 % lost": (4, 24.0, None, "lost"),
    "eight turns, 3.76 half turns each": (8, 17.0, None, ""),
    "six turns, far source": (6, 26.0, 3000.0, ""),
}


@pytest.mark.parametrize(("turns", "rise", "source", "kind"), HELIX.values(), ids=HELIX.keys())
def test_a_helix_is_even_whatever_share_of_a_turn_sees_a_place(
    turns: int, rise: float, source: float | None, kind: str
) -> None:
    """Round things about the axis look right from uneven directions too: these balls are beside it."""
    number = 241 * turns
    angles = np.arange(number) * TURN / 241
    lift = (angles - angles.mean()) / TURN * rise
    if kind == "rest":
        lift = np.r_[np.full(241, lift[0]), lift, np.full(241, lift[-1])]
        angles = np.arange(len(lift)) * TURN / 241
    if kind == "lost":
        kept = np.random.default_rng(1).random(number) > 0.05
        angles, lift = angles[kept], lift[kept]
    if kind in ("down", "back"):
        lift, angles = (-lift, angles) if kind == "down" else (lift, -angles)
    lines = ball_lines((32, 64), angles, BALLS, lift=lift, source=source, oversample=2)
    down = tuple((-lift).tolist())
    settings = ReconstructionSettings(
        center=31.5, detector_z=down, source_distance=source, source_z=down if source else 0.0
    )
    if kind == "wrapped":
        angles = np.mod(angles, TURN)
    found = _insides(reconstruct(lines, angles, settings=settings), 6.0)
    # a circular scan of these gives 0.990 to 1.011, by the waves of voxels beside edges
    assert np.abs(found - 1).max() < 0.0125
    assert np.percentile(np.abs(found - 1), 99) < 0.008


def test_a_helix_that_goes_up_and_down_is_told(caplog: pytest.LogCaptureFixture) -> None:
    angles = np.arange(200) * TURN / 50
    lift = 10 * np.abs(np.linspace(-1, 1, 200))
    settings = ReconstructionSettings(center=15.5, detector_z=tuple(lift.tolist()), slices=(4,))
    reconstruct(np.zeros((200, 8, 32), np.float32), angles, settings=settings)
    assert "does not turn and rise steadily" in caplog.text


@pytest.mark.parametrize("pitch", [0.3, 0.6])
def test_a_ball_in_a_laminography_keeps_the_share_of_directions_that_were_measured(
    pitch: float,
) -> None:
    # of the directions in Fourier space those within the pitch of the axis are missing: 1 - cos(pitch)
    angles = np.arange(240) * TURN / 240
    ball = (12.3, -6.2, 0.4, 7.0, MU)
    lines = ball_lines((96, 96), angles, [ball], pitch=pitch)
    settings = ReconstructionSettings(center=47.5, axis_angle_x=pitch, region=(36, 60, 1))
    volume = reconstruct(lines, angles, settings=settings)
    assert _ball_found(volume, ball) == pytest.approx(MU * np.cos(pitch), rel=0.01)


def test_pixels_without_light_are_told_and_mended(caplog: pytest.LogCaptureFixture) -> None:
    """A flat one count brighter than its dark says nothing; a column in a hundred is like that."""
    angles = np.arange(300) * np.pi / 300
    lines = disc_lines(100, angles, 49.5, [(0.0, 0.0, 40.0, MU)])
    flats, darks = np.full((1, 1, 100), 50100.0), np.full((1, 1, 100), 100.0)
    flats[..., 33] = 101
    counts = np.exp(-lines) * (flats - darks)[0] + darks[0]
    counts[..., 33] = np.random.default_rng(0).integers(90, 110, 300)[:, None]
    image = reconstruct(
        counts, angles, darks=darks, flats=flats, settings=ReconstructionSettings(center=49.5)
    )[0]
    assert "1 % of the detector's pixels are unknown" in caplog.text
    y, x = np.mgrid[:100, :100] - 49.5
    assert image[np.hypot(x, y) < 36].mean() == pytest.approx(MU, rel=0.01)


HALF_TURN = np.arange(300) * np.pi / 300
ODD = {
    "turns": (HALF_TURN / TURN, "cover 28.6 of 180 deg"),
    "half turns": (HALF_TURN / np.pi, "cover 57.3 of 180 deg"),
    "60 deg": (HALF_TURN / 3, "cover 60.0 of 180 deg"),
    "a quarter turn in degrees": (np.rad2deg(HALF_TURN) / 2, "looks like degrees"),
    "gon": (HALF_TURN / np.pi * 200, "looks like gon"),
    "mrad": (HALF_TURN * 1000, "looks like mrad"),
    "mrad, a turn": (HALF_TURN * 2000, "looks like mrad"),
}


@pytest.mark.parametrize(("angles", "words"), ODD.values(), ids=ODD.keys())
def test_angles_that_are_hardly_meant_so_are_told(
    angles: Array, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    job = Reconstructor(
        ReconstructionSettings(center=9.5), num_projections=300, frame_shape=(1, 20), angles=angles
    )
    assert words in caplog.text
    job.add_projections(np.zeros((300, 1, 20), np.float32), 0)
    caplog.clear()
    job.search.sweep("center", [9.0, 9.5, 10.0])
    assert "angles" not in caplog.text  # it has been said


@pytest.mark.parametrize("angles", PARALLEL.values(), ids=PARALLEL.keys())
def test_nothing_is_told_of_angles_of_good_scans(
    angles: Array, caplog: pytest.LogCaptureFixture
) -> None:
    for settings in (ReconstructionSettings(center=9.5), ReconstructionSettings()):
        Reconstructor(settings, num_projections=len(angles), frame_shape=(1, 20), angles=angles)
    assert "angles" not in caplog.text


@pytest.mark.parametrize(("distance", "words"), [(1e6, "are 1000 m"), (0.1, "give 100")])
def test_a_distance_that_is_hardly_meant_so_is_told(
    distance: float, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    ReconstructionSettings(propagation_distance_mm=distance)
    assert words in caplog.text
    caplog.clear()
    for likely in (3.0, 100.0, 150_000.0):
        ReconstructionSettings(propagation_distance_mm=likely)
    assert not caplog.text
