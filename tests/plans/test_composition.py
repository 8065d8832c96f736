"""Imaging plans among bluesky's own: pauses, open runs, run keys and suspenders keep bluesky's rules."""

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import pytest
from bluesky import Msg, RunEngine
from bluesky.suspenders import SuspendFloor
from bluesky.utils import FailedPause, MsgGenerator, RunEngineInterrupted
from ophyd import Signal

import concertino
from concertino import ParameterError, SessionError
from concertino.callbacks import ImageWriter
from concertino.documents import validate_run
from concertino.plans import ascan, continuous_tomography, radiography
from concertino.session import open_session
from concertino.session._run_start_suspender import RunStartSuspender

from .laboratory import COUNTS, POSITIONS, Laboratory

REFUSAL = (
    "An imaging plan is a run of its own and was begun within a run that is still open; nothing has "
    "moved. Close that run first, or let the plan have a run key of its own: "
    "bluesky.preprocessors.set_run_key_wrapper(plan, 'imaging')."
)


class Guest:
    """A laboratory whose plans run on bluesky's own RunEngine, or on that of a session."""

    def __init__(self, root: Path, engine: str) -> None:
        self.lab = Laboratory(root)
        self.session = None
        self.RE: Any = RunEngine({})
        self.documents: list[tuple[str, Any]] = []
        if engine == "session":
            self.session = open_session(root / "session", progress=False, catalog=False)
            self.session.subscribe(ImageWriter())
            self.RE = self.session.RE
        self.RE.subscribe(lambda name, document: self.documents.append((name, document)))
        self.ring = self.lab.beamline.ring

    def imaging(self) -> MsgGenerator[Any]:
        b = self.lab.beamline
        return radiography(b.camera, b.beam, b.sample_stage, **COUNTS, **POSITIONS)

    def told(self, kind: str, field: str) -> list[Any]:
        return [doc.get(field) for name, doc in self.documents if name == kind]

    def events(self, start: str) -> int:
        """Return the number of events in the stream ``primary`` of a run."""
        streams = {
            doc["uid"]
            for name, doc in self.documents
            if name == "descriptor" and doc["run_start"] == start and doc["name"] == "primary"
        }
        return sum(
            len(doc["seq_num"]) if name == "event_page" else 1
            for name, doc in self.documents
            if name in ("event", "event_page") and doc["descriptor"] in streams
        )

    def close(self) -> None:
        if self.session is not None:
            self.session.close()
        self.lab.close()


@pytest.fixture(params=["bluesky", "session"])
def guest(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Guest]:
    made = Guest(tmp_path, request.param)
    yield made
    made.close()


def pausing(guest: Guest, wanted: Callable[[Msg], bool]) -> list[str]:
    """Have the RunEngine paused, at once, at the first message that is wanted; return what was asked."""
    asked: list[str] = []

    def hook(message: Msg) -> None:
        if not asked and wanted(message):
            asked.append(message.command)
            guest.RE.loop.call_soon(
                lambda: guest.RE.loop.create_task(guest.RE._request_pause_coro(False))
            )

    guest.RE.msg_hook = hook
    return asked


def scan_of(guest: Guest) -> MsgGenerator[Any]:
    return bp.scan([guest.ring], guest.lab.beamline.sample_stage, 0, 0.4, num=5)


def in_the_scan(guest: Guest) -> Callable[[Msg], bool]:
    return lambda message: message.command == "read" and message.obj is guest.ring


@pytest.mark.parametrize("before", ["nothing", "a run"])
def test_a_scan_after_an_imaging_run_pauses_as_without_it(guest: Guest, before: str) -> None:
    def mixed() -> MsgGenerator[Any]:
        if before == "a run":
            yield from guest.imaging()
        yield from scan_of(guest)

    pausing(guest, in_the_scan(guest))
    with pytest.raises(RunEngineInterrupted):
        guest.RE(mixed())
    assert guest.RE.state == "paused"
    guest.RE.resume()
    assert guest.RE.state == "idle"
    assert guest.told("stop", "exit_status")[-1] == "success"
    assert guest.events(guest.told("start", "uid")[-1]) == 5


