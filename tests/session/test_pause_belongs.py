"""A request to pause belongs to whom made it and to one run; what nobody would hear is refused."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import numpy as np
import pytest
from bluesky.utils import RunEngineInterrupted, TransitionError  # type: ignore[attr-defined]

from concertino import SessionError
from concertino.callbacks import BeamCurrent, ImageWriter, ScanAlarms
from concertino.devices import SimulatedBeamline
from concertino.plans import for_each, radiography, step_tomography
from concertino.session import Session, open_session
from concertino.storage import StoredScan, open_run

WAIT_S = 240.0


def wait_until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} within {WAIT_S:g} s"
        time.sleep(0.01)


class Hutch:
    """A beamline and a session; something is done when projections have begun to be documented."""

    def __init__(self, root: Path) -> None:
        self.b = SimulatedBeamline(shape=(16, 16), exposure=0.001, frame_rate=100.0, noise=False)
        self.session: Session = open_session(root, progress=False, catalog=False)
        self.session.subscribe(ImageWriter())
        self.session.subscribe(self._watch)
        self.errors: list[BaseException] = []
        self.runs: list[str] = []
        self.pauses: list[Mapping[str, Any]] = []
        self.act: Callable[[], Any] | None = None
        self._streams: dict[str, str] = {}
        self._threads: list[threading.Thread] = []

    def _watch(self, name: str, document: Mapping[str, Any]) -> None:
        if name == "start":
            self.runs.append(document["uid"])
        if name == "descriptor":
            self._streams[document["uid"]] = document["name"]
        if name not in ("event", "stream_datum"):
            return
        stream = self._streams[document["descriptor"]]
        if stream == "pauses":
            self.pauses.append(document["data"])
        if stream == "projections" and self.act is not None:
            act, self.act = self.act, None
            self.in_thread(act)

    def in_thread(self, act: Callable[[], Any]) -> None:
        def run() -> None:
            try:
                act()
            except BaseException as error:
                self.errors.append(error)

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def settle(self) -> None:
        for thread in self._threads:
            thread.join(WAIT_S)
            assert not thread.is_alive()
        if self.errors:
            raise self.errors[0]

    @property
    def states(self) -> list[str]:
        return [str(said["pause-state"]) for said in self.pauses]

    def scan(self, number: int = 300, camera: Any = None, **more: Any) -> Any:
        b = self.b
        return radiography(
            camera or b.camera, b.beam, b.sample_stage, radio_position=0, flat_position=10,
            **({"num_darks": 1, "num_flats": 1, "num_projections": number} | more),
        )  # fmt: skip

    def stored(self, number: int = 1) -> StoredScan:
        return StoredScan(open_run(number, self.session.directory))


@pytest.fixture
def hutch(tmp_path: Path) -> Iterator[Hutch]:
    made = Hutch(tmp_path)
    yield made
    made.session.close()


def test_the_user_resumes_and_the_alarm_still_holds(
    hutch: Hutch, capsys: pytest.CaptureFixture[str]
) -> None:
    ring = hutch.b.ring
    hutch.session.subscribe(
        ScanAlarms([BeamCurrent(ring.current, minimum=80, recovered_s=0.3, lag_s=0.1)])
    )
    looks = []

    def user() -> None:
        ring.refill(0.0)
        wait_until(lambda: hutch.states == ["paused"], "the alarm pauses")
        hutch.session.pause("look at the sample")
        assert hutch.session.resume() is None
        assert "ring-current is below 80" in capsys.readouterr().out
        time.sleep(0.5)
        looks.append((hutch.b.shutter.is_open, hutch.states))
        ring.refill(100.0)

    hutch.act = user
    hutch.session.RE(hutch.scan())
    hutch.settle()
    assert looks == [(False, ["paused"])]
    means = hutch.stored().read("projections").reshape(300, -1).mean(axis=1)
    assert means.min() > 0.5 * means.max()  # No frame was taken without beam.


def test_an_alarm_that_asks_for_a_person_goes_on_when_one_resumes(hutch: Hutch) -> None:
    def alarm() -> None:
        hutch.session.hold.request("the sample moved", owner="an alarm", run=hutch.runs[-1])
        wait_until(lambda: hutch.states == ["paused"], "it pauses")
        hutch.session.resume()

    hutch.act = alarm
    hutch.session.RE(hutch.scan())
    hutch.settle()
    assert hutch.states == ["paused", "resumed"]


def test_the_run_engine_joins_a_pause_that_an_alarm_began(hutch: Hutch) -> None:
    """So that whoever has only the RunEngine, such as the queue server's user, can resume it."""

    def alarm() -> None:
        hutch.session.hold.request("the sample moved", owner="an alarm")
        wait_until(lambda: hutch.session.hold.waiting, "it pauses")
        hutch.session.RE.request_pause(defer=True)

    hutch.act = alarm
    with pytest.raises(RunEngineInterrupted):
        hutch.session.RE(hutch.scan())
    hutch.settle()
    assert hutch.session.RE.state == "paused"
    hutch.session.RE.resume()
    assert hutch.states == ["paused", "resumed"]
    assert hutch.stored().missing("projections") == ()


