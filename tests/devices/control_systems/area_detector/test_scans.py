"""Whole scans of an areaDetector of a real IOC, undisturbed and with a fault: verdict, ledger, files, beam."""

import json
import multiprocessing
import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky.preprocessors import msg_mutator
from bluesky.utils import FailedStatus, Msg, MsgGenerator
from ophyd import Component, SimDetector
from ophyd.areadetector.plugins import HDF5Plugin_V34, PvaPlugin_V34
from ophyd.device import do_not_wait_for_lazy_connection

from concertino import ConcertinoError
from concertino.callbacks import ImageWriter
from concertino.devices import AreaDetectorCamera, SimulatedBeamline
from concertino.plans import continuous_tomography, radiography, step_tomography
from concertino.session import open_session
from concertino.storage import open_run
from tests.small_disks import mounted_disk

from .conftest import RECONNECTS_S, Iocs, made
from .detectors import PREFIX, SHAPE, Ioc, counted, put

pytestmark = pytest.mark.disturbed_by_load(
    "frames of another process must come while the axis turns"
)

DARKS = FLATS = 2
PROJECTIONS = 12
PLANS = ("radiography", "step", "continuous")
# The driver's protocol, and whether frames are served by a process that lives on: then only the driver can tell.
KILLED = [
    *(("pva", False, name) for name in PLANS),
    ("ca", False, "continuous"),
    *(("ca", True, name) for name in PLANS),
]


class OphydDetector(SimDetector):  # type: ignore[misc]
    """An areaDetector as a beamline of ophyd has it."""

    hdf = Component(HDF5Plugin_V34, "HDF1:")
    pva = Component(PvaPlugin_V34, "Pva1:")


@pytest.fixture
def beamline() -> SimulatedBeamline:
    return SimulatedBeamline(shape=(8, 8))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a disk that holds the darks, the flats and some of the projections."""
    with mounted_disk(tmp_path / "disk", "96k") as disk:
        yield disk


def plan(
    name: str, camera: AreaDetectorCamera, beamline: SimulatedBeamline, count: int = PROJECTIONS
) -> MsgGenerator[Any]:
    """Return a scan of darks, flats and projections, in this order."""
    given: dict[str, Any] = {
        "radio_position": "0 mm", "flat_position": "1 mm", "num_darks": DARKS, "num_flats": FLATS,
        "num_projections": count,
    }  # fmt: skip
    if name == "radiography":
        return radiography(camera, beamline.beam, beamline.sample_stage, **given)
    tomography = step_tomography if name == "step" else continuous_tomography
    return tomography(camera, beamline.rotation, beamline.beam, beamline.sample_stage, **given)


def scanned(directory: Path, scan: MsgGenerator[Any]) -> BaseException | None:
    """Run a scan with a writer; return what it failed by."""
    with open_session(directory, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        try:
            session.RE(scan)
        except (ConcertinoError, FailedStatus) as error:
            return error.__cause__ if isinstance(error, FailedStatus) else error
    return None


def ledger(directory: Path, stream: str) -> dict[str, Any]:
    """Return the camera's account of a stream."""
    rows = open_run(1, directory).ledger()
    (found,) = [row for row in rows if (row["stream"], row["party"]) == (stream, "camera")]
    return found


def stop_document(directory: Path) -> dict[str, Any]:
    lines = (directory / "scan_0001" / "documents.jsonl").read_text().splitlines()
    name, document = json.loads(lines[-1])
    assert name == "stop"
    return dict(document)


@pytest.mark.parametrize("name", PLANS)
def test_every_frame_is_stored(
    name: str, camera: AreaDetectorCamera, beamline: SimulatedBeamline, tmp_path: Path
) -> None:
    before = counted(camera)
    assert scanned(tmp_path, plan(name, camera, beamline)) is None
    assert stop_document(tmp_path)["exit_status"] == "success"
    frames = open_run(1, tmp_path).frames("projections")
    assert frames.shape == (PROJECTIONS, *SHAPE)
    first = 1000 + before + DARKS + FLATS + 1
    assert [int(frame[-1, -1]) for frame in frames] == list(range(first, first + PROJECTIONS))
    assert not beamline.shutter.is_open