def test_an_imaging_run_that_fails_leaves_the_way_back(guest: Guest) -> None:
    def full() -> MsgGenerator[Any]:
        yield from bps.null()
        raise OSError("the disk is full")

    def fails(message: Msg) -> tuple[MsgGenerator[Any] | None, None]:
        return (full() if message.command == "kickoff" else None), None

    def mixed() -> MsgGenerator[Any]:
        try:
            yield from bpp.plan_mutator(guest.imaging(), fails)
        except OSError:
            yield from bps.null()
        yield from scan_of(guest)

    pausing(guest, in_the_scan(guest))
    with pytest.raises(RunEngineInterrupted):
        guest.RE(mixed())
    assert guest.RE.state == "paused"
    guest.RE.resume()
    assert guest.told("stop", "exit_status") == ["fail", "success"]


def test_who_cleared_the_checkpoint_before_finds_it_cleared(guest: Guest) -> None:
    def mixed() -> MsgGenerator[Any]:
        yield from bps.clear_checkpoint()
        yield from guest.imaging()
        yield from scan_of(guest)

    asked = pausing(guest, in_the_scan(guest))
    with pytest.raises((FailedPause, RunEngineInterrupted)):
        guest.RE(mixed())
    assert asked
    assert guest.RE.state == "idle"  # It could not pause.


def test_an_imaging_plan_within_an_open_run_is_refused(guest: Guest) -> None:
    moved: list[str] = []
    refused: list[str] = []

    def outer() -> MsgGenerator[Any]:
        yield from bps.open_run(md={"plan_name": "outer"})
        try:
            yield from guest.imaging()
        except ParameterError as error:
            refused.append(str(error))
        yield from bps.trigger_and_read([guest.ring])
        yield from bps.close_run()

    def hook(message: Msg) -> None:
        if message.command in ("set", "kickoff", "trigger", "stage") and message.args[:1] != (
            False,
        ):
            moved.append(f"{message.command} {message.obj.name}")

    guest.RE.msg_hook = hook
    guest.RE(outer())
    assert refused == [REFUSAL]
    # The beam goes off, and nothing else happens.
    assert [what for what in moved if not what.startswith(("stage", "trigger"))] == []
    assert guest.told("start", "plan_name") == ["outer"]
    assert guest.told("stop", "exit_status") == ["success"]
    assert guest.events(guest.told("start", "uid")[0]) == 1


def test_a_refusal_that_nobody_catches_ends_the_outer_run_as_failed(guest: Guest) -> None:
    def outer() -> MsgGenerator[Any]:
        yield from bps.open_run(md={"plan_name": "outer"})
        yield from guest.imaging()

    with pytest.raises(ParameterError, match="begun within a run that is still open"):
        guest.RE(outer())
    assert guest.told("stop", "exit_status") == ["fail"]


def test_an_imaging_plan_under_a_run_key_of_its_own(guest: Guest) -> None:
    def outer() -> MsgGenerator[Any]:
        yield from bps.open_run(md={"plan_name": "outer"})
        yield from bps.trigger_and_read([guest.ring])
        yield from bpp.set_run_key_wrapper(guest.imaging(), "imaging")
        yield from bps.checkpoint()
        yield from bps.trigger_and_read([guest.ring])
        yield from bps.close_run()

    guest.RE(outer())
    uids = dict(zip(guest.told("start", "plan_name"), guest.told("start", "uid"), strict=True))
    assert list(uids) == ["outer", "radiography"]
    # The inner run ends first, and both well.
    assert guest.told("stop", "run_start") == [uids["radiography"], uids["outer"]]
    assert guest.told("stop", "exit_status") == ["success", "success"]
    assert guest.events(uids["outer"]) == 2


