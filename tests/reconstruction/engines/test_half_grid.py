"""A slice without a partner, which half of a grid does for."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino.reconstruction import ReconstructionSettings, Reconstructor, reconstruct

COUNT = 40
ANGLES = np.arange(COUNT) * np.pi / COUNT
CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "whole": (64, {}),
    "odd": (65, {}),
    "axis aside": (64, {"center": 20.3}),
    "window": (64, {"x_region": (-9.0, 11.0, 0.5), "y_region": (3.0, 10.0, 1.0)}),
    "wide pixels": (64, {"x_region": (-30.0, 30.0, 2.0), "y_region": (-30.0, 30.0, 3.0)}),
    "threads": (64, {"threads": 3}),
}


def noise(rows: int, columns: int) -> NDArray[np.float32]:
    """Lines that reach every cell of a grid, up to its highest frequencies."""
    lines = np.random.default_rng(6).normal(size=(COUNT, rows, columns))
    return lines.astype(np.float32)


@pytest.mark.parametrize(("columns", "changes"), CASES.values(), ids=CASES)
def test_it_is_the_slice_that_it_is_beside_another(columns: int, changes: dict[str, Any]) -> None:
    settings = ReconstructionSettings(**{"center": (columns - 1) / 2, **changes})
    lines = noise(2, columns)
    (beside, _) = reconstruct(lines, ANGLES, settings=settings)
    (alone,) = reconstruct(lines[:, :1], ANGLES, settings=settings)
    np.testing.assert_allclose(alone, beside, rtol=0, atol=2e-6 * float(np.abs(beside).max()))


@pytest.mark.parametrize("before", [2, 4, 6, 8, 10])
def test_its_bits_do_not_depend_on_the_pairs_before_it(before: int) -> None:
    settings = ReconstructionSettings(center=31.5)
    lines = noise(before + 1, 64)
    volume = reconstruct(lines, ANGLES, settings=settings)
    (alone,) = reconstruct(lines[:, before:], ANGLES, settings=settings)
    np.testing.assert_array_equal(volume[before], alone)
    pair = reconstruct(lines[:, before - 2 : before], ANGLES, settings=settings)
    np.testing.assert_array_equal(volume[before - 2 : before], pair)


def test_its_grid_takes_half_of_the_memory() -> None:
    needed = []
    for rows in (1, 2):
        settings = ReconstructionSettings(center=511.5, threads=1)
        job = Reconstructor(
            settings, num_projections=8, frame_shape=(rows, 1024), angles=ANGLES[:8]
        )
        needed.append(job.memory_bytes)
    cells = (1.25 * 1024) ** 2
    # the other row, slice and half of a grid of two lanes
    assert needed[1] - needed[0] == pytest.approx(4 * cells + 4 * 1024**2, rel=0.1)
