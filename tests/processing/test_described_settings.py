"""What a run tells completes the settings of its reconstruction: phase retrieval and the geometry of a cone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.constants

from concertino import ParameterError
from concertino.callbacks import OnlineReconstruction, described_settings
from concertino.devices import DetectorStage, Monochromator, SimulatedBeamline
from concertino.documents import TomoBlock
from concertino.plans import step_tomography, with_optics
from concertino.reconstruction import ReconstructionSettings
from concertino.reconstruction.preprocessing._phase import phase_filter
from concertino.session import open_session


def block(**told: Any) -> TomoBlock:
    return TomoBlock(
        scheme="equidistant", acquisition="stepped", num_projections=9, camera="camera",
        start_angle_deg=0, angular_range_deg=360, **told,
    )  # fmt: skip


TIE: dict[str, Any] = {"phase_method": "tie", "delta_beta": 100.0}
TOLD: dict[str, Any] = {"energy_kev": 25.0, "propagation_distance_mm": 200.0, "pixel_size_um": 0.8}


def test_phase_retrieval_is_by_the_energy_of_the_run() -> None:
    settings = described_settings(ReconstructionSettings(**TIE), block(**TOLD))
    found = phase_filter((64, 64), settings)
    # Paganin's filter, 1 / (1 + (delta / beta) pi wavelength z f²), by CODATA; f of row 1, in 1/m.
    c = scipy.constants
    wavelength = c.h * c.c / (25e3 * c.e)
    frequency = 1 / (64 * 0.8e-6)
    truth = 1 / (1 + 100 * np.pi * wavelength * 0.2 * frequency**2)
    assert found[1, 0] == pytest.approx(truth, rel=1e-6)


def test_a_cone_is_retrieved_as_its_parallel_beam() -> None:
    # Pogany: a cone from 100 mm that is seen 300 mm behind, 4 times as large, is a parallel beam after 75 mm.
    cone = {**TOLD, "source_distance_mm": 100.0, "propagation_distance_mm": 300.0}
    in_cone = described_settings(ReconstructionSettings(**TIE), block(**cone, source_kind="tube"))
    assert in_cone.magnification == pytest.approx(4)
    assert in_cone.pixel_size_um == pytest.approx(3.2)
    detector_mm = 3.2e-3
    assert in_cone.source_distance == pytest.approx(100 / detector_mm)
    assert in_cone.detector_distance == pytest.approx(300 / detector_mm)
    parallel = described_settings(
        ReconstructionSettings(**TIE), block(**{**TOLD, "propagation_distance_mm": 75.0})
    )
    assert phase_filter((32, 48), in_cone) == pytest.approx(phase_filter((32, 48), parallel))
    # A ring's source is so far away that its beam is taken as parallel.
    ring = block(**{**cone, "source_distance_mm": 44e3}, source_kind="synchrotron")
    assert described_settings(ReconstructionSettings(), ring).source_distance is None
    mine = ReconstructionSettings(source_distance=1e5)
    assert described_settings(mine, block(**cone, source_kind="tube")) == mine


def test_what_the_settings_say_holds_and_is_compared(caplog: pytest.LogCaptureFixture) -> None:
    mine = ReconstructionSettings(**TIE, energy_kev=30)
    found = described_settings(mine, block(**TOLD))
    assert (found.energy_kev, found.propagation_distance_mm) == (30, 200)
    assert "energy_kev: 30 was given for the phase retrieval, and the run was taken with 25" in (
        caplog.text
    )
    with pytest.raises(
        ParameterError, match=r"needs energy_kev, propagation_distance_mm, which nei"
    ):
        described_settings(ReconstructionSettings(**TIE), block(pixel_size_um=1))


def test_a_live_reconstruction_has_it_by_itself(tmp_path: Path) -> None:
    b = SimulatedBeamline(shape=(8, 16), exposure=0.002)
    plan = step_tomography(
        b.camera, b.rotation, b.beam, b.sample_stage, radio_position=0, flat_position=2,
        num_darks=2, num_flats=2, num_projections=8,
    )  # fmt: skip
    online = OnlineReconstruction(ReconstructionSettings(**TIE, slices=(4,), center=7.5))
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(online)
        session.RE(with_optics(plan, Monochromator(energy=25), DetectorStage(distance=200)))
        session.wait(60)
    assert online.result is not None
    used = online.result.settings
    assert (used.energy_kev, used.propagation_distance_mm, used.pixel_size_um) == (25, 200, 5)