class Beam:
    """A ring current that drops at a message, and comes back a little later."""

    def __init__(self, guest: Guest, wanted: Callable[[int, Msg], bool]) -> None:
        self.current = Signal(name="ring_current", value=100.0)
        self.count = 0
        self.dropped = ""
        self.seen: list[str] = []

        def hook(message: Msg) -> None:
            self.seen.append(message.command)
            if not self.dropped and wanted(self.count, message):
                self.dropped = f"{self.count} {message.command}"
                self.current.put(10.0)
                threading.Timer(0.3, self.current.put, (100.0,)).start()
            self.count += 1

        guest.RE.msg_hook = hook


def count_before_the_run(guest: Guest) -> int:
    """Return the number of messages until the run opens, but for two: bluesky hears of it so much later."""
    beam = Beam(guest, lambda place, message: False)
    guest.RE(guest.imaging())
    guest.RE.msg_hook = None
    guest.documents.clear()
    return beam.seen.index("open_run") - 2


def test_a_suspender_that_trips_before_the_run_opens_has_it_wait(guest: Guest) -> None:
    # At each message in turn.
    for place in range(count_before_the_run(guest)):
        beam = Beam(guest, lambda at, message, place=place: at == place)  # type: ignore[misc]
        suspender = SuspendFloor(beam.current, 50, sleep=0)
        guest.RE.install_suspender(suspender)
        guest.documents.clear()
        try:
            guest.RE(guest.imaging())
        finally:
            guest.RE.remove_suspender(suspender)
            guest.RE.msg_hook = None
        assert "_start_suspender" in beam.seen or "wait_for" in beam.seen, beam.dropped
        assert guest.told("stop", "exit_status") == ["success"], beam.dropped
        if guest.session is None:
            validate_run(guest.documents)


def test_a_session_waits_before_a_run_as_long_as_its_suspender_says(tmp_path: Path) -> None:
    guest = Guest(tmp_path, "session")
    assert guest.session is not None
    beam = Beam(guest, lambda place, message: place == 2)
    suspender = SuspendFloor(beam.current, 50, sleep=0)
    other = SuspendFloor(Signal(name="vacuum", value=100.0), 50, sleep=0)
    guest.session.wait_before_runs(suspender)
    guest.RE.install_suspender(other)
    back: list[float] = []
    guest.RE.subscribe(lambda name, doc: back.append(beam.current.get()), "start")

    def vacuum(message: Msg, after: Any = guest.RE.msg_hook) -> None:
        after(message)
        if message.command == "wait_for" and suspender.tripped and not other.tripped:
            # While it waits, a suspender of bluesky's own trips, too.
            other._sig.put(10.0)
            threading.Timer(0.1, other._sig.put, (100.0,)).start()

    guest.RE.msg_hook = vacuum
    guest.RE(guest.imaging())
    assert beam.dropped
    assert back == [100.0]  # The run began when the current was back.
    assert guest.told("stop", "exit_status") == ["success"]
    guest.close()


class Silent(SuspendFloor):
    """A suspender whose signal does not answer until it is told to."""

    answers = threading.Event()

    def install(self, *args: Any, **kwargs: Any) -> None:
        self.answers.wait(240)


def test_a_suspender_whose_signal_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    guest = Guest(tmp_path, "bluesky")
    gate = RunStartSuspender(guest.RE.loop, within_s=0.3)
    guest.RE.preprocessors.append(gate)
    silent: Any = Silent(Signal(name="ring", value=100.0), 50)  # type: ignore[no-untyped-call]
    try:
        with pytest.raises(
            SessionError, match=r"Silent of ring was to be watched, .* within 0.3 s"
        ):
            gate.add(silent)
    finally:
        Silent.answers.set()
    guest.RE(guest.imaging())  # Nothing is left of it.
    assert guest.told("stop", "exit_status") == ["success"]
    guest.close()


