"""How far an image has moved against another, to a fraction of a pixel."""

import numpy as np
import pytest
import scipy.ndimage
from numpy.typing import NDArray

from concertino import ParameterError
from concertino.reconstruction import image_shift


def blobs(seed: int = 0, shape: tuple[int, int] = (80, 120)) -> NDArray[np.float64]:
    image = scipy.ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3.0)
    return np.asarray(image / image.std(), np.float64)


@pytest.mark.parametrize(
    ("rows", "columns"), [(0.0, 0.0), (0.3, -0.4), (2.0, -3.0), (-1.25, 5.5), (11.6, 0.2)]
)
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_a_known_shift(rows: float, columns: float, noise: float) -> None:
    rng = np.random.default_rng(1)
    wide = blobs(shape=(140, 180))
    moved = scipy.ndimage.shift(wide, (rows, columns), order=5)
    first, second = (image[30:110, 30:150] for image in (wide, moved))
    found = image_shift(
        first + noise * rng.normal(size=first.shape), second + noise * rng.normal(size=first.shape)
    )
    allowed = 0.05 if noise == 0 else 0.15
    assert found.rows_px == pytest.approx(rows, abs=allowed)
    assert found.columns_px == pytest.approx(columns, abs=allowed)
    assert found.confidence > 0.6


def test_nothing_to_see_has_no_confidence() -> None:
    rng = np.random.default_rng(2)
    noise = image_shift(rng.normal(size=(80, 120)), rng.normal(size=(80, 120)))
    assert noise.confidence < 0.4
    assert image_shift(np.ones((16, 16)), np.ones((16, 16))).confidence == 0.0
    assert image_shift(blobs(0), blobs(1)).confidence < 0.5


def test_no_images() -> None:
    with pytest.raises(ParameterError) as caught:
        image_shift(np.zeros((4, 9)), np.zeros((4, 9)))
    assert str(caught.value) == (
        "first, second: arrays of shape (4, 9) and (4, 9) were given; give two images (row, column) of "
        "one shape, at least 8 × 8."
    )
