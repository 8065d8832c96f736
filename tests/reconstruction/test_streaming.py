"""The same bits however frames arrive; partial and incomplete scans on scale."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino import ParameterError
from concertino.reconstruction import ReconstructionSettings, Reconstructor, reconstruct

from .phantoms import blob_image, blob_sinogram, inside, rms

COLUMNS, COUNT, ROWS = 96, 150, 3
ANGLES = np.arange(COUNT) * np.pi / COUNT
SETTINGS = ReconstructionSettings(center=46.3, projections_per_block=16)
MIDDLE = np.arange(COLUMNS) - (COLUMNS - 1) / 2
TRUTH = blob_image(*np.meshgrid(MIDDLE, -MIDDLE))


@pytest.fixture(scope="module")
def scan() -> NDArray[np.uint16]:
    lines = blob_sinogram(COLUMNS, ANGLES, 46.3) * 0.02
    rows = [100 + 20000 * np.exp(-lines * (1 + 0.1 * row)) for row in range(ROWS)]
    noise = np.random.default_rng(2).normal(size=(COUNT, ROWS, COLUMNS)) * 20
    return np.round(np.stack(rows, axis=1) + noise).astype(np.uint16)


DARKS = np.random.default_rng(3).integers(95, 106, (7, ROWS, COLUMNS)).astype(np.uint16)
FLATS = np.random.default_rng(4).integers(20000, 20200, (9, ROWS, COLUMNS)).astype(np.uint16)


def _streamed(
    scan: NDArray[np.uint16],
    batches: list[tuple[int, int]],
    settings: ReconstructionSettings = SETTINGS,
) -> Reconstructor:
    reconstructor = Reconstructor(
        settings, num_projections=COUNT, frame_shape=(ROWS, COLUMNS), angles=ANGLES
    )
    for dark in DARKS:
        reconstructor.add_darks(dark)
    reconstructor.add_flats(FLATS[:4])
    reconstructor.add_flats(FLATS[4:])
    ring = np.empty_like(scan)
    for start, stop in batches:
        ring[: stop - start] = scan[start:stop]
        reconstructor.add_projections(ring[: stop - start], start)
        ring[:] = 7  # the caller reuses its buffer
    return reconstructor


def _cut(sizes: list[int]) -> list[tuple[int, int]]:
    edges = [0, *np.cumsum(sizes).tolist()]
    assert edges[-1] == COUNT
    return list(itertools.pairwise(edges))


BATCHES = {
    "one by one": _cut([1] * COUNT),
    "blocks": _cut([16] * 9 + [6]),
    "uneven": _cut([5, 40, 1, 17, 60, 27]),
    "backwards": _cut([10] * 15)[::-1],
    "shuffled": [_cut([5] * 30)[i] for i in np.random.default_rng(5).permutation(30)],
    "one block late": [*_cut([32, 16, 102])[::2], (32, 48)],
}


@pytest.mark.parametrize("center", [46.3, None])
@pytest.mark.parametrize("batches", BATCHES.values(), ids=BATCHES.keys())
def test_any_batching_gives_the_same_bits(
    scan: NDArray[np.uint16], batches: list[tuple[int, int]], center: float | None
) -> None:
    settings = SETTINGS.updated(center=center)
    whole = reconstruct(scan, ANGLES, darks=DARKS, flats=FLATS, settings=settings)
    result = _streamed(scan, batches, settings).finish()
    np.testing.assert_array_equal(result.volume, whole)
    assert result.missing == ()
    assert result.center_px == pytest.approx(46.3, abs=0.1)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_and_memory_do_not_change_the_bits(scan: NDArray[np.uint16], threads: int) -> None:
    one = SETTINGS.updated(threads=1)
    many = one.updated(threads=threads, memory_gib=0.0006)  # no room for grids
    expected = reconstruct(scan, ANGLES, darks=DARKS, flats=FLATS, settings=one)
    streamed = _streamed(scan, BATCHES["uneven"], many)
    streamed.slices()
    np.testing.assert_array_equal(streamed.finish().volume, expected)


def test_looking_early_changes_nothing_and_is_on_scale(scan: NDArray[np.uint16]) -> None:
    calm = _streamed(scan, BATCHES["one by one"]).finish().volume
    watched = _streamed(scan, [])
    for start in range(0, COUNT, 10):
        watched.add_projections(scan[start : start + 10], start)
        early = watched.slices()
        assert early.shape == (ROWS, COLUMNS, COLUMNS)
        if start >= COUNT // 2:
            assert early[0].sum() == pytest.approx(calm[0].sum(), rel=0.1)
    np.testing.assert_array_equal(watched.finish().volume, calm)


def test_lost_projections_are_named_and_weighted(scan: NDArray[np.uint16]) -> None:
    lost = [5, 33, 34, 35, 36, 100, 149]
    whole = _streamed(scan, [(0, COUNT)]).finish().volume[0]
    reconstructor = _streamed(scan, [])
    for index in range(COUNT):
        if index not in lost:
            reconstructor.add_projections(scan[index], index)
    result = reconstructor.finish()
    assert result.missing == tuple(lost)
    mask = inside(COLUMNS)
    assert rms(result.volume[0] - whole, mask) < 0.12 * float(np.abs(whole[mask]).max())
    # twice in other batches: the same bits
    other = _streamed(scan, [])
    kept = [index for index in range(COUNT) if index not in lost]
    for index in reversed(kept):
        other.add_projections(scan[index], index)
    np.testing.assert_array_equal(other.finish().volume, result.volume)


def test_a_lost_projection_is_filled_by_its_neighbours() -> None:
    lines = blob_sinogram(COLUMNS, ANGLES, 46.3).astype(np.float32)[:, None]
    reconstructor = Reconstructor(
        SETTINGS, num_projections=COUNT, frame_shape=(1, COLUMNS), angles=ANGLES
    )
    for index in range(COUNT):
        if index not in (40, 90):
            reconstructor.add_projections(lines[index], index)
    volume = reconstructor.finish().volume
    assert rms(volume[0] - TRUTH, inside(COLUMNS)) < 4e-3
    assert volume[0].mean() == pytest.approx(TRUTH.mean(), rel=0.01)


def test_flats_may_come_last_or_at_both_ends(scan: NDArray[np.uint16]) -> None:
    def fed(*order: str) -> NDArray[np.float32]:
        reconstructor = Reconstructor(
            SETTINGS, num_projections=COUNT, frame_shape=(ROWS, COLUMNS), angles=ANGLES
        )
        for step in order:
            if step == "darks":
                reconstructor.add_darks(DARKS)
            elif step == "scan":
                reconstructor.add_projections(scan, 0)
            else:
                first, last = (int(part) for part in step.split("-"))
                reconstructor.add_flats(FLATS[first:last])
        return reconstructor.finish().volume

    first = fed("darks", "0-9", "scan")
    np.testing.assert_array_equal(fed("scan", "0-9", "darks"), first)
    np.testing.assert_allclose(fed("darks", "0-4", "scan", "4-9"), first, atol=1e-6)


def test_a_drifting_beam_is_interpolated() -> None:
    lines = blob_sinogram(COLUMNS, ANGLES, 46.3)[:, None] * 0.02
    light = np.linspace(20000, 16000, COUNT)[:, None, None]
    counts = (light * np.exp(-lines)).astype(np.float32)
    settings = SETTINGS.updated(flats_after="interpolate")
    reconstructor = Reconstructor(
        settings, num_projections=COUNT, frame_shape=(1, COLUMNS), angles=ANGLES
    )
    reconstructor.add_flats(np.full((1, 1, COLUMNS), 20000.0))
    reconstructor.add_projections(counts, 0)
    reconstructor.add_flats(np.full((1, 1, COLUMNS), 16000.0))
    volume = reconstructor.finish().volume
    assert rms(volume[0] - 0.02 * TRUTH, inside(COLUMNS)) < 1e-4


@pytest.mark.parametrize("how", ["average", "median", "first"])
def test_darks_and_flats_are_combined_as_told(scan: NDArray[np.uint16], how: str) -> None:
    settings = SETTINGS.updated(darks=how, flats=how)
    dark, flat = (
        {
            "average": stack.mean(axis=0, dtype=np.float64),
            "median": np.median(stack, axis=0),
            "first": stack[0].astype(np.float64),
        }[how]
        for stack in (DARKS, FLATS)
    )
    lines = -np.log((scan - dark) / (flat - dark)).astype(np.float32)
    expected = reconstruct(lines, ANGLES, settings=SETTINGS)
    volume = reconstruct(scan, ANGLES, darks=DARKS, flats=FLATS, settings=settings)
    np.testing.assert_allclose(volume, expected, atol=2e-6)


@pytest.mark.parametrize("center", [46.3, None])
@pytest.mark.parametrize("size", [7, 16, COUNT])
def test_a_projection_that_is_taken_again_counts(
    scan: NDArray[np.uint16], size: int, center: float | None
) -> None:
    # "Later ones win where they overlap", and the bits are those of a scan that was right at once.
    settings = SETTINGS.updated(center=center)
    whole = reconstruct(scan, ANGLES, darks=DARKS, flats=FLATS, settings=settings)
    spoiled = scan.copy()
    spoiled[37:101] = 60000
    reconstructor = _streamed(spoiled, _cut([50, 51, 49])[:2], settings)
    reconstructor.slices()  # the spoiled ones have been gridded
    reconstructor.planes()
    for start in range(37, COUNT, size):
        reconstructor.add_projections(scan[start : start + size], start, replace=True)
    planes = reconstructor.planes()
    result = reconstructor.finish()
    np.testing.assert_array_equal(result.volume, whole)
    assert result.missing == ()
    np.testing.assert_array_equal(planes.xy, _streamed(scan, [(0, COUNT)], settings).planes().xy)


def test_replacing_leaves_the_arrays_of_others_alone(scan: NDArray[np.uint16]) -> None:
    before = scan.copy()
    reconstructor = Reconstructor(
        SETTINGS, num_projections=COUNT, frame_shape=(ROWS, COLUMNS), angles=ANGLES
    )
    reconstructor._adopt(scan)
    reconstructor.add_projections(np.zeros((3, ROWS, COLUMNS), np.uint16), 5, replace=True)
    np.testing.assert_array_equal(scan, before)


def test_darks_and_flats_are_forgotten_and_taken_again(scan: NDArray[np.uint16]) -> None:
    whole = reconstruct(scan, ANGLES, darks=DARKS, flats=FLATS, settings=SETTINGS)
    reconstructor = Reconstructor(
        SETTINGS, num_projections=COUNT, frame_shape=(ROWS, COLUMNS), angles=ANGLES
    )
    reconstructor.add_darks(DARKS + 50)
    reconstructor.add_flats(FLATS // 2)
    reconstructor.add_projections(scan[:100], 0)
    reconstructor.slices()
    reconstructor.forget_darks()
    reconstructor.forget_flats()
    reconstructor.add_darks(DARKS)
    reconstructor.add_flats(FLATS)
    reconstructor.add_projections(scan[100:], 100)
    np.testing.assert_array_equal(reconstructor.finish().volume, whole)


MEASURED = ANGLES + 0.02 + 0.003 * np.sin(np.arange(COUNT) / 9)  # a late start and a wobble


def _with_angles_in_blocks(
    scan: NDArray[np.uint16], settings: ReconstructionSettings, frames: int, lag: int, look: bool
) -> Reconstructor:
    reconstructor = Reconstructor(
        settings, num_projections=COUNT, frame_shape=(ROWS, COLUMNS), angles=ANGLES
    )
    reconstructor.add_darks(DARKS)
    reconstructor.add_flats(FLATS)
    known = np.zeros(COUNT, bool)
    reconstructor.set_angles(ANGLES, known)
    for start in range(0, COUNT, frames):
        reconstructor.add_projections(scan[start : start + frames], start)
        if look and start > 30:
            reconstructor.slices()
        known[: max(0, start - lag)] = True
        reconstructor.set_angles(np.where(known, MEASURED, ANGLES + 0.02), known)
    known[:] = True
    reconstructor.set_angles(MEASURED, known)
    return reconstructor


@pytest.mark.parametrize("settings", [
    SETTINGS, SETTINGS.updated(center=None), SETTINGS.updated(axis_angle_x=0.05, slices=(0, 1, 2)),
], ids=["gridding", "axis unknown", "general"])  # fmt: skip
def test_angles_that_follow_in_blocks_give_the_same_bits(
    scan: NDArray[np.uint16], settings: ReconstructionSettings
) -> None:
    whole = _with_angles_in_blocks(scan, settings, COUNT, 0, False).finish()
    for frames, lag, look in ((10, 25, False), (7, 0, True), (33, 60, True)):
        again = _with_angles_in_blocks(scan, settings, frames, lag, look).finish()
        np.testing.assert_array_equal(again.volume, whole.volume)
    close = reconstruct(scan, MEASURED, darks=DARKS, flats=FLATS, settings=settings)
    off = reconstruct(scan, ANGLES, darks=DARKS, flats=FLATS, settings=settings)
    difference = np.sqrt(np.mean((whole.volume - close) ** 2))
    assert difference < 0.2 * np.sqrt(
        np.mean((off - close) ** 2)
    )  # only the weights differ: they follow the plan


def test_angles_that_never_come_are_the_planned_ones(scan: NDArray[np.uint16]) -> None:
    reconstructor = Reconstructor(
        SETTINGS, num_projections=COUNT, frame_shape=(ROWS, COLUMNS), angles=ANGLES
    )
    reconstructor.add_darks(DARKS)
    reconstructor.add_flats(FLATS)
    reconstructor.set_angles(ANGLES, np.zeros(COUNT, bool))
    reconstructor.add_projections(scan, 0)
    whole = reconstruct(scan, ANGLES, darks=DARKS, flats=FLATS, settings=SETTINGS)
    np.testing.assert_array_equal(reconstructor.finish().volume, whole)


def test_a_projection_that_is_taken_again_has_another_angle(scan: NDArray[np.uint16]) -> None:
    once = _with_angles_in_blocks(scan, SETTINGS, COUNT, 0, False).finish()
    reconstructor = _with_angles_in_blocks(scan, SETTINGS, 10, 0, True)
    early = MEASURED.copy()
    early[40:44] += 0.01
    first = Reconstructor(
        SETTINGS, num_projections=COUNT, frame_shape=(ROWS, COLUMNS), angles=ANGLES
    )
    first.add_darks(DARKS)
    first.add_flats(FLATS)
    first.add_projections(scan, 0)
    first.set_angles(early, np.ones(COUNT, bool))
    first.add_projections(scan[40:44], 40, replace=True)
    first.set_angles(MEASURED, np.ones(COUNT, bool))
    np.testing.assert_array_equal(first.finish().volume, once.volume)
    np.testing.assert_array_equal(reconstructor.finish().volume, once.volume)
    with pytest.raises(
        ParameterError, match=r"known: flags of shape \(1,\) were given for 150 projections"
    ):
        first.set_angles(MEASURED, [True])
