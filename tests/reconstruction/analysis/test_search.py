"""Sweeps and searches: the true value wins, and doubt is said."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino import ParameterError, ReconstructionError
from concertino.reconstruction import (
    Metric,
    ReconstructionSettings,
    Reconstructor,
    find_parameter,
    reconstruct,
    slice_metric,
)
from concertino.reconstruction.analysis._search import search
from tests.reconstruction.analytic import ball_lines, disc_lines
from tests.reconstruction.oracle import disc_found
from tests.reconstruction.phantoms import ellipse_sinogram

COLUMNS, COUNT = 128, 180
ANGLES = np.arange(COUNT) * np.pi / COUNT
CENTER = 60.3


@pytest.fixture(scope="module")
def lines() -> NDArray[np.float32]:
    one = ellipse_sinogram(COLUMNS, ANGLES, CENTER, 50.0)
    return np.stack([one, 1.1 * one, 1.2 * one], axis=1).astype(np.float32)


def test_a_sweep_gives_one_slice_for_each_value(lines: NDArray[np.float32]) -> None:
    settings = ReconstructionSettings(z_parameter="center", region=(58, 63, 1), slices=(1,))
    strip = reconstruct(lines, ANGLES, settings=settings)
    assert strip.shape == (5, COLUMNS, COLUMNS)
    alone = reconstruct(lines, ANGLES, settings=ReconstructionSettings(center=60, slices=(1,)))
    np.testing.assert_allclose(strip[2], alone[0], atol=1e-5 * alone.max())


WAYS: dict[str, dict[str, Any]] = {
    "as they are": {},
    "odd filter": {"filter": "faris-byer"},
    "edges, zingers": {"padding": "edge", "zinger_threshold": 0.1, "filter": "hann"},
    "stripes": {"stripe_removal": "normalisation"},
    "a window": {"x_region": (-20.0, 30.0, 1.0), "y_region": (-10.0, 40.0, 0.5)},
    "coarse": {"x_region": (-60.0, 60.0, 2.0), "y_region": (-60.0, 60.0, 2.0)},
}


@pytest.mark.parametrize(
    ("parameter", "how"),
    [("center", how) for how in WAYS.values()] + [("cutoff", WAYS["odd filter"])],
    ids=[*WAYS, "cut-off"],
)
def test_slices_that_share_grids_are_those_that_are_made_alone(
    lines: NDArray[np.float32], parameter: str, how: dict[str, Any]
) -> None:
    """Several widths of the filter, a grid that is not full, and projections that are missing."""
    values = [CENTER - 3.5 + 0.7 * i for i in range(13)] if parameter == "center" else [0.3, 0.6, 1]
    settings = ReconstructionSettings(center=CENTER, slices=(1,), **how)
    strips = []
    for threads, memory_gib in ((1, None), (2, 0.03), (3, None)):
        job = Reconstructor(
            settings.updated(threads=threads, memory_gib=memory_gib),
            num_projections=COUNT, frame_shape=(3, COLUMNS), angles=ANGLES,
        )  # fmt: skip
        job.add_projections(lines[:100], 0)
        job.add_projections(lines[107:], 107)
        strips.append(job.search.sweep(parameter, values))
    np.testing.assert_array_equal(strips[1], strips[0])
    np.testing.assert_array_equal(strips[2], strips[0])
    for value, image in zip(values, strips[0], strict=True):
        alone = job.with_settings(settings.updated(**{parameter: value})).finish().volume[0]
        np.testing.assert_allclose(image, alone, rtol=0, atol=1e-5 * np.abs(alone).max())


def test_discs_have_their_values_at_their_places_in_a_sweep_of_the_axis() -> None:
    """The truth is the chords of discs about an axis that is one of those that are tried."""
    discs = [(20.3, 10.2, 8.0, 0.02), (0.0, 0.0, 45.0, 0.01)]
    sinogram = disc_lines(COLUMNS, ANGLES, CENTER, discs)
    job = Reconstructor(
        ReconstructionSettings(), num_projections=COUNT, frame_shape=(1, COLUMNS), angles=ANGLES
    )
    job.add_projections(sinogram, 0)
    strip = job.search.sweep("center", [CENTER + shift for shift in (-2, -1, 0, 1, 2)])
    value, x, y = disc_found(strip[2] - 0.01, 20.3, 10.2, 8.0)
    assert value == pytest.approx(0.02, rel=0.01)
    assert (x, y) == pytest.approx((20.3, 10.2), abs=0.05)


def test_an_axis_outside_of_the_detector_is_refused_in_a_sweep(lines: NDArray[np.float32]) -> None:
    job = Reconstructor(ReconstructionSettings(), num_projections=COUNT, frame_shape=(3, COLUMNS))
    with pytest.raises(ReconstructionError, match="0 of 180 projections have come"):
        job.search.sweep("center", [60.0, 61.0])
    job.add_projections(lines, 0)
    with pytest.raises(ParameterError, match="center: 128 px lies outside"):
        job.search.sweep("center", [60.0, 128.0])


@pytest.mark.parametrize("metric", ["std", "tenengrad", "sag", "negativity", "entropy"])
def test_the_axis_by_the_sharpest_slice(lines: NDArray[np.float32], metric: Metric) -> None:
    found = find_parameter(
        lines, ANGLES, parameter="center", region=(56.0, 65.0, 1.0), metric=metric
    )
    assert found.value == pytest.approx(CENTER, abs=0.3)
    assert found.confidence > 0.7
    assert len(found.values) == len(found.metrics) > 9
    assert (np.diff(found.values) > 0).all()


@pytest.mark.parametrize("turns", [0.5, 1.0])
def test_the_axis_of_half_and_full_turns_by_default(turns: float) -> None:
    angles = np.arange(int(2 * turns * COUNT)) * np.pi / COUNT
    true = ellipse_sinogram(COLUMNS, angles, CENTER, 50.0)
    lines = (true + np.random.default_rng(1).normal(0, 2, true.shape)).astype(np.float32)[:, None]
    found = find_parameter(lines, angles, parameter="center", region=(55.0, 66.0, 1.0))
    assert found.value == pytest.approx(CENTER, abs=0.2)
    assert found.confidence > 0.3


def test_a_best_value_at_the_edge_is_not_in_the_region(lines: NDArray[np.float32]) -> None:
    words = "center: of the values 62 to 70 the first one, 62,.*not in the region. Move the region"
    with pytest.raises(ReconstructionError, match=words):
        find_parameter(lines, ANGLES, parameter="center", region=(62.0, 71.0, 1.0))


def test_noise_has_no_best_value() -> None:
    noise = np.random.default_rng(0).normal(size=(COUNT, 1, COLUMNS)).astype(np.float32)
    found = find_parameter(noise, ANGLES, parameter="center", region=(50.0, 75.0, 1.0))
    assert found.confidence < 0.3


@pytest.mark.parametrize("together", [False, True])
def test_several_settings_in_turn_and_together(lines: NDArray[np.float32], together: bool) -> None:
    job = Reconstructor(
        ReconstructionSettings(slices=(0,)),
        num_projections=COUNT,
        frame_shape=(3, COLUMNS),
        angles=ANGLES,
    )
    job.add_projections(lines, 0)
    regions = {"center": (57.0, 64.0, 1.0), "overall_angle": (-0.2, 0.25, 0.1)}
    found = job.search.find_parameters(
        regions, "negativity", iterations=2, together=together, smoothing=3
    )
    assert list(found) == list(regions)
    assert found["center"].value == pytest.approx(CENTER, abs=0.3)
    assert found["center"].confidence > 0.7
    assert len(found["center"].metrics) >= 7
    assert len(found["overall_angle"].metrics) >= 5


def test_smoothing_finds_the_summit_that_noise_hides() -> None:
    noise = np.zeros(41)

    def slices_at(
        changes: Sequence[Mapping[str, float]],
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        for place, value in reversed([*enumerate(change["center"] for change in changes)]):
            brightness = noise[round(value)] - (value - 23.0) ** 2
            yield place, np.full((1, 1), brightness, np.float32)

    errors, confidence = np.zeros((20, 2)), np.zeros((20, 2))
    for seed in range(20):
        noise[:] = np.random.default_rng(seed).normal(0, 60, 41)
        for case, places in enumerate((1, 9)):
            found = search(
                slices_at, "center", (0.0, 41.0, 1.0), "max", smoothing=places, refinements=0
            )
            errors[seed, case] = abs(found.value - 23.0)
            confidence[seed, case] = found.confidence
    assert errors[:, 1].mean() < 0.6 * errors[:, 0].mean()
    assert (confidence[:, 1] > confidence[:, 0]).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_sweep_and_search_share_their_slices(lines: NDArray[np.float32], threads: int) -> None:
    settings = ReconstructionSettings(slices=(1,), threads=threads)
    job = Reconstructor(settings, num_projections=COUNT, frame_shape=(3, COLUMNS), angles=ANGLES)
    job.add_projections(lines, 0)
    region = (CENTER - 3.0, CENTER + 3.5, 1.0)
    made: list[Any] = []
    slices_with = job.search.slices_with
    job.search.slices_with = lambda changes, *a: made.extend(changes) or slices_with(changes, *a)  # type: ignore[func-returns-value,method-assign]
    strip, found = job.search.sweep_and_find("center", region)
    # nine about the best of the seven, which is known, and halves of the projections at the best value
    assert len(made) <= len(found.metrics) + 2
    job.search.slices_with = slices_with  # type: ignore[method-assign]
    np.testing.assert_array_equal(
        strip, job.search.sweep("center", [region[0] + i for i in range(7)])
    )
    one = reconstruct(lines, ANGLES, settings=settings.updated(center=region[0] + 2))
    np.testing.assert_allclose(strip[2], one[0], atol=1e-5 * one.max())
    assert found.value == pytest.approx(job.search.find_parameter("center", region).value, abs=0)


def test_an_axis_and_its_pitch_that_are_searched_together_are_found() -> None:
    """The pitch is among the changes where the axis is searched, and with it no row is a slice."""
    angles = np.arange(60) * 2 * np.pi / 60
    balls = [(9.0, 4.0, 2.0, 4.0, 0.02), (-8.0, -5.0, -1.0, 3.0, 0.03)]
    job = Reconstructor(
        ReconstructionSettings(center=23.0, slices=(12,)),
        num_projections=60, frame_shape=(24, 48), angles=angles, keep_rows="all",
    )  # fmt: skip
    job.add_projections(ball_lines((24, 48), angles, balls, pitch=0.1), 0)
    regions = {"axis_angle_x": (0.04, 0.16, 0.02), "center": (21.0, 26.5, 0.5)}
    found = job.search.find_parameters(regions)
    assert found["center"].value == pytest.approx(23.5, abs=0.05)
    assert found["axis_angle_x"].value == pytest.approx(0.1, abs=0.01)


def test_slices_of_a_sweep_go_side_by_side_as_far_as_there_is_memory(
    lines: NDArray[np.float32],
) -> None:
    """A slice here takes less than a MiB, and the 16 MiB that are counted for all that is small."""
    strips, values = [], [-0.1, 0.0, 0.1, 0.2, 0.3]
    for memory_gib, at_once in ((0.03, 1), (0.06, 3), (None, 4)):
        settings = ReconstructionSettings(
            slices=(1,), center=CENTER, threads=4, memory_gib=memory_gib
        )
        job = Reconstructor(
            settings, num_projections=COUNT, frame_shape=(3, COLUMNS), angles=ANGLES
        )
        job.add_projections(lines, 0)
        made: list[Any] = []
        with_settings = job._maker.with_settings
        job._maker.with_settings = lambda *a, **k: made.append(a) or with_settings(*a, **k)  # type: ignore[func-returns-value,method-assign]  # noqa: B023
        slices = job.search.slices_with([{"overall_angle": value} for value in values])
        first = next(slices)
        assert len(made) == at_once
        strips.append([image for _, image in sorted([first, *slices], key=lambda one: one[0])])
    np.testing.assert_array_equal(strips[1], strips[0])
    np.testing.assert_array_equal(strips[2], strips[0])


def test_again_with_other_settings(lines: NDArray[np.float32]) -> None:
    first = ReconstructionSettings(center=CENTER, slices=(0, 2))
    job = Reconstructor(first, num_projections=COUNT, frame_shape=(3, COLUMNS), angles=ANGLES)
    job.add_projections(lines, 0)
    job.finish()
    other = first.updated(filter="hann", slices=(2,), overall_angle=0.3)
    again = job.with_settings(other).finish()
    expected = reconstruct(lines, ANGLES, settings=other)
    np.testing.assert_array_equal(again.volume, expected)
    with pytest.raises(ReconstructionError, match="Row 1 is needed, and only 2 rows were kept"):
        job.with_settings(first.updated(slices=(1,)))
    with pytest.raises(ReconstructionError, match="Darks and flats were combined by average"):
        job.with_settings(first.updated(flats="median"))


def test_what_cannot_be_swept() -> None:
    with pytest.raises(ParameterError, match="'filter' is not a setting that can be swept"):
        ReconstructionSettings(z_parameter="filter", region=(0, 1, 1))
    with pytest.raises(ParameterError, match="z_parameter needs `region`"):
        ReconstructionSettings(z_parameter="center")
    with pytest.raises(ParameterError, match="holds 1 places; give at least 3"):
        find_parameter(np.zeros((4, 1, 16), np.float32), parameter="center", region=(7.0, 8.0, 1.0))


def test_metrics_of_a_known_image() -> None:
    image = np.zeros((9, 9))
    image[4, 4] = 2.0
    image[4, 5] = -1.0
    assert slice_metric(image, "max") == 2.0
    assert slice_metric(image, "min") == -1.0
    assert slice_metric(image, "sum") == 1.0
    assert slice_metric(image, "negativity") == 1.0
    assert slice_metric(image, "std") == pytest.approx(slice_metric(image, "var") ** 0.5)
    for metric in ("skew", "kurtosis", "sag", "entropy", "tenengrad", "mean"):
        assert slice_metric(image, metric) > 0
