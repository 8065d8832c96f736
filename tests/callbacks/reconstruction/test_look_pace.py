"""Previews come as asked where the computer can, and leave it to the scan where it cannot."""

import time
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from concertino.callbacks import announced_streams
from concertino.callbacks.reconstruction._preview_pace import PreviewPace
from concertino.callbacks.reconstruction._previews import Previews
from concertino.frames import subscribe
from concertino.reconstruction import ReconstructionSettings, Reconstructor


class Computer:
    """A clock, and two processors of which a part idles."""

    def __init__(self, idle: float) -> None:
        self.now_s, self.idled_s, self.idle = 0.0, 0.0, idle

    def times(self) -> tuple[float, float] | None:
        return self.idled_s, 2 * self.now_s

    def clock(self) -> float:
        return self.now_s

    def looks(self, pace: PreviewPace, took_s: float, seconds: float) -> list[float]:
        """Periods of the looks of some seconds."""
        end_s, periods = self.now_s + seconds, []
        while self.now_s < end_s:
            period_s = pace.after(took_s)
            periods.append(period_s)
            self.now_s += period_s
            self.idled_s += 2 * period_s * self.idle
        return periods


def test_looks_that_are_quick_come_as_asked_however_busy_the_computer() -> None:
    computer = Computer(idle=0.0)
    pace = PreviewPace(0.2, computer.times, computer.clock)
    assert set(computer.looks(pace, 0.04, 10)) == {0.2}
    assert not pace.late


def test_slow_looks_take_a_quarter_of_a_busy_computer_and_are_as_asked_on_an_idle_one() -> None:
    computer = Computer(idle=0.0)
    pace = PreviewPace(0.2, computer.times, computer.clock)
    assert pace.after(0.12) == pytest.approx(0.48)
    assert not pace.late  # the first look loads code
    computer.looks(pace, 0.12, 10)
    assert pace.period_s == pytest.approx(0.48)
    assert pace.late
    computer.idle = 0.5
    computer.looks(pace, 0.12, 10)
    assert pace.period_s == 0.2
    assert not pace.late
    computer.idle = 0.0
    computer.looks(pace, 0.12, 10)
    assert pace.period_s == pytest.approx(0.48)


def test_where_nothing_is_known_of_the_processors_looks_take_a_quarter() -> None:
    computer = Computer(idle=0.9)
    pace = PreviewPace(0.2, lambda: None, computer.clock)
    assert set(computer.looks(pace, 0.1, 10)) == {0.4}


def test_late_previews_are_told_in_documents_and_once_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is slow here is who looks, which nothing but waiting helps."""
    reconstructor = Reconstructor(
        ReconstructionSettings(center=15.5), num_projections=8, frame_shape=(1, 32)
    )
    reconstructor.add_projections(np.ones((8, 1, 32), np.float32), 0)
    told: list[Any] = []
    readers: list[Any] = []

    def take(name: str, document: Any) -> None:
        if name == "descriptor":
            for stream in announced_streams({}, document):
                readers.append(subscribe(stream.address, name="watcher", delivery="latest"))
        if name == "event" and "preview_s" in document["data"]:
            told.append(document["data"])
            time.sleep(0.05)

    previews = Previews(
        lambda: reconstructor, {"uid": str(uuid4()), "time": 0.0}, [take],
        rows=None, planes=None, period_s=0.01, stream_address="tcp://127.0.0.1:0",
    )  # fmt: skip
    deadline_s = time.monotonic() + 240
    while len(told) < 8 and time.monotonic() < deadline_s:
        previews.came()
        time.sleep(0.01)
    previews.stop()
    previews.end(None)
    for reader in readers:
        reader.close()
    assert told[0]["preview_s"] == told[0]["preview_asked_s"] == 0.01
    assert told[-1]["preview_s"] > 0.05
    (said,) = [text for text in caplog.messages if "Previews" in text]
    assert "not every 0.01 s as asked" in said
