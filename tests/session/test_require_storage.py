"""Nobody stores the frames: said aloud before the run and in the stop document, or refused."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky import Msg, RunEngine
from bluesky.utils import FailedStatus

from concertino import SessionError
from concertino.callbacks import Accumulator, ChildProcess, FrameCallback, ImageWriter
from concertino.devices import SimulatedBeamline
from concertino.frames import Claim, FrameRequest, subscribe
from concertino.plans import radiography
from concertino.session import Session, open_session


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with open_session(tmp_path / "data", progress=False, catalog=False) as opened:
        yield opened


@pytest.fixture
def beamline() -> SimulatedBeamline:
    return SimulatedBeamline(shape=(8, 8), exposure=0.0, frame_rate=200.0)


def scan(beamline: SimulatedBeamline) -> Any:
    return radiography(
        beamline.camera, beamline.beam, beamline.sample_stage,
        radio_position=0, flat_position=1, num_darks=1, num_flats=2, num_projections=3,
    )  # fmt: skip


def stop_of(directory: Path) -> dict[str, Any]:
    name, document = json.loads((directory / "documents.jsonl").read_text().splitlines()[-1])
    assert name == "stop"
    return dict(document)


def moved(session: Session) -> list[Msg]:
    """Return the messages that move something, as they come."""
    seen: list[Msg] = []

    def note(message: Msg) -> None:
        if message.command in ("set", "kickoff", "trigger"):
            seen.append(message)

    session.RE.msg_hook = note
    return seen


def test_it_is_said_before_the_run_and_in_the_stop_document(
    session: Session, beamline: SimulatedBeamline, caplog: pytest.LogCaptureFixture
) -> None:
    messages = moved(session)
    said: list[int] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "nothing stores them" in record.getMessage():
                said.append(
                    len([m for m in messages if m.command != "set" or m.args[0] is not False])
                )

    handler = Handler()
    logging.getLogger("concertino").addHandler(handler)
    session.subscribe(Accumulator())
    try:
        session.RE(scan(beamline))
    finally:
        logging.getLogger("concertino").removeHandler(handler)
    assert said == [0]  # before anything but the beam, which goes off, was told to move
    assert (
        "radiography is to take 1 darks, 2 flats, 3 projections, and nothing stores them: they will be "
        "lost. Subscribe an ImageWriter()"
    ) in caplog.text
    assert "camera is about to expose darks, and nobody stores the frames" in caplog.text
    stop = stop_of(session.directory / "scan_0001")
    assert stop["exit_status"] == "success"
    assert stop["reason"] == (
        "nothing was stored: nobody subscribed who stores the frames of darks, flats, projections"
    )


def test_streams_that_a_writer_leaves_out_are_told(
    session: Session, beamline: SimulatedBeamline
) -> None:
    session.subscribe(ImageWriter(streams=("projections",)))
    session.RE(scan(beamline))
    assert stop_of(session.directory / "scan_0001")["reason"] == (
        "the frames of darks, flats were not stored"
    )


@pytest.mark.parametrize("child", [False, True])
def test_all_stored_is_not_mentioned(
    child: bool, session: Session, beamline: SimulatedBeamline, caplog: pytest.LogCaptureFixture
) -> None:
    session.require_storage = True
    session.subscribe(ChildProcess(ImageWriter()) if child else ImageWriter())
    session.RE(scan(beamline))
    assert stop_of(session.directory / "scan_0001")["reason"] == ""
    assert "stores" not in caplog.text


def test_it_is_refused_before_anything_moves(session: Session, beamline: SimulatedBeamline) -> None:
    session.require_storage = True
    session.subscribe(Accumulator())
    messages = moved(session)
    with pytest.raises(
        SessionError, match=r"nothing stores them: nothing was moved\. Subscribe an ImageWriter\(\)"
    ):
        session.RE(scan(beamline))
    assert [m.args[0] for m in messages if m.command == "set"] in ([], [False], [False, False])
    assert not any(m.command in ("kickoff", "trigger") for m in messages)


def test_a_foreign_callback_may_claim_and_is_asked_by_its_claim(
    session: Session, beamline: SimulatedBeamline
) -> None:
    class Looks(FrameCallback):
        def take(self, stream: Any, subscription: Any) -> None:
            for batch in subscription:
                subscription.acknowledge(batch.stop)

    class Stores(Looks):
        def subscribe(self, stream: Any) -> Any:
            claim = Claim(f"file://localhost/tmp/{stream.name}.raw", "application/octet-stream")
            return subscribe(stream.address, name=self.name, claim=claim)

    session.require_storage = True
    token = session.subscribe(Looks("looks"))
    with pytest.raises(
        SessionError, match="camera is about to expose, and nothing stores its frames"
    ):
        session.RE(scan(beamline))
    assert not beamline.shutter.is_open
    assert stop_of(session.directory / "scan_0001")["exit_status"] == "fail"
    session.unsubscribe(token)
    session.subscribe(Stores("stores"))
    session.RE(scan(beamline))
    assert stop_of(session.directory / "scan_0002")["reason"] == ""


def test_frames_are_told_to_be_lost_without_a_session(
    beamline: SimulatedBeamline, caplog: pytest.LogCaptureFixture
) -> None:
    stops: list[Any] = []
    RE = RunEngine({})
    RE.subscribe(lambda name, document: stops.append(document), "stop")
    RE(scan(beamline))
    assert "and nobody stores the frames: they will be lost" in caplog.text
    assert stops[0]["reason"].startswith("nothing was stored: ")


@pytest.mark.parametrize("optional", [False, True])
def test_a_camera_in_the_baseline_is_read_and_takes_no_frames(
    optional: bool, tmp_path: Path, beamline: SimulatedBeamline
) -> None:
    devices = [beamline.rotation] if optional else [beamline.rotation, beamline.camera]
    with open_session(tmp_path, baseline=devices, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        if optional:
            session.add_baseline(beamline.camera, optional=True)
        session.RE(scan(beamline))
    lines = (tmp_path / "scan_0001" / "documents.jsonl").read_text().splitlines()
    docs = [json.loads(line) for line in lines]
    assert docs[-1][1]["exit_status"] == "success"
    baseline = next(d["uid"] for n, d in docs if n == "descriptor" and d["name"] == "baseline")
    events = [d for n, d in docs if n == "event" and d["descriptor"] == baseline]
    assert [event["data"]["camera-frame_rate"] for event in events] == [200.0, 200.0]


def prepared(camera: Any, count: int, *, readout: Any = "direct") -> Any:
    yield from bps.open_run()
    yield from bps.stage(camera, wait=True)
    yield from bps.prepare(camera, FrameRequest(count, "projections", readout=readout), wait=True)
    yield from bps.declare_stream(camera, name="projections")


def finished(camera: Any) -> Any:
    yield from bps.complete(camera, wait=True)
    yield from bps.unstage(camera, wait=True)
    yield from bps.collect(camera, name="projections")
    yield from bps.close_run()


def test_a_camera_that_is_started_twice_says_so(
    session: Session, beamline: SimulatedBeamline
) -> None:
    camera = beamline.camera
    session.subscribe(ImageWriter())

    def plan() -> Any:
        yield from prepared(camera, 50)
        yield from bps.kickoff(camera, wait=True)
        try:
            yield from bps.kickoff(camera, wait=True)
        except FailedStatus as error:
            assert "was started for the 50 frames of projections before" in str(error.__cause__)  # noqa: PT017
            yield from finished(camera)
        else:
            raise AssertionError("it started twice")

    session.RE(plan())
    lines = (session.directory / "scan_0001" / "documents.jsonl").read_text().splitlines()
    data = [json.loads(line)[1] for line in lines if json.loads(line)[0] == "stream_datum"]
    assert max(d["indices"]["stop"] for d in data) == 50


def test_a_camera_that_is_stopped_while_it_records_gives_what_it_has(session: Session) -> None:
    beamline = SimulatedBeamline(shape=(8, 8), exposure=0.001, frame_rate=100, memory_bytes=2**24)
    camera = beamline.camera
    session.subscribe(ImageWriter())
    recorded: list[int] = []

    def plan() -> Any:
        yield from prepared(camera, 5000, readout="later")
        yield from bps.kickoff(camera, wait=True)
        yield from bps.sleep(0.5)
        yield Msg("stop", camera)
        acquisition: Any = camera._acquisition
        recorded.append(acquisition.stream.recorded)
        yield from finished(camera)

    session.RE(plan())
    assert 0 < recorded[0] < 5000
    lines = (session.directory / "scan_0001" / "documents.jsonl").read_text().splitlines()
    data = [json.loads(line)[1] for line in lines if json.loads(line)[0] == "stream_datum"]
    assert max(d["indices"]["stop"] for d in data) == recorded[0]
