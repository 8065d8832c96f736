"""The same plan with everything elsewhere: camera, writer and reconstruction in processes of their own."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky.utils import FailedStatus

from concertino import ConcertinoError, FrameStreamError, SessionError, StorageError
from concertino.callbacks import Accumulator, ImageWriter, OnlineReconstruction
from concertino.callbacks.remote import (
    RemoteBenchmarker,
    RemoteImageWriter,
    RemoteOnlineReconstruction,
)
from concertino.cli import main
from concertino.devices import FileCamera, SimulatedBeamline, TangoCamera
from concertino.frames import subscribe
from concertino.plans import continuous_tomography, radiography, step_tomography
from concertino.reconstruction import ReconstructionSettings
from concertino.session import Session, open_session
from concertino.storage import open_run, sample_path

from .conftest import PROGRAM, Start

pytestmark = pytest.mark.disturbed_by_load(
    "servers are processes; one that gives no sign of life within its time-out is given up"
)

SETTINGS = ReconstructionSettings(slices=(0,), center=215.87)


@pytest.fixture
def beamline() -> SimulatedBeamline:
    return SimulatedBeamline(shape=(8, 8))


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with open_session(tmp_path / "session", progress=False, catalog=False) as opened:
        yield opened


def counts() -> dict[str, Any]:
    source: Any = FileCamera(sample_path()).source
    return {f"num_{kind}": len(images) for kind, images in source.images.items()}


def tomography(camera: Any, beamline: SimulatedBeamline) -> Any:
    return step_tomography(
        camera, beamline.rotation, beamline.beam, beamline.sample_stage,
        radio_position=0, flat_position=1, angular_range="180 deg", **counts(),
    )  # fmt: skip


def free_running(camera: Any, beamline: SimulatedBeamline, frames: int) -> Any:
    return radiography(
        camera, beamline.beam, beamline.sample_stage,
        radio_position=0, flat_position=1, num_darks=2, num_flats=2, num_projections=frames,
    )  # fmt: skip


def stop_of(directory: Path) -> dict[str, Any]:
    name, document = json.loads((directory / "documents.jsonl").read_text().splitlines()[-1])
    assert name == "stop"
    return dict(document)


def until(condition: Callable[[], bool], timeout_s: float = 240.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_a_remote_run_gives_the_local_answer(
    tmp_path: Path, start: Start, session: Session, beamline: SimulatedBeamline
) -> None:
    camera_server = start("camera", "--source", str(sample_path()))
    writer_server = start("writer", "-d", str(tmp_path / "writer"))
    reconstruction_server = start("reconstruction", "-d", str(tmp_path / "slices"))

    camera = TangoCamera(camera_server.address)
    writer = RemoteImageWriter(writer_server.address, bytes_per_file=2**24)
    reconstruction = RemoteOnlineReconstruction(reconstruction_server.address, SETTINGS)
    session.subscribe(writer)
    session.subscribe(reconstruction)
    session.RE(tomography(camera, beamline))
    summary = reconstruction.wait(240)

    local = OnlineReconstruction(SETTINGS)
    session.unsubscribe(1)
    with open_session(tmp_path / "local", progress=False, catalog=False) as here:
        here.subscribe(ImageWriter())
        here.subscribe(local)
        here.RE(tomography(FileCamera(sample_path()), beamline))
    remote_slices = open_run(summary["run_directory"]).frames("slices").read()
    np.testing.assert_array_equal(remote_slices, local.wait(240).volume)

    stored = open_run(writer.run_directory)
    assert stored.exit_status == "success"
    assert stored.streams == open_run("scan_0001", session.directory).streams
    expected = open_run("scan_0001", tmp_path / "local")
    for stream in ("darks", "flats", "projections"):
        np.testing.assert_array_equal(stored.frames(stream).read(), expected.frames(stream).read())
    own = open_run("scan_0001", session.directory)
    parties = {(row["party"], row["state"]) for row in own.ledger()}
    assert parties == {
        ("camera", "finished"), ("writer", "finished"), ("reconstruction", "finished"),
    }  # fmt: skip

    # Read back over the network: no file of the writer is opened here.
    assert [run["name"] for run in writer.runs()] == ["scan_0001"]
    again = OnlineReconstruction(SETTINGS, directory=tmp_path / "again")
    kept = Accumulator()
    assert writer.replay("scan_0001", [again, kept]) > 5
    np.testing.assert_array_equal(again.wait(240).volume, local.wait(240).volume)
    with pytest.raises(StorageError, match="scan_0009"):
        writer.replay("scan_0009", kept)


def test_a_remote_reconstruction_is_seen_and_changed_from_here(
    tmp_path: Path, start: Start, session: Session
) -> None:
    devices = SimulatedBeamline(shape=(8, 96), exposure=0.002, frame_rate=15.0, noise=False)
    server = start("reconstruction", "-d", str(tmp_path / "slices"))
    reconstruction = RemoteOnlineReconstruction(
        server.address, ReconstructionSettings(slices=(0,)), preview_s=0.05
    )
    documents: list[tuple[str, Any]] = []
    reconstruction.add_callback(lambda name, document: documents.append((name, document)))
    changed: list[Any] = []

    def change(name: str, document: Any) -> None:
        if name == "stream_datum" and document["indices"]["stop"] > 4 and not changed:
            changed.append(reconstruction.update(center=45.25, filter="hann"))
            with pytest.raises(ConcertinoError, match="centre: there is no such setting"):
                reconstruction.update(centre=1)

    session.subscribe(ImageWriter())
    session.subscribe(reconstruction)
    session.subscribe(change)
    session.RE(
        continuous_tomography(
            devices.camera, devices.rotation, devices.beam, devices.sample_stage,
            radio_position=0, flat_position=2, angular_range="180 deg",
            num_darks=4, num_flats=4, num_projections=120,
        )
    )  # fmt: skip
    summary = reconstruction.wait(240)
    assert summary["settings"] == changed[0]
    assert (summary["center_px"], summary["settings"]["filter"]) == (45.25, "hann")
    assert summary["resolution_px"] >= 2  # two pixels are the finest that there can be
    again = reconstruction.rereconstruct(60, center=46.0)
    assert again["center_px"] == 46.0
    assert again["run_directory"] != summary["run_directory"]

    def plans() -> list[str]:
        return [document["plan_name"] for name, document in documents if name == "start"]

    until(lambda: plans().count("reconstruction") == 2)
    assert "reconstruction_preview" in plans()
    addresses = [
        document["data_keys"]["slice_0"]["source"]
        for name, document in documents
        if name == "descriptor" and "slice_0" in document["data_keys"]
    ]
    assert addresses
    assert all(address.startswith("tcp://127.0.0.1:") for address in addresses)


def test_software_triggers_reach_a_remote_camera(
    tmp_path: Path, start: Start, session: Session, beamline: SimulatedBeamline
) -> None:
    camera = TangoCamera(start("camera", "--shape", "16x24").address)
    benchmark = RemoteBenchmarker(start("benchmark", "-d", str(tmp_path / "b")).address)
    session.subscribe(benchmark)
    session.RE(
        step_tomography(
            camera, beamline.rotation, beamline.beam, beamline.sample_stage,
            radio_position=0, flat_position=1, num_darks=2, num_flats=2, num_projections=5,
            angular_range="180 deg",
        )
    )  # fmt: skip
    measured = {row["stream"]: row["frames"] for row in benchmark.wait(240)["streams"]}
    assert measured == {"darks": 2, "flats": 2, "projections": 5}


def test_a_second_session_is_refused_and_told_who(
    tmp_path: Path, start: Start, session: Session, beamline: SimulatedBeamline
) -> None:
    server = start("writer", "-d", str(tmp_path / "writer"))
    first = RemoteImageWriter(server.address)
    second = RemoteImageWriter(server.address)
    first("start", {"uid": "a", "time": 0.0})
    with pytest.raises(
        SessionError, match=rf"serves another session since .*process {os.getpid()}"
    ):
        second("start", {"uid": "b", "time": 0.0})
    with pytest.raises(SystemExit):
        main(["tango", "status", f"writer={server.address}"])
    first("stop", {"uid": "c", "time": 1.0, "run_start": "a", "exit_status": "success"})
    second("start", {"uid": "b", "time": 0.0})
    second.close()


def test_a_killed_writer_ends_the_run_with_the_beam_off(
    tmp_path: Path, start: Start, session: Session, beamline: SimulatedBeamline
) -> None:
    server = start("writer", "-d", str(tmp_path / "writer"))
    camera_server = start("camera", "--shape", "16x24")
    camera = TangoCamera(camera_server.address, frame_rate=100.0, subscriber_timeout_s=2.0)
    session.subscribe(RemoteImageWriter(server.address))

    folder = tmp_path / "writer" / "scan_0001" / "projections"

    def kill(name: str, document: Any) -> None:
        if name == "stream_datum" and folder.exists():
            os.kill(server.pid, signal.SIGKILL)

    session.subscribe(kill)
    with pytest.raises((FailedStatus, ConcertinoError)):
        session.RE(free_running(camera, beamline, 5000))
    assert not beamline.shutter.is_open
    assert "writer" in stop_of(session.directory / "scan_0001")["reason"]
    stored = open_run("scan_0001", tmp_path / "writer")
    assert stored.exit_status == "incomplete"
    assert len(stored.frames("darks")) == 2
    # A later start finds and says so.
    again = start("writer", "-d", str(tmp_path / "writer"))
    assert "scan_0001 was not finished" in again.log.read_text()


def test_a_remote_camera_that_somebody_stops_fails_the_run(
    start: Start, session: Session, beamline: SimulatedBeamline
) -> None:
    camera = TangoCamera(start("camera", "--shape", "16x24").address, frame_rate=100.0)
    session.subscribe(ImageWriter())

    def stop() -> None:
        until(lambda: camera.num_exposed >= 10)
        asyncio.run_coroutine_threadsafe(camera.stop(), session.RE.loop).result(40)

    person = threading.Thread(target=stop)
    person.start()
    with pytest.raises(ConcertinoError, match="was stopped after"):
        session.RE(free_running(camera, beamline, 300))
    person.join()
    assert stop_of(session.directory / "scan_0001")["exit_status"] == "fail"
    assert not beamline.shutter.is_open


def test_a_killed_camera_server_ends_the_run_with_the_beam_off(
    tmp_path: Path, start: Start, session: Session, beamline: SimulatedBeamline
) -> None:
    server = start("camera", "--shape", "16x24")
    camera = TangoCamera(server.address, frame_rate=100.0, subscriber_timeout_s=2.0)
    writer = RemoteImageWriter(start("writer", "-d", str(tmp_path / "writer")).address)
    session.subscribe(writer)
    folder = tmp_path / "writer" / "scan_0001" / "projections"

    def kill(name: str, document: Any) -> None:
        if name == "stream_datum" and folder.exists():
            os.kill(server.pid, signal.SIGKILL)

    session.subscribe(kill)
    with pytest.raises((FailedStatus, ConcertinoError)):
        session.RE(free_running(camera, beamline, 5000))
    assert not beamline.shutter.is_open
    stop = stop_of(session.directory / "scan_0001")
    assert stop["exit_status"] == "fail"
    assert f"at {camera.address} " in stop["reason"]
    assert "See whether 'concertino tango camera' runs there" in stop["reason"]
    stored = open_run("scan_0001", tmp_path / "writer")
    assert stored.exit_status == "fail"
    frames = stored.frames("projections")
    assert 0 < len(frames) < 5000
    assert frames[len(frames) - 1].shape == (16, 24)


ABANDONING = """
import sys
from concertino.callbacks.remote import RemoteImageWriter
from concertino.devices import SimulatedBeamline, TangoCamera
from concertino.plans import radiography
from concertino.session import open_session

