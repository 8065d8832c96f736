"""Callbacks on other computers that only look, or that stumble, cost no scan."""

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from concertino import ConcertinoError, DeviceError
from concertino._tango_client import TangoClient
from concertino.callbacks import ImageWriter
from concertino.callbacks.remote import (
    RemoteBenchmarker,
    RemoteImageWriter,
    RemoteOnlineReconstruction,
)
from concertino.devices import SimulatedBeamline, TangoCamera
from concertino.plans import radiography
from concertino.session import Session, open_session
from concertino.storage import open_run

from .conftest import Start

pytestmark = pytest.mark.disturbed_by_load(
    "servers are processes; one that gives no sign of life within its time-out is given up"
)

FRAMES = 300


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with open_session(tmp_path / "session", progress=False, catalog=False) as opened:
        yield opened


@pytest.fixture
def beamline() -> SimulatedBeamline:
    return SimulatedBeamline(shape=(8, 8), exposure=0.0, frame_rate=100.0, subscriber_timeout_s=4.0)


def scan(camera: Any, beamline: SimulatedBeamline, frames: int = FRAMES) -> Any:
    return radiography(
        camera, beamline.beam, beamline.sample_stage,
        radio_position=0, flat_position=1, num_darks=2, num_flats=2, num_projections=frames,
    )  # fmt: skip


def stop_of(directory: Path) -> dict[str, Any]:
    name, document = json.loads((directory / "documents.jsonl").read_text().splitlines()[-1])
    assert name == "stop"
    return dict(document)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("kind", ["benchmark", "reconstruction"])
def test_a_server_that_only_looks_costs_no_scan(
    kind: str,
    sign: signal.Signals,
    tmp_path: Path,
    start: Start,
    session: Session,
    beamline: SimulatedBeamline,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "concertino")
    options = ("-d", str(tmp_path / "remote")) if kind == "reconstruction" else ()
    server = start(kind, *options)
    make: Any = RemoteBenchmarker if kind == "benchmark" else RemoteOnlineReconstruction
    far = make(server.address)
    session.subscribe(far)
    session.subscribe(ImageWriter())
    folder = session.directory / "scan_0001" / "projections"

    def harm(name: str, document: Any) -> None:
        if name == "stream_datum" and folder.exists():
            os.kill(server.pid, sign)

    session.subscribe(harm)
    try:
        session.RE(scan(beamline.camera, beamline))
    finally:
        with suppress(ProcessLookupError):  # it was killed
            os.kill(server.pid, signal.SIGCONT)
    stop = stop_of(session.directory / "scan_0001")
    assert (stop["exit_status"], stop["reason"]) == ("success", "")
    assert len(open_run("scan_0001", session.directory).frames("projections")) == FRAMES
    assert far.error is not None
    assert f"{kind} was detached, and the run goes on without it" in caplog.text


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
def test_a_writer_s_server_that_is_lost_is_waited_for_once(
    sign: signal.Signals,
    tmp_path: Path,
    start: Start,
    session: Session,
    beamline: SimulatedBeamline,
) -> None:
    # 8 s are for a server that is busy; each of the documents that wait for it must not have its own.
    server = start("writer", "-d", str(tmp_path / "writer"))
    far = RemoteImageWriter(server.address)
    session.subscribe(far)
    folder = tmp_path / "writer" / "scan_0001" / "projections"
    harmed_s: list[float] = []

    def harm(name: str, document: Any) -> None:
        if name == "stream_datum" and folder.exists() and not harmed_s:
            os.kill(server.pid, sign)
            harmed_s.append(time.monotonic())
            with suppress(Exception):  # 80 s for these alone, if each were waited for
                for _ in range(10):
                    far("event", {"descriptor": "", "data": {}, "timestamps": {}})

    session.subscribe(harm)
    try:
        with pytest.raises(Exception, match="writer"):
            session.RE(scan(beamline.camera, beamline, 2000))
        assert time.monotonic() - harmed_s[0] < 35
    finally:
        with suppress(ProcessLookupError):  # it was killed
            os.kill(server.pid, signal.SIGCONT)
    assert not beamline.shutter.is_open
    assert stop_of(session.directory / "scan_0001")["exit_status"] == "fail"


def test_signs_of_life_that_are_missed_are_no_loss(
    tmp_path: Path, start: Start, session: Session, beamline: SimulatedBeamline
) -> None:
    # The writer's server stands still for longer than a sign takes, and for less than its time-out.
    beamline = SimulatedBeamline(
        shape=(8, 8), exposure=0.0, frame_rate=50.0, subscriber_timeout_s=30.0
    )
    server = start("writer", "-d", str(tmp_path / "writer"))
    session.subscribe(RemoteImageWriter(server.address))
    folder = tmp_path / "writer" / "scan_0001" / "projections"

    def pause() -> None:
        until_s = time.monotonic() + 240
        while not (folder.exists() and any(folder.iterdir())) and time.monotonic() < until_s:
            time.sleep(0.05)
        os.kill(server.pid, signal.SIGSTOP)
        time.sleep(5.5)
        os.kill(server.pid, signal.SIGCONT)

    pausing = threading.Thread(target=pause)
    pausing.start()
    try:
        session.RE(scan(beamline.camera, beamline, 500))
    finally:
        pausing.join()
    assert stop_of(session.directory / "scan_0001")["exit_status"] == "success"
    assert len(open_run("scan_0001", tmp_path / "writer").frames("projections")) == 500