def test_a_suspender_that_cannot_be_removed_keeps_no_other_from_it(tmp_path: Path) -> None:
    guest = Guest(tmp_path, "bluesky")
    gate = RunStartSuspender(guest.RE.loop)
    ring, vacuum = (Signal(name=name, value=100.0) for name in ("ring", "vacuum"))
    stuck, other = Stuck(ring, 50), SuspendFloor(vacuum, 50)  # type: ignore[no-untyped-call]
    gate.add(stuck)
    gate.add(other)
    with pytest.raises(RuntimeError, match="its device is gone"):
        gate.close()
    vacuum.put(10.0)
    assert not other.tripped
    with pytest.raises(ParameterError, match="for which no run waits; give one that"):
        gate.remove(other)
    guest.close()


class Stuck(SuspendFloor):
    """A suspender that cannot be removed."""

    def remove(self) -> None:
        raise RuntimeError("its device is gone")


def test_what_was_interrupted_is_done_once(tmp_path: Path) -> None:
    # A session makes a directory for each run, in a thread; a suspender in that message made two.
    guest = Guest(tmp_path, "session")

    def opens(place: int, message: Msg) -> bool:
        return message.command == "wait_for" and "_new_directory" in str(
            getattr(message.args[0][0], "_work", "")
        )

    beam = Beam(guest, opens)
    guest.RE.install_suspender(SuspendFloor(beam.current, 50, sleep=0))
    guest.RE(guest.imaging())
    assert beam.dropped
    assert guest.told("start", "scan_name") == ["scan_0001"]
    guest.close()


def test_a_velocity_that_is_read_in_a_suspension_is_not_zero(tmp_path: Path) -> None:
    # Bluesky's `rd` gives 0 then; a continuous scan gives the motor its velocity back in the end.
    guest = Guest(tmp_path, "bluesky")
    b = guest.lab.beamline
    before = guest.lab.settings()

    def reads(place: int, message: Msg) -> bool:
        if message.command == "wait_for":
            return getattr(message.args[0][0], "device", None) is b.rotation.velocity
        return message.command in ("read", "locate") and message.obj is b.rotation.velocity

    beam = Beam(guest, reads)
    guest.RE.install_suspender(SuspendFloor(beam.current, 50, sleep=0))
    guest.RE(
        continuous_tomography(
            b.camera,
            b.rotation,
            b.beam,
            b.sample_stage,
            **COUNTS,
            **POSITIONS,
            angular_range="3 deg",
        )
    )
    assert beam.dropped
    assert guest.lab.settings() == before
    assert before["velocity"] > 0
    guest.close()


def test_a_scan_of_numbers_that_is_suspended_has_each_point_once(tmp_path: Path) -> None:
    guest = Guest(tmp_path, "bluesky")
    b = guest.lab.beamline
    beam = Beam(guest, lambda place, message: message.command == "create")
    guest.RE.install_suspender(SuspendFloor(beam.current, 50, sleep=0))
    guest.RE(ascan([b.ring], b.sample_stage, 0, 0.4, num=5))
    assert beam.dropped
    assert guest.told("stop", "exit_status") == ["success"]
    guest.close()


def test_the_stock_run_engine_keeps_what_we_lean_on() -> None:
    # `concertino.plans` gives a RunEngine its checkpoints back through these; bluesky has no other way.
    run_engine = RunEngine({})
    assert run_engine.resumable
    assert run_engine._msg_cache is not None
    run_engine._reset_checkpoint_state()


def test_every_answer_comes_through_one_function() -> None:
    # Elsewhere a suspended RunEngine's None would be unpacked, or its 0 taken for a velocity.
    root = Path(concertino.__file__).parent
    answers = re.compile(r'= yield Msg\(\s*"wait_for"|yield from bps\.(rd|wait_for)\(')
    found = {
        path.relative_to(root).as_posix()
        for folder in (root, root / "plans", root / "callbacks", root / "devices")
        for path in folder.rglob("*.py")
        for line in path.read_text().splitlines()
        if not line.lstrip().startswith((">>>", "...", "#")) and answers.search(line)
    }
    # `outcome` itself; its way for simulators; and a wait of which nobody wants the answer.
    assert found == {
        "plans/core/_device_queries.py",
        "plans/core/_parameters.py",
        "plans/run/_pause_request.py",
    }
