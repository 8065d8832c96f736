"""Strangers and the dead: what servers do when another program is where a publisher should be, or it is stopped."""

import contextlib
import os
import signal
import socket
import socketserver
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import tango
import zmq
from bluesky.utils import FailedStatus

from concertino import ConcertinoError, FrameStreamError, StorageError
from concertino._tango_client import TangoClient, device_address
from concertino.callbacks import Accumulator
from concertino.callbacks.remote import RemoteCallback, RemoteImageWriter
from concertino.devices import SimulatedBeamline, TangoCamera
from concertino.plans import radiography
from concertino.session import open_session
from concertino.storage import open_run
from tests.ports import free_port

from .conftest import Start

pytestmark = pytest.mark.disturbed_by_load(
    "servers are processes; one that gives no sign of life within its time-out is given up"
)


def scan(camera: TangoCamera, beamline: SimulatedBeamline, frames: int = 20) -> object:
    return radiography(
        camera, beamline.beam, beamline.sample_stage,
        radio_position=0, flat_position=1, num_darks=2, num_flats=2, num_projections=frames,
    )  # fmt: skip


class Tunnel(socketserver.ThreadingTCPServer):
    """Carries every connection on to another port of this computer, as ``ssh -L`` does."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, port: int, publisher: int) -> None:
        deadline_s = time.monotonic() + 240
        while True:
            try:
                super().__init__(("127.0.0.1", port), Carrier)
                break
            except OSError:  # whoever was there has just left
                assert time.monotonic() < deadline_s
                time.sleep(0.05)
        self.publisher = publisher
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Carrier(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Tunnel)
        with socket.create_connection(("127.0.0.1", self.server.publisher)) as far:
            back = threading.Thread(target=carry, args=(far, self.request), daemon=True)
            back.start()
            carry(self.request, far)


def carry(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while octets := source.recv(2**16):
            sink.sendall(octets)
        sink.shutdown(socket.SHUT_RDWR)


def test_a_writer_whose_way_leads_to_another_program_says_so_and_serves_the_next_run(
    tmp_path: Path, start: Start
) -> None:
    published = free_port()
    place = f"tcp://127.0.0.1:{published}"
    camera_server = start(
        "camera", "--source", "simulated", "--shape", "16x24", "--stream", f"{place}/*"
    )
    beamline = SimulatedBeamline(shape=(8, 8))
    with zmq.Context() as context, context.socket(zmq.PUB) as theirs:
        port = theirs.bind_to_random_port("tcp://127.0.0.1")
        way = f"tcp://127.0.0.1:{port}"
        writer_server = start("writer", "-d", str(tmp_path / "writer"), "--via", f"{place}={way}")
        with open_session(tmp_path / "session", progress=False, catalog=False) as session:
            writer = RemoteImageWriter(writer_server.address, timeout_s=60)
            session.subscribe(writer)
            camera = TangoCamera(camera_server.address)
            with pytest.raises(
                FrameStreamError, match="listens another program, not a frame stream"
            ):
                session.RE(scan(camera, beamline))
            assert not beamline.shutter.is_open
            theirs.close(0)
            with Tunnel(port, published) as tunnel:
                session.RE(scan(camera, beamline))
                tunnel.shutdown()
            run = open_run(writer.run_directory)
    assert run.exit_status == "success"
    assert len(run.frames("projections")) == 20
    assert run.frames("projections").unreadable() == ()


def test_files_go_where_the_server_was_told_and_nowhere_else(tmp_path: Path, start: Start) -> None:
    data, other, forbidden = tmp_path / "data", tmp_path / "other", tmp_path / "forbidden"
    forbidden.mkdir()
    server = start("writer", "-d", str(data), "--root", str(other))
    (data / "link").symlink_to(forbidden)
    hint = "the writer server uses other places only if it was started with --root DIR"
    for place in (str(forbidden), "../forbidden", "/", f"{other}/../forbidden", "link/inside"):
        with pytest.raises(StorageError, match=f"and not in {data} or {other}: nothing.*{hint}"):
            RemoteCallback(server.address, "writer", {"directory": place})
    for place in ("inside", str(other / "beamtime")):
        RemoteCallback(server.address, "writer", {"directory": place}).close()
    assert list(forbidden.iterdir()) == []

    beamline = SimulatedBeamline(shape=(8, 8))
    camera = TangoCamera(start("camera", "--source", "simulated", "--shape", "16x24").address)
    writer = RemoteCallback(server.address, "writer", {"directory": str(other / "beamtime")})
    with open_session(tmp_path / "session", progress=False, catalog=False) as session:
        session.subscribe(writer)
        session.RE(scan(camera, beamline))
        # A run of somebody else on the server's computer is none of the server's.
        with pytest.raises(StorageError, match=hint):
            writer.replay(str(session.directory / "scan_0001"), Accumulator())
    assert len(list((other / "beamtime" / "scan_0001" / "projections").glob("*.tif"))) == 20


def test_slices_go_where_the_server_was_told_and_nowhere_else(tmp_path: Path, start: Start) -> None:
    server = start("reconstruction", "-d", str(tmp_path / "slices"))
    with pytest.raises(
        StorageError, match=r"reconstruction server uses other places only if it was"
    ):
        RemoteCallback(server.address, "reconstruction", {"directory": str(tmp_path / "forbidden")})
    RemoteCallback(server.address, "reconstruction", {"directory": "inside"}).close()


def test_a_server_outlives_junk_at_its_port(tmp_path: Path, start: Start) -> None:
    server = start("writer", "-d", str(tmp_path / "data"))
    host, _, port = server.address.partition(":")
    for junk in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 4096, bytes(65536)):
        with socket.create_connection((host, int(port)), timeout=10) as stranger:
            stranger.sendall(junk)
    assert RemoteImageWriter(server.address).runs() == []


@pytest.mark.parametrize(
    ("kind", "options"), [("camera", ("--shape", "16x24")), ("reconstruction", ())]
)
def test_a_server_outlives_commands_without_sense(
    tmp_path: Path, start: Start, kind: str, options: tuple[str, ...]
) -> None:
    server = start(kind, *options, *(("-d", str(tmp_path / "d")) if kind != "camera" else ()))
    proxy = tango.DeviceProxy(device_address(server.address, kind))
    commands = [c.cmd_name for c in proxy.command_list_query() if "JSON" in c.in_type_desc]
    assert len(commands) > 5
    someone = '{"session": "someone", '
    for command in commands:
        for text in ("", "[]", "5", "{}", "nonsense", '{"session": 5}', someone + '"ticket": []}',
                     someone + '"configuration": [], "name": 1e999, "document": {}, "seen": "x"}'):  # fmt: skip
            with contextlib.suppress(tango.DevFailed):
                proxy.command_inout(command, text)
    proxy.command_inout("Release", someone + '"x": 1}')
    client = TangoClient(server.address, kind)
    assert client.attribute("session") == ""
    assert client.state() == "STANDBY"
    with pytest.raises(
        tango.DevFailed, match="called with '5'; it takes a JSON object with a text"
    ):
        proxy.command_inout("Answer", "5")


def test_a_stopped_camera_server_ends_the_run_with_the_beam_off(
    tmp_path: Path, start: Start
) -> None:
    server = start("camera", "--source", "simulated", "--shape", "16x24")
    writer_server = start("writer", "-d", str(tmp_path / "writer"))
    folder = tmp_path / "writer" / "scan_0001" / "projections"
    beamline = SimulatedBeamline(shape=(8, 8))
    camera = TangoCamera(server.address, frame_rate=100.0, subscriber_timeout_s=2.0)

    def stop(name: str, document: Any) -> None:
        if name == "stream_datum" and folder.exists():
            os.kill(server.pid, signal.SIGSTOP)

    try:
        with open_session(tmp_path / "session", progress=False, catalog=False) as session:
            session.subscribe(RemoteImageWriter(writer_server.address))
            session.subscribe(stop)
            with pytest.raises((FailedStatus, ConcertinoError)):
                session.RE(scan(camera, beamline, 5000))
            assert not beamline.shutter.is_open
            assert open_run("scan_0001", session.directory).exit_status == "fail"
    finally:
        os.kill(server.pid, signal.SIGCONT)
    # The writer hears of the end from the session, or misses the session first: on a slow computer.
    deadline_s = time.monotonic() + 240
    while (stored := open_run("scan_0001", tmp_path / "writer")).exit_status not in (
        "fail",
        "abort",
    ):
        assert time.monotonic() < deadline_s
        time.sleep(0.2)
    frames = stored.frames("projections")
    assert 0 < len(frames) < 5000
    assert frames.unreadable() == ()
