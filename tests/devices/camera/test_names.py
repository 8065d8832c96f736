"""Names that cannot be those of devices in a run: refused before anything is made, in a sentence."""

import os
from pathlib import Path
from typing import Any

import pytest

from concertino import ParameterError, ParameterTypeError
from concertino.devices import SimulatedBeamline, SimulatedMotor
from concertino.documents import check_device_name
from concertino.plans import CameraSet, radiography
from concertino.session import open_session

#: What no camera can be called: fields, streams and files have its name.
WRONG = ["a/b", "a.b", "../x", "a\0b", "a\nb", "a\\b", "a'b", 'a"b', "{a}", "x" * 101, "\ud800"]


@pytest.mark.parametrize("name", WRONG)
def test_a_camera_with_a_wrong_name_cannot_be_made(name: str) -> None:
    beamline = SimulatedBeamline(shape=(16, 16))
    with pytest.raises(ParameterError, match=r"camera: the name .* cannot be that of a device"):
        beamline.add_camera(name, shape=(16, 16))
    with pytest.raises(ParameterError, match=r"camera: the name .* cannot be that of a device"):
        beamline.camera.set_name(name)


@pytest.mark.parametrize("name", ["camera", "pco edge", "Käfer-2", "BL1:CAM+x(2)", "x" * 100])
def test_other_names_are_right(name: str) -> None:
    assert SimulatedBeamline(shape=(16, 16)).add_camera(name, shape=(16, 16)).name == name


def test_devices_of_others_are_refused_before_a_run(tmp_path: Path) -> None:
    class Foreign:
        """What a plan takes for a camera, of any library."""

        def __init__(self, camera: Any, name: Any) -> None:
            self._camera, self.name = camera, name

        def __getattr__(self, attribute: str) -> Any:
            return getattr(self._camera, attribute)

    b = SimulatedBeamline(shape=(16, 16))
    with pytest.raises(ParameterError, match=r"camera: the name 'a/b' .* it has '/'"):
        CameraSet((Foreign(b.camera, "a/b"),))
    stage = SimulatedMotor("mm", velocity=1.0, max_velocity=1.0, name="hutch.stage")
    with open_session(tmp_path, catalog=False, progress=False, guard=False) as session:
        with pytest.raises(ParameterError, match=r"the name 'hutch\.stage' .* it has '\.'"):
            session.RE(
                radiography(b.camera, b.beam, stage, radio_position="0 mm", flat_position="1 mm")
            )
        assert os.listdir(tmp_path) == [".sessions"]  # no run, only who is here
    with pytest.raises(ParameterTypeError, match="its name is 3"):
        check_device_name(3, "camera")
