"""What a plan says of a camera of another library: which of our devices takes it."""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from ophyd.areadetector import ADBase, SimDetector
from ophyd_async.core import StandardDetector, StaticPathProvider, UUIDFilenameProvider
from ophyd_async.sim import PatternGenerator, SimBlobDetector

from concertino import ParameterError
from concertino.devices import SimulatedBeamline
from concertino.plans import radiography
from concertino.plans.core._cameras import check_camera


def of_library(module: str, name: str, *parents: type) -> Any:
    """Return an object of a class of a library that is not installed here."""
    return type(name, parents, {"__module__": module})()


def refusal(camera: Any) -> str:
    with pytest.raises(ParameterError) as caught:
        check_camera(camera)
    return str(caught.value)


def test_a_detector_of_ophyd_async(tmp_path: Any) -> None:
    detector = SimBlobDetector(
        StaticPathProvider(UUIDFilenameProvider(), tmp_path), PatternGenerator(), name="detector"
    )
    assert isinstance(detector, StandardDetector)
    assert " Give DetectorCamera(detector) of concertino.devices instead." in refusal(detector)


def test_a_detector_of_ophyd() -> None:
    detector = SimDetector("NOWHERE:", name="detector")
    assert isinstance(detector, ADBase)
    assert " Give AreaDetectorCamera(detector) of concertino.devices" in refusal(detector)


@pytest.mark.parametrize(
    ("module", "name", "taker"),
    [
        ("pymmcore_plus.core._mmcore_plus", "CMMCorePlus", "Camera(MicroManagerSource(core))"),
        ("pymmcore._pymmcore_swig", "CMMCore", "Camera(MicroManagerSource(core))"),
        ("gi.repository.Aravis", "Camera", "Camera(GenicamSource(ID)), with the camera's identifier"),
    ],
)  # fmt: skip
def test_objects_of_libraries_that_are_no_devices(module: str, name: str, taker: str) -> None:
    assert f" Give {taker} of concertino.devices instead." in refusal(of_library(module, name))
    derived = of_library("mine", "Mine", type(of_library(module, name)))
    assert taker.split("(")[0] in refusal(derived)


@pytest.mark.parametrize(
    ("address", "taker"),
    [
        ("13SIM1:", "AreaDetectorCamera('13SIM1:')"),
        ("XF:31ID1-ES{SIM-Cam:1}", "AreaDetectorCamera('XF:31ID1-ES{SIM-Cam:1}')"),
        ("pva://13SIM1:Pva1:Image", "AreaDetectorCamera('pva://13SIM1:Pva1:Image')"),
        ("tcp://eiger.local:31001", "Camera(DectrisStreamSource('tcp://eiger.local:31001'))"),
        ("localhost:7001", "TangoCamera('localhost:7001')"),
        ("tango://host:10000/a/b/c", "TangoCamera('tango://host:10000/a/b/c')"),
        ("192.168.1.10", "Camera(GenicamSource('192.168.1.10'))"),
        (
            "http://dcu.facility",
            "Camera(DectrisStreamSource(STREAM, control='http://dcu.facility'))",
        ),
        ("scope.cfg", "Camera(MicroManagerSource('scope.cfg'))"),
        ("frames/scan.h5", "FileCamera('frames/scan.h5')"),
        ("/data/scan/tomo", "FileCamera(projections='/data/scan/tomo')"),
        ("frames/tomo_0001.tif", "FileCamera(projections='frames/tomo_0001.tif')"),
    ],
)
def test_an_address(address: str, taker: str) -> None:
    assert refusal(address).startswith(
        f"camera: {address!r} is no camera with a frame stream. Give {taker}"
    )


def test_a_frame_source_and_what_nobody_knows() -> None:
    source = SimulatedBeamline(shape=(8, 8)).camera.source
    assert "Give Camera(SOURCE), with this frame source of concertino.devices" in refusal(source)
    for unknown in ("camera", 3, np.zeros(3), ModuleType("gi"), sys):
        assert "Give a device such as SimulatedBeamline().camera" in refusal(unknown)


def test_a_plan_says_so() -> None:
    b = SimulatedBeamline(shape=(8, 8))
    plan = radiography("13SIM1:", b.beam, b.sample_stage, radio_position=0, flat_position=1)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"Give AreaDetectorCamera\('13SIM1:'\)"):
        list(plan)