directory, camera_address, writer_address = sys.argv[1:]
beamline = SimulatedBeamline(shape=(8, 8))
camera = TangoCamera(camera_address, frame_rate=50.0, subscriber_timeout_s=3.0)
session = open_session(directory, progress=False, catalog=False)
session.subscribe(RemoteImageWriter(writer_address))
session.RE(radiography(
    camera, beamline.beam, beamline.sample_stage, radio_position=0, flat_position=1,
    num_darks=2, num_flats=2, num_projections=100000,
))
"""


def test_the_death_of_the_session_returns_the_servers_to_standby(
    tmp_path: Path, start: Start
) -> None:
    camera = start("camera", "--shape", "16x24", "--lease", "3")
    writer = start("writer", "-d", str(tmp_path / "writer"), "--lease", "3")
    command = [
        sys.executable,
        "-c",
        ABANDONING,
        str(tmp_path / "s"),
        camera.address,
        writer.address,
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    folder = tmp_path / "writer" / "scan_0001" / "projections"
    with subprocess.Popen(command, env=environment) as session:
        try:
            until(lambda: folder.exists() and len(list(folder.glob("*.tif"))) > 200)
        finally:
            session.kill()  # Whose end is waited for.
    from concertino._tango_client import TangoClient

    for server in (camera, writer):
        client = TangoClient(server.address, server.kind)
        until(lambda client=client: client.attribute("session") == "")  # type: ignore[misc]
        assert client.state() == "STANDBY"
    stored = open_run("scan_0001", tmp_path / "writer")
    assert stored.exit_status == "abort"
    assert "not heard of for 3 s" in stored.reason
    # What was stored after the session's last document is described, too.
    frames = stored.frames("projections")
    assert len(frames) == len(list(folder.glob("*.tif"))) > 200
    assert frames.unreadable() == ()


def test_a_camera_of_the_session_is_stored_by_a_server_of_this_computer_and_of_no_other(
    tmp_path: Path, start: Start, session: Session, beamline: SimulatedBeamline
) -> None:
    writer = RemoteImageWriter(start("writer", "-d", str(tmp_path / "writer")).address)
    session.subscribe(writer)
    session.RE(free_running(beamline.camera, beamline, 3))
    assert len(open_run(writer.run_directory).frames("projections")) == 3
    # What a server elsewhere would find: nobody at that address of its own computer.
    with pytest.raises(FrameStreamError, match=r"for others .* stream_address='tcp://HOST:0'"):
        subscribe("tcp://127.0.0.1:9/projections", name="writer", timeout_s=0.5)


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(
        ConcertinoError, match=r"camera at .*:9/.* does not answer: .*concertino tango camera"
    ):
        TangoCamera("127.0.0.1:9")


def test_the_status_command_says_what_servers_do(start: Start, tmp_path: Path) -> None:
    server = start("writer", "-d", str(tmp_path / "writer"))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "tango", "status", f"writer={server.address}", "camera=127.0.0.1:9"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert done.returncode == 1
    assert "STANDBY" in done.stdout
    assert "serves nobody" in done.stdout
    assert "camera" in done.stdout
    assert "does not answer" in done.stdout