def test_an_event_that_fails_does_not_keep_the_stop_document_from_the_server(
    tmp_path: Path, start: Start
) -> None:
    server = start("writer", "-d", str(tmp_path / "writer"))
    client = TangoClient(server.address, "writer")

    def send(name: str, document: dict[str, Any]) -> Any:
        return client.ask("Document", 30.0, name=name, document=document)

    begun = send("start", {"uid": "1" * 36, "time": 1.0, "plan_name": "by hand"})
    # An event of a descriptor that never came: it can belong to no run.
    event = {"uid": "3" * 36, "descriptor": "2" * 36, "seq_num": 1, "time": 2.0, "data": {}}
    assert client.call("Document", name="event", document=event | {"timestamps": {}})
    stop = {"uid": "4" * 36, "run_start": "1" * 36, "time": 3.0, "exit_status": "success"}
    with pytest.raises(ConcertinoError, match=r"event document .* no open run"):
        send("stop", stop)
    assert stop_of(Path(begun["run_directory"]))["exit_status"] == "success"
    assert client.state() == "STANDBY"
    assert client.attribute("session") == ""
    # The next run begins as if nothing had been.
    again = send("start", {"uid": "5" * 36, "time": 4.0, "plan_name": "by hand"})
    assert again["run_directory"].endswith("scan_0002")
    client.call("Release")


def test_a_dead_writer_is_noticed_within_its_time_out(
    tmp_path: Path, start: Start, session: Session, beamline: SimulatedBeamline
) -> None:
    """Within the time-out and a second: also one that dies shortly before the last frame."""
    timeout_s = 4.0
    server = start("writer", "-d", str(tmp_path / "writer"))
    session.subscribe(RemoteImageWriter(server.address))
    folder = tmp_path / "writer" / "scan_0001" / "projections"
    died_s: list[float] = []
    failed_s: list[float] = []

    def kill() -> None:
        until_s = time.monotonic() + 240
        while not (folder.exists() and len(list(folder.iterdir())) > 20):
            assert time.monotonic() < until_s
            time.sleep(0.02)
        os.kill(server.pid, signal.SIGKILL)
        died_s.append(time.monotonic())
        acquisition: Any = beamline.camera._acquisition
        stream = acquisition.stream
        while stream.flow.error is None and time.monotonic() < until_s:
            time.sleep(0.02)
        failed_s.append(time.monotonic())

    killing = threading.Thread(target=kill)
    killing.start()
    # 300 frames take 3 s: the last comes when the writer has been silent for most of its time.
    with pytest.raises(Exception, match="writer"):
        session.RE(scan(beamline.camera, beamline, 300))
    killing.join()
    assert failed_s[0] - died_s[0] < timeout_s + 1.0 + 1.0  # a second for a busy machine
    assert not beamline.shutter.is_open


def test_the_loop_goes_on_while_a_camera_server_does_not_answer(
    start: Start, session: Session, beamline: SimulatedBeamline, tmp_path: Path
) -> None:
    server = start("camera", "--shape", "16x24")
    writer = start("writer", "-d", str(tmp_path / "writer"))
    camera = TangoCamera(server.address, frame_rate=100.0)
    session.subscribe(RemoteImageWriter(writer.address))
    silent_s: list[float] = []
    ticks: list[float] = []
    done = threading.Event()

    def tick() -> None:
        # What the loop does is done within the time that a call to a dead server takes.
        while not done.is_set():
            asked_s = time.monotonic()
            heard = threading.Event()
            session.RE.loop.call_soon_threadsafe(heard.set)
            heard.wait(240)
            ticks.append(time.monotonic() - asked_s)
            time.sleep(0.01)

    def freeze(message: Any) -> None:
        if message.command == "kickoff" and message.obj is camera and not silent_s:
            os.kill(server.pid, signal.SIGSTOP)
            silent_s.append(time.monotonic())

    session.RE.msg_hook = freeze
    ticking = threading.Thread(target=tick)
    ticking.start()
    try:
        with pytest.raises((ConcertinoError, DeviceError, Exception), match="camera"):
            session.RE(scan(camera, beamline, 20))
    finally:
        done.set()
        os.kill(server.pid, signal.SIGCONT)
        ticking.join()
    assert silent_s
    assert max(ticks) < 2.0  # a call takes 3 s
