"""The beam goes off when the session dies or is silent, and only then; told by the beam's own journal."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from concertino.guard import untold_reports
from concertino.session import open_session
from concertino.storage import open_run

from .conftest import Bench, Subject, eventually

pytestmark = pytest.mark.disturbed_by_load(
    "the beam must be off two seconds after a death, by processes that need a processor"
)

WITHIN_S = 2.0


def gone(guard: psutil.Process) -> None:
    """Wait until the guard has ended."""
    eventually(lambda: not guard.is_running(), "the guard process has not ended")


@pytest.mark.parametrize("kind", ["file", "tango", "tango shutter", "ca"])
def test_a_session_that_is_killed_in_mid_scan(
    bench: Bench, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind == "ca":
        pytest.importorskip("caproto")
        pytest.importorskip("aioca")
    journal = bench.journal()
    subject = bench.subject(bench.beam(kind))
    guard = subject.meet_guard()
    journal.wait(True)
    killed_s = subject.signal(signal.SIGKILL)
    assert journal.wait(False) - killed_s < WITHIN_S
    gone(guard)

    # The next start says what happened, aloud and once; the run's record says it for good.
    with open_session(subject.directory, catalog=False, progress=False) as session:
        (report,) = session.guard.reports
    assert "Its guard: beam was switched off by " in capsys.readouterr().err
    assert report.beams[0].off
    assert 0 <= report.time - killed_s < WITHIN_S
    said = report.sentence()
    assert f"process {subject.pid}, died, or ended without closing, at" in said
    assert "during scan_0001. Its guard: beam was switched off by " in said
    assert "MAY BE ON" not in said
    with open_session(subject.directory, catalog=False, progress=False) as session:
        assert session.guard.reports == ()
    run = open_run(subject.directory / "scan_0001")
    assert run.exit_status == "incomplete"
    assert run.reason.startswith(
        "there is no stop document: the process that recorded this run died; its guard: beam was "
        "switched off by "
    )


def test_a_beam_that_cannot_be_switched_off(bench: Bench) -> None:
    subject = bench.subject(bench.beam("stuck"))
    subject.meet_guard()
    bench.journal().wait(True)
    subject.signal(signal.SIGKILL)
    subject.ended()

    def told() -> Any:
        # While it is tried, and when it is given up after a minute.
        with open_session(subject.directory, catalog=False, progress=False) as session:
            return session.guard.reports

    (report,) = eventually(told, "nothing was reported")
    assert "Its guard is still at work: beam could not be switched off by file_beam:fail" in (
        report.sentence()
    )
    reason = open_run(subject.directory / "scan_0001").reason
    assert "THE BEAM MAY BE ON" in reason


def test_a_session_that_stands_still(bench: Bench) -> None:
    journal = bench.journal()
    subject = bench.subject(bench.beam("file"), open={"guard_silence_s": 3.0})
    guard = subject.meet_guard()
    journal.wait(True)
    stopped_s = subject.signal(signal.SIGSTOP)
    off_s = journal.wait(False)
    assert 1.9 < off_s - stopped_s < 3.0 + WITHIN_S
    time.sleep(2)  # It acts once.
    assert len([1 for when, on, _ in journal.lines() if not on and when > stopped_s]) == 1

    # When it goes on, without beam, its run does not.
    subject.signal(signal.SIGCONT)
    assert "ended: its guard acted, as the session was not heard of for 3 s" in subject.said(
        "error"
    )
    subject.said("done")
    subject.said("closed")
    assert "was not heard of for 3 s" in subject.errors
    run = open_run(subject.directory / "scan_0001")
    assert run.exit_status == "abort"
    assert "its guard acted, as the session was not heard of for 3 s: beam was switched off" in (
        run.reason
    )
    assert not journal.is_on
    gone(guard)


def test_a_session_that_stands_still_and_then_dies(bench: Bench) -> None:
    journal = bench.journal()
    subject = bench.subject(bench.beam("file"), open={"guard_silence_s": 3.0})
    guard = subject.meet_guard()
    journal.wait(True)
    stopped_s = subject.signal(signal.SIGSTOP)
    journal.wait(False)
    # Somebody else may have the beam by now.
    subject.signal(signal.SIGKILL)
    gone(guard)
    assert len([1 for when, on, _ in journal.lines() if not on and when > stopped_s]) == 1


def test_a_loop_that_hangs(bench: Bench) -> None:
    journal = bench.journal()
    # It hangs on until the beam is off.
    subject = bench.subject(
        bench.beam("file"),
        open={"guard_loop_silence_s": 3.0},
        hang_s=60.0,
        until_off=True,
        frames=300,
    )
    subject.meet_guard()
    on_s = journal.wait(True)
    assert journal.wait(False) - on_s < 40
    assert "ended: its guard acted, as the session had a RunEngine" in subject.said("error")
    subject.said("done")
    subject.said("closed")
    assert "had a RunEngine whose loop did nothing for" in subject.errors
    run = open_run(subject.directory / "scan_0001")
    assert run.exit_status == "abort"
    assert not journal.is_on


def test_a_callback_that_takes_its_time_is_no_hang(bench: Bench) -> None:
    subject = bench.subject(
        bench.beam("file"), open={"guard_silence_s": 3.0}, hang_s=5.0, frames=20
    )
    subject.meet_guard()
    subject.said("closed")
    assert subject.errors == ""
    assert open_run(subject.directory / "scan_0001").exit_status == "success"


def test_a_guard_that_is_killed_is_replaced(bench: Bench) -> None:
    journal = bench.journal()
    subject = bench.subject(bench.beam("file"))
    first = subject.meet_guard()
    journal.wait(True)
    first.kill()
    eventually(lambda: "The guard process ended with -9." in subject.errors, "it was not said")

    def second() -> Any:
        children = psutil.Process(subject.pid).children()
        return [child for child in children if child.pid != first.pid]

    (guard,) = eventually(second, "there is no second guard")
    subject.guard = guard
    # It reports its connection within a moment; until then nothing was promised.
    eventually(lambda: guard.num_threads() > 1, "it holds no beam")
    time.sleep(1)
    assert journal.is_on
    killed_s = subject.signal(signal.SIGKILL)
    assert journal.wait(False) - killed_s < WITHIN_S


@pytest.mark.slow
def test_a_guard_that_hangs_is_replaced(bench: Bench) -> None:
    subject = bench.subject(bench.beam("file"))
    first = subject.meet_guard()
    bench.journal().wait(True)
    first.suspend()
    # Said long before it is given up, which takes 15 s; one that goes on again is kept.
    said = "The guard was not heard of for 3 s: if this session dies now, beam may stay on."
    eventually(lambda: said in subject.errors, "it was not said")
    first.resume()
    eventually(lambda: "The guard is heard of again." in subject.errors, "it was not said")
    assert "The guard process ended" not in subject.errors
    first.suspend()
    eventually(lambda: "The guard process ended with -9." in subject.errors, "it was not said")
    assert bench.journal().is_on


def test_a_session_that_closes_leaves_the_beam_as_it_is(bench: Bench) -> None:
    journal = bench.journal()
    subject = bench.subject(bench.beam("file"), only_beam=True)
    guard = subject.meet_guard()
    subject.said("closed")
    assert subject.ended() == 0
    gone(guard)
    assert [on for _, on, _ in journal.lines()] == [True]
    assert subject.errors == ""
    with open_session(subject.directory, catalog=False, progress=False) as session:
        assert session.guard.reports == ()


def test_a_process_that_ends_without_closing_its_session(bench: Bench) -> None:
    subject = bench.subject(bench.beam("file"), only_beam=True, close=False)
    subject.meet_guard()
    assert subject.ended() == 3
    bench.journal().wait(False)


def test_a_child_that_keeps_the_pipe_open_hides_nothing(bench: Bench) -> None:
    subject = bench.subject(bench.beam("file"), only_beam=True, wait=True, fork=True)
    child = psutil.Process(int(subject.said("child")))
    guard = subject.meet_guard()
    killed_s = subject.signal(signal.SIGKILL)
    assert bench.journal().wait(False) - killed_s < WITHIN_S
    gone(guard)
    child.kill()


def test_what_the_terminal_sends_does_not_reach_the_guard(bench: Bench) -> None:
    subject = bench.subject(bench.beam("file"), only_beam=True, wait=True)
    guard = subject.meet_guard()
    assert os.getpgid(guard.pid) != os.getpgid(subject.pid)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGQUIT):
        guard.send_signal(number)
    time.sleep(1)
    assert guard.status() in (psutil.STATUS_SLEEPING, psutil.STATUS_RUNNING)
    killed_s = subject.signal(signal.SIGKILL)
    assert bench.journal().wait(False) - killed_s < WITHIN_S


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_guard_holds_none_of_the_session_s_files_and_is_small(bench: Bench) -> None:
    subject = bench.subject(bench.beam("tango"), only_beam=True, wait=True)
    port = int(subject.said("port"))
    guard = subject.meet_guard()
    held = psutil.Process(subject.pid).net_connections()
    assert port in [connection.laddr.port for connection in held]
    assert port not in [connection.laddr.port for connection in guard.net_connections()]
    assert [file.path for file in guard.open_files() if str(subject.directory) in file.path] == []
    assert guard.memory_info().rss < 150e6
    loaded = {Path(part.path).name.partition(".")[0] for part in guard.memory_maps()}
    assert "libtango" in loaded or any("tango" in name for name in loaded)
    assert not any(name in " ".join(loaded) for name in ("llvmlite", "h5py", "pydantic"))


def test_a_beam_that_is_away_for_a_while(bench: Bench) -> None:
    subject = bench.subject(bench.beam("tango"), only_beam=True, wait=True)
    subject.meet_guard()
    bench.stop_servers()
    eventually(lambda: "The guard has lost its connection to beam: " in subject.errors, "not said")
    bench.start_again()
    killed_s = subject.signal(signal.SIGKILL)
    # It is tried again until the beam answers.
    eventually(
        lambda: [1 for when, on, _ in bench.journal().lines() if not on and when > killed_s], "on"
    )
    report = eventually(
        lambda: [one for one in untold_reports(subject.directory) if one.done], "no report"
    )[-1]
    assert report.beams[0].off


def test_a_guard_that_finds_no_beam_delays_a_scan_and_does_not_prevent_it(bench: Bench) -> None:
    nowhere = "tango://127.0.0.1:1/test/shutter/1#dbase=no"
    subject = bench.subject(
        bench.beam("file"), frames=10,
        open={"guard": {"name": "shutter", "tango": nowhere, "command": "Close"}},
    )  # fmt: skip
    subject.meet_guard()
    subject.said("closed")
    run = open_run(subject.directory / "scan_0001")
    assert run.exit_status == "success"
    assert (
        "Beam shutter is not guarded: if this session dies, it stays as it is. The guard process was not "
        "connected to it within 10 s: "
    ) in subject.errors
    assert subject.errors.count("is not guarded") == 1
    assert "Beam beam" not in subject.errors  # Only what was named is guarded.


def test_sessions_have_guards_of_their_own(bench: Bench) -> None:
    beam = bench.beam("file")
    first: Subject = bench.subject(beam, "first", only_beam=True, wait=True)
    second: Subject = bench.subject(beam, "second", only_beam=True, wait=True)
    guards = [first.meet_guard(), second.meet_guard()]
    first.signal(signal.SIGKILL)
    bench.journal().wait(False)
    gone(guards[0])
    assert guards[1].is_running()
