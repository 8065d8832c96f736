"""Servers of motors and beams that are killed or fall silent in mid-scan, and networks that are cut: beam off in time, and who is gone."""

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .control_systems.beamlines import Scans, beamline

SILENT_S = 2.0
#: From when there is beam.
LIMITS = {"still_s": 3.0, "silent_s": SILENT_S, "stop_s": 1.0, "off_s": 3.0, "answer_s": 3.0}
#: Half a minute with beam; and a turn that is soon over, so that the beam is to go off, at 90 deg/s.
LONG: dict[str, Any] = {"num_projections": 1500, "angular_range": "45 deg"}
LONG |= {"order": ["projections"], "shorter": LIMITS}
STILL = {name: given for name, given in LONG.items() if name != "angular_range"} | {
    "num_projections": 50
}
SHORT = LONG | {"num_projections": 50, "angular_range": "90 deg"}
#: What a busy computer takes longer, in s.
BUSY_S = 6.0
#: What is said of a motor that does not answer, by who watches it, or who wants to know where it is.
SILENT = (
    r"(does not answer for [\d.]+ s when it is asked where it is|was asked where it is and .*)\. "
)
SILENT += "Check that its IOC or device server runs, the network, and where the motor is: it may still move"
PLAIN: dict[str, Any] = {"rot": "plain_rot", "shutter": "plain_shutter"}
ROT, SHUTTER = "t/motor/rot", "t/switch/shutter"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.disturbed_by_load(
        "servers of motors are processes; how soon a scan ends is judged by the clock"
    ),
]


class Story:
    """One scan after the other, each with a fault, until what was killed cannot be used any more.

    Parameters
    ----------
    scans : Scans
        Runs them.
    where : str
        What all addresses of its devices begin with, as a regular expression.
    """

    def __init__(self, scans: Scans, where: str) -> None:
        self._scans, self._where = scans, where

    def motor_is_lost(
        self, lose: Callable[[], Any], find: Callable[[], Any] | None = None, name: str = "rot", after_s: float = 1.5,
        **given: Any,
    ) -> None:  # fmt: skip
        """Lose the motor a while after it set out; have it found again when the beam is off, or never."""
        began_s = self._turning(after_s, **LONG, **given)
        lost_s = time.time()
        lose()
        while not (closed_s := self._scans.closed_s()):
            assert time.time() - lost_s < SILENT_S + BUSY_S, "there is still beam"
            time.sleep(0.02)
        if find is not None:
            find()
        found = self._scans.answer(100)
        self._tell("motor", began_s, lost_s, closed_s, found)
        assert 0 < closed_s - lost_s < SILENT_S + BUSY_S
        assert found["exit_status"] == "fail"
        assert re.search(rf"{name} \({self._where}\S+\).* {SILENT}", found["reason"]), found
        assert "THE BEAM MAY BE ON" not in found["reason"]

    def beam_is_lost(
        self, lose: Callable[[], Any], name: str = "shutter", *, moves: bool = True, **given: Any
    ) -> None:
        """Lose what switches the beam off in mid-scan, in which the rotation moves or is left alone."""
        if moves:
            began_s = self._turning(0.2, **SHORT, **given)
        else:
            began_s = time.time()
            self._scans.begin("radiography", **STILL, **given)
            self._until(lambda: self._scans.beam()[-1:] == [True])
        lost_s = time.time()
        lose()
        found = self._scans.answer(100)
        self._tell("beam", began_s, lost_s, 0.0, found)
        assert found["exit_status"] == "fail"
        assert re.search(rf"{name} \({self._where}\S+\)", found["reason"]), found
        assert "THE BEAM MAY BE ON" in found["reason"]
        assert not moves or len(self._scans.moves("rot")) == len(
            self._scans.moves("rot", ended=True)
        )

    def closes(self) -> None:
        """Wait until the shutter has closed, after all."""
        self._until(lambda: self._scans.closed_s() > 0)

    def _turning(self, after_s: float, **given: Any) -> float:
        """Begin a scan, and wait until the rotation is on its long way, with beam."""
        began_s = time.time()
        self._scans.begin("continuous_tomography", **given)
        self._until(self._scans.sweeps)
        time.sleep(after_s)
        assert self._scans.beam()[-1] is True
        return began_s

    def _until(self, true: Callable[[], bool]) -> None:
        until_s = time.monotonic() + 60
        while not true():
            assert time.monotonic() < until_s, self._scans.answer(1)
            time.sleep(0.02)

    def _tell(self, what: str, began_s: float, lost_s: float, closed_s: float, found: Any) -> None:
        closed = f"closed {closed_s - lost_s:.1f} s, " if closed_s else ""
        ended = f"ended {found['ended_s'] - lost_s:.1f} s after it"
        print(
            f"{what} lost {lost_s - began_s:.1f} s after the begin; {closed}{ended}: {found['reason']}"
        )
        assert found["ended_s"] - lost_s < 60


