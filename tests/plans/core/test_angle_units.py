"""A rotation in any unit of an angle: the angles that are recorded are those that it turned to."""

from pathlib import Path

import numpy as np
import pytest

from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline, SimulatedMotor
from concertino.plans import step_tomography
from concertino.session import open_session
from concertino.storage import open_run, run_angles


@pytest.mark.parametrize(
    "unit", ["deg", "rad", "radian", "mrad", "urad", "mdeg", "arcmin", "arcsec", "turn", "degree"]
)
def test_read_backs_are_in_the_unit_of_the_rotation(tmp_path: Path, unit: str) -> None:
    b = SimulatedBeamline(shape=(8, 16), exposure=0.001, frame_rate=200)
    rotation = SimulatedMotor(
        unit, velocity=1e8, max_velocity=1e9, acceleration_time=0.01, name="rotation"
    )
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        (uid,) = session.RE(
            step_tomography(
                b.camera, rotation, b.beam, b.sample_stage, radio_position="0 mm",
                flat_position="10 mm", num_darks=1, num_flats=1, num_projections=4,
                angular_range="180 deg",
            )
        )  # fmt: skip
    angles = run_angles(open_run(uid, tmp_path))
    assert angles.source == "readback"
    np.testing.assert_allclose(angles.angles_deg, [0, 45, 90, 135], atol=0.3)