@pytest.mark.parametrize("name", PLANS)
def test_its_last_frame_lost_fails_the_run_and_stands_in_its_ledger(
    name: str, camera: AreaDetectorCamera, beamline: SimulatedBeamline, tmp_path: Path
) -> None:
    put(camera, "Lose", counted(camera) + DARKS + FLATS + PROJECTIONS)
    error = scanned(tmp_path, plan(name, camera, beamline))
    assert f"the camera dropped 1 frames (numbers {PROJECTIONS - 1})" in str(error)
    assert not beamline.shutter.is_open
    assert stop_document(tmp_path)["exit_status"] == "fail"
    account = ledger(tmp_path, "projections")
    counts = [account[key] for key in ("triggered", "exposed", "frames", "dropped")]
    assert counts == [PROJECTIONS, PROJECTIONS, PROJECTIONS - 1, 1]
    assert len(open_run(1, tmp_path).frames("projections")) == PROJECTIONS - 1


@pytest.mark.parametrize("name", PLANS)
def test_a_detector_of_ophyd_is_taken_by_its_names(name: str, ioc: Ioc, tmp_path: Path) -> None:
    # In a process of its own: ophyd's client looks for IOCs where it was told to when it was first used.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        error, taken, exposure_s = process.submit(ophyd_scan, name, tmp_path).result(240)
    assert error is None
    assert len(open_run(1, tmp_path).frames("projections")) == PROJECTIONS
    assert taken == DARKS + FLATS + PROJECTIONS
    assert exposure_s == pytest.approx(0.002)


def ophyd_scan(name: str, directory: Path) -> tuple[str | None, int, float]:
    """Scan with a detector of ophyd; return the error, what its IOC says that it took, and the exposure time."""
    detector = OphydDetector(PREFIX, name="detector")
    camera = AreaDetectorCamera(
        detector, driver="none:", frames="none", exposure=0.002, frame_rate=50
    )
    with do_not_wait_for_lazy_connection(detector.cam):
        counter, exposure = detector.cam.array_counter, detector.cam.acquire_time
    for needed in (detector.pva.plugin_type, counter, exposure):
        needed.wait_for_connection(timeout=60)
    before = counter.get()
    error = scanned(directory, plan(name, camera, SimulatedBeamline(shape=(8, 8))))
    taken = counter.get(use_monitor=False) - before
    said = None if error is None else str(error)
    return said, taken, exposure.get(use_monitor=False)


@pytest.mark.parametrize(("control", "apart", "name"), KILLED)
def test_its_process_killed_fails_the_run_in_time_and_may_be_started_again(
    control: str,
    apart: bool,
    name: str,
    iocs: Iocs,
    beamline: SimulatedBeamline,
    tmp_path: Path,
) -> None:
    iocs.running(apart)
    making = made(control)
    camera = next(making)
    seen: list[int] = []

    def kill() -> None:
        deadline_s = time.monotonic() + 120
        while not (beamline.shutter.is_open and camera.num_exposed >= 4):
            if time.monotonic() > deadline_s:
                return
            time.sleep(0.002)
        iocs.kill()
        seen.append(camera.num_exposed)

    # Flats are too few to be killed in: only projections come to four.
    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    began_s = time.monotonic()
    error = scanned(tmp_path / "killed", plan(name, camera, beamline, 60))
    lasted_s = time.monotonic() - began_s
    killer.join(130)
    assert seen
    assert "TEST:" in str(error)
    assert "127.0.0.1" in str(error) or "localhost" in str(error)
    assert "Check" in str(error)
    assert lasted_s < 60
    assert not beamline.shutter.is_open
    assert stop_document(tmp_path / "killed")["exit_status"] == "fail"
    account = ledger(tmp_path / "killed", "projections")
    assert 0 < account["frames"] < 60
    stored = open_run(1, tmp_path / "killed").frames("projections")
    assert len(stored) == account["frames"]

    iocs.running()
    deadline_s = time.monotonic() + RECONNECTS_S
    again = tmp_path / "again"
    while (error := scanned(again, plan(name, camera, beamline))) is not None:
        assert time.monotonic() < deadline_s, error
        again = again.with_name(f"{again.name}+")
    assert len(open_run(1, again).frames("projections")) == PROJECTIONS
    next(making, None)