def silence(process: Any) -> Callable[[], None]:
    return lambda: process.send_signal(signal.SIGSTOP)


def revive(process: Any) -> Callable[[], None]:
    return lambda: process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("kind", ["async", "classic"])
def test_iocs_that_are_lost(tmp_path: Path, kind: str) -> None:
    with beamline(kind, tmp_path, apart=True) as scans:
        story, relay = Story(scans, r"ca://\w+:"), scans.relay
        motors, beam = scans.server, scans.beam_server
        assert relay is not None
        story.motor_is_lost(relay.cut, relay.mend)
        story.motor_is_lost(silence(motors), revive(motors))
        story.beam_is_lost(silence(beam))
        revive(beam)()
        story.closes()
        story.motor_is_lost(motors.kill)
        story.beam_is_lost(beam.kill, moves=False, stage="simulated")


def test_tango_servers_that_are_lost(tmp_path: Path) -> None:
    """With motor and shutter of ophyd-async alone, and with ours where that is another thing."""
    with beamline("tango", tmp_path, apart=True) as scans:
        story, relay = Story(scans, r"tango://127\.0\.0\.1:\d+/t/"), scans.relay
        motors, beam = scans.server, scans.beam_server
        assert relay is not None
        stalls_and_stays_open(scans)
        story.motor_is_lost(relay.cut, relay.mend)
        # While it gains speed, and is asked where it is all the time.
        story.motor_is_lost(relay.cut, relay.mend, "plain_rot", 0.2, **PLAIN)
        story.motor_is_lost(silence(motors), revive(motors), "plain_rot", **PLAIN)
        story.beam_is_lost(silence(beam), "plain_shutter", **PLAIN)
        revive(beam)()
        story.closes()
        story.motor_is_lost(motors.kill, None, "plain_rot", **PLAIN)
        story.beam_is_lost(beam.kill, moves=False, stage="simulated")


def stalls_and_stays_open(scans: Scans) -> None:
    """Have the motor of ophyd-async alone stall, and its shutter not close."""
    scans.tell(ROT, "stalls")
    found = scans.run("continuous_tomography", **SHORT, **PLAIN)
    said = r"plain_rot \(tango://\S+\) was to move to [\d.]+ deg and has not said that it is there, nor come nearer for "
    assert re.search(said, found["reason"]), found
    assert found["exit_status"] == "fail"
    assert scans.beam()[-1] is False
    scans.tell(ROT, "none")
    scans.tell(SHUTTER, "open")
    found = scans.run("continuous_tomography", **SHORT, **PLAIN)
    scans.tell(SHUTTER, "none")
    said = r"plain_shutter \(tango://\S+\) was switched off, and 2 s later its read-back tango://\S+ reads True, not False\."
    assert re.search(said, found["reason"]), found
    assert "THE BEAM MAY BE ON" in found["reason"]
    assert found["exit_status"] == "fail"
    assert len(scans.moves("rot")) == len(scans.moves("rot", ended=True))