def test_a_request_for_a_run_that_is_over_is_refused(hutch: Hutch) -> None:
    refused: list[bool] = []

    def late() -> None:
        with pytest.raises(SessionError, match=r"asked run .* to pause \(late\), and it is over"):
            hutch.session.hold.request("late", owner="an alarm", run=hutch.runs[0])
        refused.append(True)

    hutch.session.RE(hutch.scan(3))
    hutch.act = late
    hutch.session.RE(hutch.scan(100))
    hutch.settle()
    assert refused == [True]
    assert hutch.states == []


def test_a_request_ends_with_the_plan(hutch: Hutch, caplog: pytest.LogCaptureFixture) -> None:
    hutch.session.subscribe(
        lambda name, document: hutch.session.hold.request("too late to be heard"), "stop"
    )
    hutch.session.RE(hutch.scan(3))
    assert not hutch.session.hold.requested
    assert "the user asked for a pause (too late to be heard), which is forgotten" in caplog.text


def test_a_series_pauses_in_its_next_run(hutch: Hutch) -> None:
    asked: list[str] = []

    def ask(name: str, document: Mapping[str, Any]) -> None:
        if not asked:
            asked.append(document["uid"])
            hutch.session.pause("between two runs")
            hutch.in_thread(resume)

    def resume() -> None:
        wait_until(lambda: hutch.states == ["paused"], "the second run pauses")
        hutch.session.resume()

    hutch.session.subscribe(ask, "stop")
    hutch.session.RE(for_each([1, 2], lambda item: hutch.scan(3)))
    hutch.settle()
    assert hutch.states == ["paused", "resumed"]
    assert "pauses" not in hutch.stored(1).runs[0].streams
    assert "pauses" in hutch.stored(2).runs[0].streams


def test_idle_nothing_is_paused_unless_the_next_run_is_meant(hutch: Hutch) -> None:
    with pytest.raises(SessionError, match=r"nothing can pause: no plan is running.*next_run=True"):
        hutch.session.pause("coffee")
    with pytest.raises(TransitionError):
        hutch.session.RE.request_pause(defer=True)
    hutch.session.RE(hutch.scan(3))
    assert hutch.states == []
    hutch.session.pause("coffee", next_run=True)

    def resume() -> None:
        wait_until(lambda: hutch.states == ["paused"], "the next run waits")
        assert not hutch.b.shutter.is_open
        hutch.session.resume()

    hutch.in_thread(resume)
    hutch.session.RE(hutch.scan(3))
    hutch.settle()
    assert hutch.states == ["paused", "resumed"]


def test_several_cameras_refuse_at_once_and_nothing_stays_asked_for(
    hutch: Hutch, capsys: pytest.CaptureFixture[str]
) -> None:
    detail = hutch.b.add_camera("detail", shape=(16, 16))
    why = r"several cameras \(camera, detail\) would not agree on which frames are missing"
    refused = []

    def ask() -> None:
        with pytest.raises(SessionError, match=why):
            hutch.session.pause("water bath")
        assert hutch.session.hold.take_spoiled() is None
        with pytest.raises(
            SessionError, match=why
        ):  # Which frames are spoiled is known nevertheless.
            hutch.session.hold.request("no beam", 20.0, owner="an alarm", run=hutch.runs[-1])
        assert hutch.session.hold.take_spoiled() == 20
        for error in (SessionError, TransitionError):
            with pytest.raises(error, match=why):
                hutch.session.RE.request_pause(defer=True)
        refused.append(1)

    hutch.act = ask
    hutch.session.RE(hutch.scan(100, [hutch.b.camera, detail]))
    hutch.settle()
    assert refused == [1]
    assert "The plan cannot pause: several cameras" in capsys.readouterr().out
    hutch.session.RE(hutch.scan(3))
    assert hutch.states == []