@pytest.mark.parametrize("control", ["ca", "pva"])
def test_its_process_stopped_fails_the_run_in_time(
    control: str, iocs: Iocs, beamline: SimulatedBeamline, tmp_path: Path
) -> None:
    process = iocs.running().process
    making = made(control)
    camera = next(making)
    times_s: list[float] = []

    def stop() -> None:
        deadline_s = time.monotonic() + 120
        while not (beamline.shutter.is_open and camera.num_exposed >= 4):
            assert time.monotonic() < deadline_s
            time.sleep(0.002)
        process.send_signal(signal.SIGSTOP)
        times_s.append(time.monotonic())
        while beamline.shutter.is_open and time.monotonic() < deadline_s:
            time.sleep(0.01)
        times_s.append(time.monotonic())

    stopper = threading.Thread(target=stop, daemon=True)
    stopper.start()
    try:
        error = scanned(tmp_path, plan("continuous", camera, beamline, 60))
    finally:
        process.send_signal(signal.SIGCONT)
        stopper.join(130)
    stopped_s, closed_s = times_s
    # AreaDetectorOptions.timeout_s is 3 s; a busy computer takes longer.
    assert closed_s - stopped_s < 3 + 7
    said = rf"TEST:cam1:\S+ was asked for by .* and has not answered within 3 s .*{'127.0.0.1' if control == 'pva' else 'localhost'}"
    assert re.search(said, str(error)), error
    assert "Check that its IOC runs" in str(error)
    assert stop_document(tmp_path)["exit_status"] == "fail"
    assert re.search(said, stop_document(tmp_path)["reason"])
    next(making, None)


@pytest.mark.parametrize("name", ["step", "continuous"])
def test_a_detector_that_says_that_it_acquires_and_gives_nothing(
    name: str, pva_camera: AreaDetectorCamera, beamline: SimulatedBeamline, tmp_path: Path
) -> None:
    camera = pva_camera
    camera._frame_timeout_s = 1.0
    put(camera, "HangAt", counted(camera) + DARKS + FLATS + 4)
    began_s = time.monotonic()
    error = scanned(tmp_path, plan(name, camera, beamline))
    assert time.monotonic() - began_s < 30
    asked = "was triggered" if name == "step" else "was to go on at its own pace"
    said = rf"Camera camera \(pva://TEST:cam1:\) {asked} and gave no frame for [\d.]+ s, after 3 of 12 frames of projections"
    assert re.match(said, str(error)), error
    assert "that the detector is alive" in str(error)
    assert not beamline.shutter.is_open
    assert stop_document(tmp_path)["exit_status"] == "fail"
    assert not camera.source._driver.status().acquiring


@pytest.mark.parametrize("name", PLANS)
def test_our_disk_full_fails_the_run_and_stops_the_detector(
    name: str, camera: AreaDetectorCamera, beamline: SimulatedBeamline, small_disk: Path
) -> None:
    announced = msg_mutator(plan(name, camera, beamline, 60), as_if_for_few)
    error = scanned(small_disk, announced)
    assert "No space left on device" in str(error)
    assert not beamline.shutter.is_open
    driver = camera.source._driver
    assert not driver.status().acquiring


def as_if_for_few(message: Msg) -> Msg:
    """Announce no frames, so that a disk without room for them is found in mid-scan and not before."""
    if message.command == "open_run":
        return message._replace(kwargs={**message.kwargs, "frames": {}})
    return message


def test_the_camera_works_again_after_each_fault(
    camera: AreaDetectorCamera, beamline: SimulatedBeamline, tmp_path: Path
) -> None:
    put(camera, "FailAt", counted(camera) + DARKS + FLATS + 3)
    error = scanned(tmp_path / "failed", plan("continuous", camera, beamline))
    assert "the sensor is too warm" in str(error)
    assert not beamline.shutter.is_open
    driver = camera.source._driver
    driver.begin()
    driver.wait(lambda: not driver.status().trouble, "it stays in trouble")
    assert scanned(tmp_path / "again", plan("continuous", camera, beamline)) is None
    numbers = np.array([len(open_run(1, tmp_path / "again").frames("projections"))])
    assert numbers == [PROJECTIONS]
