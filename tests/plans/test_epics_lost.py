"""IOCs that are killed, or fall silent, in mid-scan: the beam goes off in time, and the run says who is gone."""

import re
import signal
import time
from pathlib import Path

import pytest

from .control_systems.beamlines import Scans, beamline

#: A minute with beam.
LONG = {"num_projections": 3000, "order": ["projections"]}
SILENT_S = 3.0
LIMITS = {"still_s": 6.0, "silent_s": SILENT_S, "stop_s": 3.0, "off_s": 5.0, "answer_s": 10.0}
#: What a busy computer takes longer, in s.
BUSY_S = 6.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.disturbed_by_load(
        "servers of motors are processes; how soon a scan ends is judged by the clock"
    ),
]


def turning(scans: Scans) -> None:
    """Wait until the rotation has been on its long way for a moment, with beam."""
    until_s = time.monotonic() + 60
    while not any(way > 90 for *_, way, _, _ in scans.moves("rot")):
        assert time.monotonic() < until_s
        time.sleep(0.02)
    time.sleep(1.0)
    assert scans.beam()[-1] is True


@pytest.mark.parametrize("kind", ["async", "classic"])
@pytest.mark.parametrize("how", ["killed", "silent"])
def test_an_ioc_of_motors_that_is_gone_ends_the_scan(tmp_path: Path, kind: str, how: str) -> None:
    with beamline(kind, tmp_path, apart=True) as scans:
        scans.begin("continuous_tomography", **LONG, deadlines=LIMITS)
        turning(scans)
        gone_s = time.time()
        scans.server.send_signal(signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        found = scans.answer(100)
        closed_s = scans.closed_s()
        print(
            f"beam off after {closed_s - gone_s:.1f} s, ended after {found['ended_s'] - gone_s:.1f} s"
        )
        assert 0 < closed_s - gone_s < SILENT_S + BUSY_S
        assert found["ended_s"] - gone_s < 60
        assert found["exit_status"] == "fail"
        assert re.search(r"rot \(ca://\w+:rot\)", found["reason"]), found
        assert "Check that its IOC or device server runs, the network" in found["reason"]
        assert "THE BEAM MAY BE ON" not in found["reason"]


@pytest.mark.parametrize("how", ["killed", "silent"])
def test_a_beams_ioc_that_is_gone_is_told_in_the_stop_document(tmp_path: Path, how: str) -> None:
    with beamline("async", tmp_path, apart=True) as scans:
        scans.begin(
            "continuous_tomography", num_projections=250, order=["projections"], deadlines=LIMITS
        )
        turning(scans)
        scans.beam_server.send_signal(signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        found = scans.answer(100)
        moves = scans.moves("rot"), scans.moves("rot", ended=True)
    assert found["exit_status"] == "fail"
    assert re.search(r"shutter \(ca://\w+:shutter\)", found["reason"]), found
    assert "THE BEAM MAY BE ON" in found["reason"]
    assert len(moves[0]) == len(moves[1])
