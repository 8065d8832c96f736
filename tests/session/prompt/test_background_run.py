"""A plan in the background: its result, its errors where one waits, and what may not run beside it."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky.utils import MsgGenerator

from concertino import OverdueError, ParameterError, ParameterTypeError, SessionError
from concertino.callbacks import ImageWriter, OnlineReconstruction
from concertino.devices import SimulatedBeamline
from concertino.plans import continuous_tomography
from concertino.reconstruction import ReconstructionSettings
from concertino.session import Session, open_session
from concertino.storage import open_run

WAIT_S = 60.0


@pytest.fixture
def beamline() -> SimulatedBeamline:
    return SimulatedBeamline(shape=(16, 24), exposure=0.0, frame_rate=100.0)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with open_session(tmp_path / "data", progress=False, catalog=False, guard=False) as session:
        session.subscribe(ImageWriter())
        yield session


def scan(beamline: SimulatedBeamline, num_projections: int = 30) -> MsgGenerator[Any]:
    return continuous_tomography(
        beamline.camera, beamline.rotation, beamline.beam, beamline.sample_stage,
        radio_position=0, flat_position=1, num_darks=2, num_flats=2,
        num_projections=num_projections, angular_range="90 deg",
    )  # fmt: skip


def until(holds: Any) -> None:
    until_s = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < until_s, "it has not come to pass"
        time.sleep(0.01)


def test_a_scan_with_its_reconstruction(session: Session, beamline: SimulatedBeamline) -> None:
    session.subscribe(OnlineReconstruction(ReconstructionSettings(slices=(8,), center=12.0)))
    run = session.start(scan(beamline, 150), sample="tooth")
    until(lambda: run.progress.stream == "projections" and run.progress.acquired)
    assert run.state == "running"
    assert run.progress.total == 150
    with pytest.raises(SessionError, match=r"is running\. Wait with run\.wait\(\)"):
        _ = run.result
    with pytest.raises(SessionError, match="while continuous_tomography is running"):
        session.RE([])
    with pytest.raises(SessionError, match="while another one is running"):
        session.start([])
    with pytest.raises(SessionError, match="rotation was to be moved while a plan is running"):
        session.move(beamline.rotation, "1 deg")
    with pytest.raises(OverdueError, match=r"has not ended within 0\.05 s .*it goes on"):
        run.wait(0.05)
    result = run.wait(WAIT_S)
    stored = open_run("scan_0001", session.directory)
    assert (result.uid, result.exit_status) == (stored.start["uid"], "success")
    assert stored.start["sample"] == "tooth"
    assert len(stored.frames("projections").read()) == 150
    assert result.reconstruction is not None
    assert result.reconstruction.volume.shape == (1, 24, 24)
    assert run.progress.acquired == 150
    assert run.state == "finished"
    session.RE([])


@pytest.mark.parametrize("given", [5, continuous_tomography, "radiography", {"num_darks": 5}])
def test_what_is_no_plan_is_refused_at_once(session: Session, given: Any) -> None:
    with pytest.raises(
        ParameterTypeError, match=r"was given; give a plan with its parameters in brackets"
    ):
        session.start(given)
    assert session.start(bps.null()).wait(WAIT_S).exit_status == ""


@pytest.mark.parametrize(
    ("wait", "message"),
    [("x", "timeout_s: 'x' is no quantity"), (-1, "timeout_s: -1 is too small. Give at least 0 s")],
)
def test_a_wait_is_a_time(session: Session, wait: Any, message: str) -> None:
    run = session.start(bps.sleep(0.2))
    with pytest.raises(ParameterError, match=message):
        run.wait(wait)
    run.wait("10 s")


def test_each_has_its_own_reconstruction(session: Session) -> None:
    session.subscribe(OnlineReconstruction(ReconstructionSettings(slices=(8,), center=12.0)))
    results = []
    for width in (24, 40):
        line = SimulatedBeamline(shape=(16, width), exposure=0.0, frame_rate=100.0)
        results.append(session.start(scan(line)).wait(WAIT_S))
    shapes = [result.reconstruction and result.reconstruction.volume.shape for result in results]
    assert shapes == [(1, 24, 24), (1, 40, 40)]
    nothing = session.start(bps.null())
    assert nothing.wait(WAIT_S).reconstruction is None


def test_who_asks_a_run_engine_that_does_not_answer_is_told_so(
    session: Session, beamline: SimulatedBeamline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("concertino.session.prompt._background_run._ANSWER_S", 0.5)
    run = session.start(scan(beamline, 300))
    until(lambda: run.progress.stream == "projections" and run.progress.acquired)
    session.RE.loop.call_soon_threadsafe(time.sleep, 2.0)
    with pytest.raises(
        OverdueError, match=r"was to pause, and .* not answered within 0\.5 s.*stop_all"
    ):
        run.pause()
    with pytest.raises(SessionError, match="is paused"):  # It has answered yet.
        run.wait(WAIT_S)
    session.RE.loop.call_soon_threadsafe(time.sleep, 2.0)
    with pytest.raises(OverdueError, match=r"was to (go on|resume), and"):
        run.resume()
    run.wait(WAIT_S)
    session.RE.loop.call_soon_threadsafe(time.sleep, 2.0)
    with pytest.raises(OverdueError, match="was to begin, and"):
        session.start(bps.null())
    until(lambda: str(session.RE.state) == "idle")


def test_an_error_is_raised_where_one_waits(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing() -> MsgGenerator[None]:
        yield from bps.null()
        raise ValueError("the sample fell off")

    run = session.start(failing())
    with pytest.raises(ValueError, match="fell off"):
        run.wait(WAIT_S)
    with pytest.raises(ValueError, match="fell off"):
        asyncio.run(_awaited(run))
    assert run.state == "failed"
    assert (
        "ended: ValueError: the sample fell off (run.wait() raises it)" in capsys.readouterr().err
    )


async def _awaited(run: Any) -> Any:
    return await run


def test_an_await_leaves_the_loop_free(session: Session) -> None:
    async def both() -> int:
        ticks = 0
        task = asyncio.create_task(_awaited(session.start(bps.sleep(0.5))))
        while not task.done():
            ticks += 1
            await asyncio.sleep(0.01)
        await task
        return ticks

    assert asyncio.run(both()) > 10


def test_pause_and_resume(session: Session, beamline: SimulatedBeamline) -> None:
    run = session.start(scan(beamline, 200))
    until(lambda: run.progress.stream == "projections" and run.progress.acquired)
    run.pause()
    with pytest.raises(SessionError, match=r"is paused\. Resume it with run\.resume"):
        run.wait(WAIT_S)
    assert run.state == "paused"
    assert not beamline.shutter.is_open
    run.resume()
    assert run.wait(WAIT_S).exit_status == "success"
    counted = open_run("scan_0001", session.directory).stop
    assert counted is not None
    assert counted["exit_status"] == "success"
    with pytest.raises(SessionError, match=r"was to pause, and is finished"):
        run.pause()


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("how", ["stop", "abort", "stop_all"])
def test_an_end(session: Session, beamline: SimulatedBeamline, how: str, paused: bool) -> None:
    session.add_devices(beamline.shutter, beamline.rotation)
    run = session.start(scan(beamline, 2000))
    until(lambda: run.progress.stream == "projections" and run.progress.acquired)
    if paused:
        run.pause()
        until(lambda: run.state == "paused")
    if how == "stop":
        run.stop()
        assert run.wait(WAIT_S).exit_status == "success"
    else:
        run.abort("why not") if how == "abort" else session.stop_all("why not")
        with pytest.raises(SessionError, match=r"ended.* why not"):
            run.wait(WAIT_S)
        assert run.state == "aborted"
        assert run.result.reason.endswith("why not")
    assert not beamline.shutter.is_open
    assert beamline.rotation.velocity_at(time.time()) == 0
    session.RE([])


def test_closing_the_session_ends_it(tmp_path: Path, beamline: SimulatedBeamline) -> None:
    with open_session(tmp_path, progress=False, catalog=False, guard=False) as session:
        run = session.start(scan(beamline, 2000))
        until(lambda: run.progress.stream == "projections" and run.progress.acquired)
    stop = open_run("scan_0001", tmp_path).stop
    assert stop is not None
    assert "session was closed" in stop["reason"]
    assert not beamline.shutter.is_open
    assert run.state == "aborted"
    assert not [one for one in threading.enumerate() if one.name.startswith("background")]
    with pytest.raises(SessionError, match=r"was closed before session\.start"):
        session.start([])
    with pytest.raises(SessionError, match=r"which was closed\. Open another"):
        session.RE([])
