"""The heights of a spiral are where its stage was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concertino import DocumentError
from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline, SimulatedMotor
from concertino.plans import (
    continuous_spiral_tomography,
    step_spiral_tomography,
    step_tomography,
)
from concertino.session import open_session
from concertino.storage import Run, open_run, run_heights

AROUND: dict[str, Any] = {
    "radio_position": "0 mm", "flat_position": "1 mm", "num_darks": 1, "num_flats": 1,
    "num_projections": 10,
}  # fmt: skip
SPIRAL: dict[str, Any] = {
    "start_position_vertical": "0.1 mm", "vertical_shift_per_tomogram": "-1 mm", "sample_height": "1 mm",
}  # fmt: skip


def taken(root: Path, b: SimulatedBeamline, plan: Any) -> Run:
    with open_session(root, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        session.RE(plan)
    return open_run(-1, root)


@pytest.mark.parametrize("plan", [step_spiral_tomography, continuous_spiral_tomography])
def test_they_are_those_of_the_stage_in_any_unit(tmp_path: Path, plan: Any) -> None:
    b = SimulatedBeamline(shape=(8, 16), exposure=0.002, frame_rate=50)
    # It sets out later than the rotation, by more than its heights could follow from angles.
    stage = SimulatedMotor(
        "um", velocity=20_000.0, acceleration_time=0.3, max_velocity=50_000.0, name="lift"
    )
    run = taken(
        tmp_path, b, plan(b.camera, b.rotation, stage, b.beam, b.sample_stage, **SPIRAL, **AROUND)
    )
    heights = run_heights(run)
    times_s = run.frames("projections").index["timestamp_ns"] * 1e-9
    run.close()

    assert len(heights) == 20
    truth = [stage.position_at(time_s) / 1000 for time_s in times_s]
    np.testing.assert_allclose(heights, truth, atol=2e-3)  # at 5 mm/s


def test_there_are_none_of_a_scan_that_does_not_rise(tmp_path: Path) -> None:
    b = SimulatedBeamline(shape=(8, 16), exposure=0.001, frame_rate=100)
    run = taken(
        tmp_path, b, step_tomography(b.camera, b.rotation, b.beam, b.sample_stage, **AROUND)
    )
    with pytest.raises(
        DocumentError,
        match=r"The heights of scan_0001 were asked for, and its scheme is 'equidistant': .* Choose a run of a spiral\.",
    ):
        run_heights(run)
    run.close()
