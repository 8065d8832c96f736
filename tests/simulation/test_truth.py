"""The twin's frames, reconstructed, are the phantom's slices: they share one geometry."""

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino.reconstruction import ReconstructionSettings, reconstruct
from concertino.simulation import Beam, BeamlineState, Detector, Twin, ellipsoid_foam

SHAPE = (5, 256)
ANGLES = np.arange(400) * np.pi / 400


def reconstructed(twin: Twin, exposure: float = 0.005, duty: float = 0.0) -> NDArray[np.float32]:
    """Take darks, flats and projections, in which the rotation turns for `duty` of a step."""
    blur = duty * np.pi / 400

    def stack(states: list[BeamlineState], kind: str) -> NDArray[np.uint16]:
        out = np.empty((len(states), *twin.shape), np.uint16)
        for index, state in enumerate(states):
            twin.expose(state, exposure, out[index], index, kind=kind)
        return out

    darks = stack([BeamlineState(beam_on=0.0)] * 20, "darks")
    flats = stack([BeamlineState(sample_offset_mm=(9.0, 0.0))] * 20, "flats")
    views = stack(
        [BeamlineState(angle_start_rad=a - blur / 2, angle_end_rad=a + blur / 2) for a in ANGLES],
        "projections",
    )
    settings = ReconstructionSettings(center=twin.rotation_axis_px)
    return reconstruct(views, ANGLES, darks=darks, flats=flats, settings=settings)


def relative_error(volume: NDArray[np.float32], twin: Twin) -> float:
    worst = 0.0
    for row, image in enumerate(volume):
        truth = twin.phantom.slice(row, twin.shape, twin.detector.pixel_size_mm)
        inside = truth > 0
        error = np.sqrt(np.mean((image - truth)[inside] ** 2))
        worst = max(worst, float(error / np.sqrt(np.mean(truth[inside] ** 2))))
    return worst


def foam_twin(noise: bool, **kwargs: float) -> Twin:
    detector = Detector(SHAPE, 0.01) if noise else Detector(SHAPE, 0.01).even()
    drift = 0.01 if noise else 0.0
    return Twin(
        ellipsoid_foam(2, 40, radius_mm=1.05, height_mm=2.5, attenuation_per_mm=0.5),
        Beam(flux=6e6, drift=drift, wander_px=10 * drift),
        detector,
        axis_offset_px=kwargs.get("axis_offset_px", 6.25),
        noise=noise,
        supersampling=1 if noise else 2,
    )


@pytest.mark.parametrize("axis_offset_px", [0.0, -9.5, 6.25])
def test_without_noise(axis_offset_px: float) -> None:
    twin = foam_twin(False, axis_offset_px=axis_offset_px)
    assert relative_error(reconstructed(twin), twin) < 0.05


def test_with_noise_drift_rings_and_blur() -> None:
    twin = foam_twin(True)
    volume = reconstructed(twin, duty=0.5)
    truth = twin.phantom.slice(2, SHAPE, 0.01)
    assert 0.05 < relative_error(volume, twin) < 0.3
    assert volume[2][truth > 0].mean() == pytest.approx(truth[truth > 0].mean(), rel=0.01)
