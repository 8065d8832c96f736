"""Any geometry, against blobs whose line integrals are known along any ray."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino import ParameterError
from concertino.reconstruction import ReconstructionSettings, reconstruct

COLUMNS, ROWS = 96, 64
# x, y, z, width, amplitude
BLOBS = ((8.0, 14.0, -6.0, 4.0, 1.0), (-15.0, -3.0, 9.0, 5.0, 0.6), (4.0, -12.0, 2.0, 3.5, 0.8))


def _truth(
    x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64]
) -> NDArray[np.float64]:
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape, z.shape))
    for x0, y0, z0, width, amplitude in BLOBS:
        squared = (x - x0) ** 2 + (y - y0) ** 2 + (z - z0) ** 2
        total += amplitude * np.exp(-squared / (2 * width**2))
    return total


def _axes(pitch: float, roll: float) -> NDArray[np.float64]:
    """Columns: where the sample's x, y, z point when the stage stands at 0."""
    c, s = np.cos(pitch), np.sin(pitch)
    tilt = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    c, s = np.cos(roll), np.sin(roll)
    return np.asarray(np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ tilt)


def _projections(
    angles: NDArray[np.float64],
    *,
    center: float = (COLUMNS - 1) / 2,
    pitch: float = 0.0,
    roll: float = 0.0,
    source: float | None = None,
    detector: float = 0.0,
    lift: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """Exact projections, made ray by ray in the world of the beamline."""
    columns, rows = np.meshgrid(np.arange(COLUMNS) - center, (ROWS - 1) / 2 - np.arange(ROWS))
    out = np.zeros((len(angles), ROWS, COLUMNS))
    for index, angle in enumerate(angles):
        height = 0.0 if lift is None else lift[index]
        pixel = np.stack([columns, np.full_like(columns, detector), rows], axis=-1)
        if source is None:
            start, direction = pixel, np.broadcast_to([0.0, 1.0, 0.0], pixel.shape)
        else:
            start = np.broadcast_to([0.0, -source, 0.0], pixel.shape)
            direction = pixel - start
            direction = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
        c, s = np.cos(angle), np.sin(angle)
        for x0, y0, z0, width, amplitude in BLOBS:
            turned = np.array([x0 * c + y0 * s, -x0 * s + y0 * c, z0])
            place = _axes(pitch, roll) @ turned + np.array([0.0, 0.0, height])
            along = place - start
            nearest = along - (along * direction).sum(-1, keepdims=True) * direction
            squared = (nearest**2).sum(-1)
            out[index] += amplitude * width * np.sqrt(2 * np.pi) * np.exp(-squared / 2 / width**2)
    return out.astype(np.float32)


HALF = np.arange(180) * np.pi / 180
FULL = np.arange(240) * 2 * np.pi / 240
MIDDLE = np.arange(COLUMNS) - (COLUMNS - 1) / 2
WINDOW = {"x_region": (-24.0, 24.0, 1.0), "y_region": (-24.0, 24.0, 1.0)}
X, Y = np.meshgrid(-24.0 + np.arange(48), 24.0 - np.arange(48))


def _error(settings: dict[str, Any], projections: Any, angles: Any, rows: list[int]) -> float:
    chosen = ReconstructionSettings(slices=tuple(rows), **WINDOW, **settings)
    volume = reconstruct(projections, angles, settings=chosen)
    heights = (ROWS - 1) / 2 - np.array(rows, dtype=float)
    truth = _truth(X[None], Y[None], heights[:, None, None])
    assert volume.shape == truth.shape
    return float(np.abs(volume - truth).max())


def test_the_general_way_agrees_with_parallel_slices() -> None:
    projections = _projections(HALF)
    settings: dict[str, Any] = {"center": (COLUMNS - 1) / 2}
    assert _error(settings, projections, HALF, [25, 30]) < 0.02
    assert _error({**settings, "detector_z": 1e-9}, projections, HALF, [25, 30]) < 0.02


def test_a_rolled_axis() -> None:
    projections = _projections(HALF, roll=0.1, center=45.0)
    settings: dict[str, Any] = {"center": 45.0, "axis_angle_y": 0.1}
    assert _error(settings, projections, HALF, [20, 30, 40]) < 0.05
    assert _error({"center": 45.0}, projections, HALF, [20, 30, 40]) > 0.1


def test_a_tilted_axis() -> None:
    projections = _projections(FULL, pitch=0.3)
    settings: dict[str, Any] = {"center": (COLUMNS - 1) / 2, "axis_angle_x": 0.3}
    assert _error(settings, projections, FULL, [20, 30, 40]) < 0.06
    plain = _error({"center": (COLUMNS - 1) / 2}, projections, FULL, [20, 30, 40])
    assert plain > 0.12


@pytest.mark.parametrize("magnified", [1.0, 1.25])
def test_cone_beam(magnified: float) -> None:
    source = 400.0
    detector = source * (magnified - 1.0)
    projections = _projections(FULL, source=source, detector=detector)
    settings: dict[str, Any] = {
        "center": (COLUMNS - 1) / 2,
        "source_distance": source,
        "detector_distance": detector,
    }
    chosen = ReconstructionSettings(region=(26, 38, 2), **WINDOW, **settings)
    volume = reconstruct(projections, FULL, settings=chosen)
    heights = (ROWS - 1) / 2 - np.arange(26.0, 38.0, 2.0)
    truth = _truth(X[None], Y[None], heights[:, None, None])
    assert np.abs(volume - truth).max() < 0.04


def test_a_helix_is_a_detector_that_moves() -> None:
    angles = np.arange(480) * 2 * np.pi / 240
    lift = np.linspace(-6, 6, 480)
    projections = _projections(angles, lift=lift)
    settings = {"center": (COLUMNS - 1) / 2, "detector_z": tuple((-lift).tolist())}
    assert _error(settings, projections, angles, [28, 34]) < 0.03


def test_an_oblique_plane() -> None:
    projections = _projections(HALF)
    angle = 0.4
    settings = ReconstructionSettings(
        center=(COLUMNS - 1) / 2, volume_angle_x=angle, region=(31.5, 32, 1), **WINDOW
    )
    plane = reconstruct(projections, HALF, settings=settings)
    truth = _truth(X, Y * np.cos(angle), Y * np.sin(angle))
    assert plane.shape == (1, 48, 48)
    assert np.abs(plane[0] - truth).max() < 0.03


def test_as_many_values_as_projections() -> None:
    settings = ReconstructionSettings(center=40, detector_x=(0.0, 1.0))
    with pytest.raises(ParameterError, match="detector_x: 2 values were given for 180 projections"):
        reconstruct(_projections(HALF), HALF, settings=settings)


def test_slices_of_a_volume_are_equally_spaced() -> None:
    settings = ReconstructionSettings(center=40, axis_angle_x=0.1, slices=(1, 2, 9))
    with pytest.raises(ParameterError, match="must be equally spaced"):
        reconstruct(_projections(HALF[:4]), HALF[:4], settings=settings)
