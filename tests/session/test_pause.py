"""A session's scan is paused and goes on: by the session, or by the RunEngine's deferred pause."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bluesky.utils import RunEngineInterrupted

from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline
from concertino.plans import step_tomography
from concertino.session import Session, open_session
from concertino.storage import StoredScan, open_run


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with open_session(tmp_path, progress=False, catalog=False) as opened:
        opened.subscribe(ImageWriter())
        yield opened


def scan(b: SimulatedBeamline) -> Any:
    return step_tomography(
        b.camera, b.rotation, b.beam, b.sample_stage, radio_position=0, flat_position=1,
        num_darks=2, num_flats=2, num_projections=30, angular_range="30 deg",
    )  # fmt: skip


class At:
    """Calls a function when so many projections are documented."""

    def __init__(self, count: int, function: Any) -> None:
        self.count, self.function, self.called = count, function, False

    def __call__(self, name: str, document: Any) -> None:
        stepped = name == "event" and "rotation" in document["data"]
        if stepped and not self.called and document["seq_num"] >= self.count:
            self.called = True
            threading.Thread(target=self.function).start()


def whole(session: Session) -> StoredScan:
    stored = StoredScan(open_run(int(session.RE.md["scan_id"]), session.directory))
    assert all(not stored.missing(stream) for stream in ("darks", "flats", "projections"))
    assert len([s for s in stored.runs[0].streams if s.startswith("projections")]) == 2
    assert stored.runs[0].exit_status == "success"
    return stored


def test_pause_and_resume(session: Session) -> None:
    b = SimulatedBeamline(shape=(16, 16), exposure=0.001)
    seen = []

    def pause() -> None:
        session.pause("lunch")
        while b.shutter.is_open:
            time.sleep(0.01)
        time.sleep(0.3)
        seen.append((b.shutter.is_open, session.RE.state))
        assert session.resume() is None

    session.subscribe(At(7, pause))
    session.RE(scan(b))
    assert seen == [(False, "running")]
    stored = whole(session)
    paused = stored.runs[0]["pauses"].events[0]["data"]
    assert (paused["pause-state"], paused["pause-reason"]) == ("paused", "lunch")


def test_a_deferred_pause_of_the_run_engine(session: Session) -> None:
    b = SimulatedBeamline(shape=(16, 16), exposure=0.001)
    session.subscribe(At(7, lambda: session.RE.request_pause(defer=True)))
    with pytest.raises(RunEngineInterrupted):
        session.RE(scan(b))
    assert session.RE.state == "paused"
    assert not b.shutter.is_open
    session.resume()
    assert session.RE.state == "idle"
    whole(session)


def test_a_scan_that_is_ended_while_it_is_paused(session: Session) -> None:
    b = SimulatedBeamline(shape=(16, 16), exposure=0.001)
    session.subscribe(At(7, lambda: session.RE.request_pause(defer=True)))
    with pytest.raises(RunEngineInterrupted):
        session.RE(scan(b))
    session.RE.abort("enough")
    assert not b.shutter.is_open
    assert not session.hold.requested
    run = open_run(int(session.RE.md["scan_id"]), session.directory)
    assert (run.exit_status, run.reason) == ("abort", "enough")
