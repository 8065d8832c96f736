"""Images made small enough for a display."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from concertino import ParameterError
from concertino.viewers import LONGEST_SIDE_PX, downsample


@given(height=st.integers(1, 300), width=st.integers(1, 300), longest=st.integers(1, 128))
def test_every_nth_row_and_every_nth_column(height: int, width: int, longest: int) -> None:
    image = np.arange(height * width, dtype=np.uint32).reshape(height, width)

    small = downsample(image, longest)

    step = -(-max(height, width) // longest)
    down, across = (step if 4 * side >= longest else 1 for side in (height, width))
    assert max(small.shape) <= longest
    np.testing.assert_array_equal(small, image[::down, ::across])


@pytest.mark.parametrize("shape", [(2048, 2048), (2, 640), (5000, 16), (1024, 1024)])
def test_default_size(shape: tuple[int, int]) -> None:
    assert max(downsample(np.zeros(shape, np.uint8)).shape) <= LONGEST_SIDE_PX


@pytest.mark.parametrize(
    ("given_type", "sent_type"),
    [
        ("uint8", "uint8"), ("uint16", "uint16"), (">u2", "uint16"), ("int16", "int16"),
        ("uint32", "uint32"), ("int64", "float32"), ("float32", "float32"), (">f4", "float32"),
        ("float64", "float32"), ("float16", "float32"), ("bool", "uint8"), ("complex64", "float32"),
    ],
)  # fmt: skip
def test_types(given_type: str, sent_type: str) -> None:
    image = np.array([[0, 1], [1, 0]]).astype(given_type)

    small = downsample(image)

    assert small.dtype == np.dtype(sent_type)
    assert small.dtype.isnative
    assert small.flags.c_contiguous
    np.testing.assert_array_equal(small, [[0, 1], [1, 0]])


def test_modulus_of_complex_values() -> None:
    assert downsample(np.array([[3 + 4j]]))[0, 0] == 5


def test_it_is_a_copy() -> None:
    image = np.zeros((4, 4), np.uint16)

    small = downsample(image)
    image[:] = 7

    assert small.max() == 0


@pytest.mark.parametrize(
    "wrong", [np.zeros(4), np.zeros((2, 2, 2)), np.zeros((0, 4)), np.array([["a", "b"]])]
)
def test_no_image(wrong: NDArray[Any]) -> None:
    with pytest.raises(ParameterError) as caught:
        downsample(wrong)

    assert str(caught.value) == (
        "A live view shows images (height, width) of numbers, and was given an array of shape "
        f"{wrong.shape} and type {wrong.dtype}. Give it one image."
    )
