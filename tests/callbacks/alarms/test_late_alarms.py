"""An alarm that is found when its run has ended touches no later run."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from concertino import AlarmError
from concertino.callbacks import Alarm, ImageWriter, ScanAlarms
from concertino.callbacks.alarms._alarm import Level
from concertino.callbacks.alarms._alarm_checks import Idle, Later, SeenFrame
from concertino.devices import SimulatedBeamline
from concertino.plans import radiography
from concertino.session import Session, open_session
from concertino.storage import open_run

WAIT_S = 240.0


@dataclass
class Careful:
    """A check that compares in a thread of its own, and is done when it is let."""

    level: Level
    may_end: threading.Event = field(default_factory=threading.Event)
    runs: int = 0

    def examiner(self, start: Mapping[str, Any], tomo: Any) -> "Comparison":
        self.runs += 1
        return Comparison(self, self.runs == 1)


class Comparison(Idle):
    def __init__(self, asked: Careful, finds: bool) -> None:
        self._asked, self._finds = asked, finds

    def frame(self, frame: SeenFrame) -> Iterator[Alarm | Later]:
        if self._finds and frame.kind == "projection" and frame.index == 2:
            yield lambda: self._compare(frame.stream)

    def _compare(self, stream: str) -> Iterable[Alarm]:
        assert self._asked.may_end.wait(WAIT_S)
        said = "the sample moved by 3 px"
        return [Alarm("sample moved", self._asked.level, stream, 2, 3.0, 2.0, "px", said)]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with open_session(tmp_path, progress=False, catalog=False) as opened:
        opened.subscribe(ImageWriter())
        yield opened


def scan(b: SimulatedBeamline) -> Any:
    return radiography(
        b.camera, b.beam, b.sample_stage, radio_position=0, flat_position=10,
        num_darks=1, num_flats=1, num_projections=30,
    )  # fmt: skip


@pytest.mark.parametrize("level", ["pause", "fail"])
def test_a_late_alarm_is_about_its_own_run(
    session: Session, level: Level, caplog: pytest.LogCaptureFixture
) -> None:
    b = SimulatedBeamline(shape=(16, 16), exposure=0.001, frame_rate=100.0)
    check = Careful(level)
    alarms = ScanAlarms([check])
    session.subscribe(alarms)
    found: list[bool] = []

    def in_the_second(name: str, document: Mapping[str, Any]) -> None:
        """Let the comparison of the first run end while the second is at its frames."""
        if document["name"] == "projections" and check.runs == 2:
            check.may_end.set()
            alarms.wait(WAIT_S)
            found.append(session.hold.requested)

    session.subscribe(in_the_second, "descriptor")
    session.RE(scan(b))
    session.RE(scan(b))
    alarms.wait(WAIT_S)
    assert found == [False]
    for number in (1, 2):
        run = open_run(number, session.directory)
        assert (run.exit_status, run.reason) == ("success", "")
        assert "pauses" not in run.streams
    assert f"(level {level}) is about run scan_0001, which had ended" in caplog.text
    assert alarms.alarms == []  # Of the second.
    record = open_run(session.directory / "scan_0001_alarms_01")
    (event,) = record["alarms"].events
    assert (event["data"]["level"], event["data"]["value"]) == (level, 3.0)
    assert not (session.directory / "scan_0002_alarms_01").exists()


def test_one_that_is_found_in_time_still_fails_its_run(session: Session) -> None:
    b = SimulatedBeamline(shape=(16, 16), exposure=0.001, frame_rate=20.0)
    check = Careful("fail")
    check.may_end.set()
    session.subscribe(ScanAlarms([check]))
    with pytest.raises(Exception, match="the sample moved by 3 px") as failed:
        session.RE(scan(b))
    assert isinstance(failed.value, AlarmError) or "AlarmError" in repr(failed.value.__cause__)
    assert open_run(1, session.directory).exit_status == "fail"
    session.RE(scan(b))
    assert open_run(2, session.directory).exit_status == "success"