def test_what_is_asked_before_several_cameras_waits_before_their_run(hutch: Hutch) -> None:
    detail = hutch.b.add_camera("detail", shape=(16, 16))
    starts: list[float] = []
    hutch.session.subscribe(lambda name, document: starts.append(time.time()), "start")
    hutch.session.pause("coffee", next_run=True)
    resumed: list[float] = []

    def resume() -> None:
        wait_until(lambda: hutch.session.RE.state == "running", "the plan begins")
        time.sleep(0.5)
        resumed.append(time.time())
        hutch.session.resume()

    hutch.in_thread(resume)
    hutch.session.RE(hutch.scan(3, [hutch.b.camera, detail]))
    hutch.settle()
    assert starts[0] >= resumed[0]


def test_plans_of_bluesky_pause_as_bluesky_has_it(hutch: Hutch) -> None:
    refused: list[bool] = []

    def ask(name: str, document: Mapping[str, Any]) -> None:
        if not refused:
            with pytest.raises(SessionError, match="none of an imaging plan"):
                hutch.session.pause("coffee")
            refused.append(True)
            hutch.in_thread(lambda: hutch.session.RE.request_pause(defer=True))

    hutch.session.subscribe(ask, "event")
    with pytest.raises(RunEngineInterrupted):
        hutch.session.RE(bp.count([hutch.b.ring], num=20, delay=0.2))
    assert hutch.session.RE.state == "paused"
    hutch.session.RE.resume()
    assert hutch.session.RE.state == "idle"
    assert not hutch.session.hold.requested


@pytest.mark.parametrize("again", [False, True], ids=["once", "again"])
def test_an_immediate_pause_is_one_at_the_next_frame(hutch: Hutch, again: bool) -> None:
    b = hutch.b

    RE = hutch.session.RE

    async def ask() -> None:
        for _ in range(
            1 + again
        ):  # Twice at once, before it can be heard; as the queue server asks.
            await RE._request_pause_coro(False)

    hutch.act = lambda: asyncio.run_coroutine_threadsafe(ask(), RE.loop).result(WAIT_S)
    with pytest.raises(RunEngineInterrupted):
        hutch.session.RE(hutch.scan(400))
    hutch.settle()
    assert not b.shutter.is_open
    if again:  # That ends the run, safely.
        assert hutch.session.RE.state == "idle"
        assert hutch.stored().runs[0].exit_status == "abort"
        return
    assert hutch.session.RE.state == "paused"
    hutch.session.RE.resume()
    stored = hutch.stored()
    assert stored.runs[0].exit_status == "success"
    assert stored.missing("projections") == ()
    assert len([name for name in stored.runs[0].streams if name.startswith("projections")]) == 2


def test_pause_on_the_way_to_the_first_point(hutch: Hutch) -> None:
    """The rotation moves to its start, and no frame is exposed yet."""
    b = hutch.b
    on_its_way: list[bool] = []

    def hook(message: Any) -> None:
        if message.command == "set" and message.obj is b.rotation and not on_its_way:
            on_its_way.append(True)
            hutch.session.pause("coffee")
            hutch.in_thread(resume)

    def resume() -> None:
        wait_until(lambda: hutch.states == ["paused"], "it pauses")
        assert not b.shutter.is_open
        hutch.session.resume()

    hutch.session.RE.msg_hook = hook
    hutch.session.RE(
        step_tomography(
            b.camera, b.rotation, b.beam, b.sample_stage, radio_position=0, flat_position=10,
            start_angle=30, num_darks=1, num_flats=1, num_projections=5,
        )
    )  # fmt: skip
    hutch.settle()
    stored = hutch.stored()
    assert stored.runs[0].exit_status == "success"
    assert stored.read("projections").shape == (5, 16, 16)
    assert {row["state"] for row in stored.runs[0].ledger()} == {"finished"}
    assert hutch.pauses[0]["pause-taken"] == 0


def set_signal(hutch: Hutch, signal: Any, value: float) -> None:
    async def do() -> None:
        await signal.set(value)

    asyncio.run_coroutine_threadsafe(do(), hutch.session.RE.loop).result(WAIT_S)


