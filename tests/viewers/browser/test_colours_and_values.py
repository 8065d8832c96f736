"""Histogram, limits, colours and the visible part of a picture."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from concertino import ParameterError
from concertino.viewers import PageSettings, Picture
from concertino.viewers.browser._colours import colour_table, colourise
from concertino.viewers.browser._values import values_of
from concertino.viewers.browser._visible_pixels import visible_pixels

GRAYS = colour_table([f"#{i:02x}{i:02x}{i:02x}" for i in range(256)])
SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@given(hnp.arrays(st.sampled_from([np.uint8, np.uint16, np.int16]), SHAPES))
def test_a_histogram_of_integers_counts_each_pixel_once(pixels: NDArray[Any]) -> None:
    values = values_of(pixels)

    assert values.counts.sum() == pytest.approx(pixels.size)
    assert (values.low, values.high) == (pixels.min(), pixels.max())
    counted, _ = np.histogram(pixels, values.edges)
    np.testing.assert_allclose(values.counts, counted)


@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(width=32)))
def test_floats_of_any_kind(pixels: NDArray[Any]) -> None:
    values = values_of(pixels)
    finite = pixels[np.isfinite(pixels)]

    assert np.isfinite([values.low, values.high, *values.between((1, 99))]).all()
    assert values.counts.sum() == pytest.approx(finite.size)


def test_percentiles() -> None:
    values = values_of(np.arange(1001, dtype=np.uint16).reshape(7, 143))

    assert values.between((0, 100)) == (0, 1000)
    assert values.between((1, 99)) == (10, 990)


def test_a_large_picture_is_sampled() -> None:
    pixels = np.random.default_rng(0).integers(0, 1000, (1024, 1024), dtype=np.uint16)

    values = values_of(pixels)

    assert values.counts.sum() == pytest.approx(pixels.size)
    assert values.between((10, 90)) == pytest.approx((100, 900), abs=5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_colours_of_limits(dtype: str) -> None:
    pixels = np.array([[0, 10, 60, 109, 110, 250]], dtype)

    grays = colourise(pixels, 10, 110, GRAYS).view(np.uint8).reshape(-1, 4)

    assert grays[:, 0].tolist() == [0, 0, 128, 253, 255, 255]
    np.testing.assert_array_equal(grays[:, 0], grays[:, 2])
    assert (grays[:, 3] == 255).all()


def test_nan_has_a_colour_of_its_own() -> None:
    pixels = np.array([[np.nan, 0.0, np.inf, -np.inf]], np.float32)

    red, black, white, black_too = colourise(pixels, 0, 1, GRAYS).view(np.uint8).reshape(4, 4)

    assert red.tolist() == [0xC0, 0x30, 0x30, 255]
    assert (black[0], white[0], black_too[0]) == (0, 255, 0)


def picture(height: int, width: int, step: int = 1) -> Picture:
    image = np.arange(height * width, dtype=np.uint32).reshape(height, width)
    return Picture("frames", "c", image[::step, ::step].copy(), (height, width), "", 0, 1)


def test_all_of_a_small_picture() -> None:
    part = visible_pixels(picture(30, 40), columns=(-0.5, 39.5), rows=(-0.5, 29.5), longest_px=100)

    assert part.pixels.shape == (30, 40)
    assert (part.left, part.top, part.width, part.height) == (-0.5, -0.5, 40, 30)


def test_a_zoomed_part_has_all_its_pixels_at_their_places() -> None:
    whole = picture(300, 400)

    part = visible_pixels(whole, columns=(100.2, 150.1), rows=(20.0, 60.0), longest_px=100)

    assert part.pixels[0, 0] == 20 * 400 + 100
    assert (part.left, part.top) == (99.5, 19.5)
    assert part.left + part.width >= 150.1


@given(
    size=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    step=st.integers(1, 4),
    ends=st.tuples(*[st.floats(-300, 300) for _ in range(4)]),
    longest=st.integers(1, 100),
)
def test_any_zoom(
    size: tuple[int, int], step: int, ends: tuple[float, float, float, float], longest: int
) -> None:
    part = visible_pixels(picture(*size, step), columns=ends[:2], rows=ends[2:], longest_px=longest)

    assert min(part.pixels.shape) >= 1
    # One more where the step does not divide the place it begins at.
    assert max(part.pixels.shape) <= longest + 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"limits": "automatic"},
            "The live view's limits were given as 'automatic'; they can be auto, fixed, full, stream "
            "or a pair of numbers (low, high).",
        ),
        (
            {"limits": (5.0, 1.0)},
            "The live view's fixed limits are (5.0, 1.0); give two numbers, the lower one first.",
        ),
        (
            {"percentiles": (5.0, 101.0)},
            "The live view's percentiles are (5.0, 101.0); give two numbers from 0 to 100, the "
            "lower one first.",
        ),
        (
            {"colour_map": "rainbow"},
            "The live view has no colour map 'rainbow'; it has gray, inverted, viridis, inferno, "
            "magma, cividis, turbo.",
        ),
        (
            {"refresh_hz": 0.0},
            "The live view's refresh rate is 0 Hz; give more than 0 and at most 60 Hz.",
        ),
    ],
)
def test_settings_that_cannot_work(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        PageSettings(**wrong)

    assert str(caught.value) == message
