"""What a camera server takes from a user's module, and what it refuses."""

from pathlib import Path
from typing import Any

import pytest
from ophyd_async.core import StaticPathProvider, UUIDFilenameProvider
from ophyd_async.sim import SimBlobDetector

from concertino import CameraError
from concertino.devices import DetectorCamera, FileCamera, SimulatedBeamline
from concertino.servers._served_source import served_source
from concertino.storage import sample_path


def test_a_camera_is_served_by_its_source() -> None:
    camera, files = SimulatedBeamline(shape=(8, 16)).camera, FileCamera(sample_path())
    assert served_source(camera) is camera.source
    assert served_source(files.source) is files.source


@pytest.mark.parametrize(("made", "said"), [(None, "given None"), (FileCamera, "given the class")])
def test_what_is_no_source_is_refused(made: Any, said: str) -> None:
    with pytest.raises(CameraError, match=f"{said}.* Give an object with shape"):
        served_source(made)


def test_detectors_that_write_their_own_files_stay_in_the_session(tmp_path: Path) -> None:
    detector = SimBlobDetector(StaticPathProvider(UUIDFilenameProvider(), tmp_path), name="blob")
    camera = DetectorCamera(detector)
    with pytest.raises(
        CameraError, match=r"given the DetectorCamera blob.*use DetectorCamera there"
    ):
        served_source(camera)
    with pytest.raises(CameraError, match="given a DetectorSource, which lives in the loop"):
        served_source(camera._own)