@pytest.mark.parametrize("name", ["exposure", "frame_rate"])
def test_what_was_changed_in_a_pause_is_set_back_first(hutch: Hutch, name: str) -> None:
    signal = getattr(hutch.b.camera, name)
    before, other = {"exposure": (0.001, 0.004), "frame_rate": (100.0, 50.0)}[name]

    def user() -> None:
        hutch.session.pause("too dark")
        wait_until(lambda: hutch.states == ["paused"], "it pauses")
        set_signal(hutch, signal, other)
        text = (
            f"stays paused: camera-{name} was {before:g} and is {other:g}.*set it back and resume"
        )
        with pytest.raises(SessionError, match=text):
            hutch.session.resume()
        assert hutch.states == ["paused"]
        set_signal(hutch, signal, before)
        hutch.session.resume()

    hutch.act = user
    hutch.session.RE(hutch.scan())
    hutch.settle()
    stored = hutch.stored()
    assert stored.runs[0].exit_status == "success"
    means = stored.read("projections").reshape(300, -1).mean(axis=1)
    assert np.ptp(means) < 0.05 * means.max()


def test_the_run_engine_is_not_resumed_with_another_exposure(hutch: Hutch) -> None:
    hutch.act = lambda: hutch.session.RE.request_pause(defer=True)
    with pytest.raises(RunEngineInterrupted):
        hutch.session.RE(hutch.scan())
    set_signal(hutch, hutch.b.camera.exposure, 0.004)
    with pytest.raises(SessionError, match=r"camera-exposure was 0\.001 and is 0\.004"):
        hutch.session.RE.resume()
    assert hutch.session.RE.state == "paused"
    hutch.session.RE.abort("another exposure")
    run = hutch.stored().runs[0]
    assert (run.exit_status, run.reason) == ("abort", "another exposure")


def test_a_request_that_its_owner_releases_waits_for_the_settings_too(
    hutch: Hutch, caplog: pytest.LogCaptureFixture
) -> None:
    def user() -> None:
        request = hutch.session.hold.request("no beam", owner="an alarm", until_resumed=False)
        wait_until(lambda: hutch.states == ["paused"], "it pauses")
        set_signal(hutch, hutch.b.camera.exposure, 0.004)
        request.release()
        wait_until(lambda: hutch.states == ["paused", "paused"], "it stays paused")
        assert not hutch.b.shutter.is_open
        set_signal(hutch, hutch.b.camera.exposure, 0.001)
        hutch.session.resume()

    hutch.act = user
    hutch.session.RE(hutch.scan())
    hutch.settle()
    assert "The scan pauses: camera-exposure was 0.001 and is 0.004" in caplog.text
    assert hutch.stored().runs[0].exit_status == "success"


def test_what_is_changed_while_a_scan_runs_has_it_pause_before_the_next_frames(
    hutch: Hutch,
) -> None:
    """Flats and projections are taken with the exposure of the darks."""

    def change(name: str, document: Mapping[str, Any]) -> None:
        if document["name"] == "darks":
            hutch.in_thread(user)

    def user() -> None:
        set_signal(hutch, hutch.b.camera.exposure, 0.004)
        wait_until(lambda: hutch.states == ["paused"], "it pauses")
        assert "camera-exposure was 0.001 and is 0.004" in hutch.pauses[0]["pause-reason"]
        with pytest.raises(SessionError, match="set it back and resume"):
            hutch.session.resume()
        set_signal(hutch, hutch.b.camera.exposure, 0.001)
        hutch.session.resume()

    hutch.session.subscribe(change, "descriptor")
    hutch.session.RE(hutch.scan(20, num_darks=50))
    hutch.settle()
    run = hutch.stored().runs[0]
    assert run.exit_status == "success"
    exposures = [
        run[name].configuration["camera-exposure"]
        for name in run.streams
        if run[name].frame_keys and name != "darks"
    ]
    assert exposures == [0.001, 0.001]


@pytest.mark.parametrize("end", ["resume", "abort", "stop"])
def test_what_follows_a_plan_follows_one_that_was_paused(hutch: Hutch, end: str) -> None:
    RE = hutch.session.RE
    told: list[str] = []
    RE.after_plan.append(lambda: told.append(str(RE.state)))
    hutch.act = lambda: RE.request_pause(defer=True)
    with pytest.raises(RunEngineInterrupted):
        RE(hutch.scan())
    assert told == []  # It is not over.
    getattr(RE, end)()
    assert told == ["idle"]
    # The documents are on the disk when the prompt is back.
    assert hutch.stored().runs[0].exit_status == ("abort" if end == "abort" else "success")
