"""A camera that somebody else stops in mid-scan: the run has fewer frames than its plan needs, and is no success."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import bluesky.preprocessors as bpp
import pytest
from bluesky import Msg
from bluesky.utils import MsgGenerator

from concertino import ConcertinoError
from concertino.callbacks import ImageWriter
from concertino.devices import Camera, SimulatedBeamline
from concertino.frames import RecordingTrigger
from concertino.plans import (
    continuous_tomography,
    radiography,
    retrospective_radiography,
    step_tomography,
)
from concertino.session import Session, open_session
from concertino.storage import open_run

pytestmark = pytest.mark.disturbed_by_load(
    "a camera is stopped by the clock, after frames that may not be there yet"
)

WANTED = 300
SETTLES_S = 240


def stop_in_the_beam(session: Session, beamline: SimulatedBeamline) -> threading.Thread:
    """Stop the camera when it has exposed some frames with the beam on, as from another prompt."""

    def stop() -> None:
        until_s = time.monotonic() + SETTLES_S
        camera = beamline.camera
        while not (camera.num_exposed >= 10):
            assert time.monotonic() < until_s
            time.sleep(0.005)
        asyncio.run_coroutine_threadsafe(camera.stop(), session.RE.loop).result(SETTLES_S)

    person = threading.Thread(target=stop)
    person.start()
    return person


def plan_of(name: str, b: SimulatedBeamline) -> Any:
    if name == "radiography":
        return radiography(b.camera, b.beam, b.sample_stage, radio_position=0, flat_position=1,
                           num_darks=2, num_flats=2, num_projections=WANTED)  # fmt: skip
    plan: Any = continuous_tomography if name == "continuous" else step_tomography
    return plan(b.camera, b.rotation, b.beam, b.sample_stage, radio_position=0, flat_position=1,
                num_darks=2, num_flats=2, num_projections=WANTED)  # fmt: skip


@pytest.mark.parametrize("name", ["radiography", "continuous", "step"])
def test_a_scan_whose_camera_was_stopped_is_no_success(tmp_path: Path, name: str) -> None:
    b = SimulatedBeamline(shape=(8, 8), exposure=0.0, frame_rate=100.0)
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        person = stop_in_the_beam(session, b)
        with pytest.raises(ConcertinoError, match="was stopped") as caught:
            session.RE(plan_of(name, b))
        person.join()
    run = open_run(tmp_path / "scan_0001")
    assert run.stop is not None
    assert run.exit_status == "fail"
    assert "was stopped" in run.stop["reason"]
    assert not b.shutter.is_open
    # What had been taken is whole.
    stored = len(run.frames("projections").read())
    assert 10 <= stored < WANTED
    if name != "step":  # which hears of it at its next trigger
        assert f"after {stored} of {WANTED} frames" in str(caught.value)


def test_the_next_scan_does_not_take_it_for_its_own(tmp_path: Path) -> None:
    # Its rehearsal sees the camera as the scan before has left it.
    b = SimulatedBeamline(shape=(8, 8), exposure=0.0, frame_rate=100.0)
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        person = stop_in_the_beam(session, b)
        with pytest.raises(ConcertinoError, match="was stopped"):
            session.RE(plan_of("radiography", b))
        person.join()
        session.RE(plan_of("radiography", b))
    assert len(open_run(tmp_path / "scan_0002").frames("projections").read()) == WANTED


@pytest.mark.parametrize("fired", [False, True])
def test_a_recording_whose_camera_was_stopped_is_no_success(tmp_path: Path, fired: bool) -> None:
    b = SimulatedBeamline(shape=(8, 8), exposure=0.0, frame_rate=100.0)
    trigger, stop_took_s = RecordingTrigger(), []

    def stop(session: Session) -> None:
        until_s = time.monotonic() + SETTLES_S
        while not trigger.armed or not b.shutter.is_open:
            assert time.monotonic() < until_s
            time.sleep(0.005)
        time.sleep(0.3)  # of frames that are kept, perhaps
        if fired:
            trigger.fire("it broke")
            while b.camera.num_exposed < 10:
                assert time.monotonic() < until_s
                time.sleep(0.005)
        begun_s = time.monotonic()
        asyncio.run_coroutine_threadsafe(b.camera.stop(), session.RE.loop).result(SETTLES_S)
        stop_took_s.append(time.monotonic() - begun_s)

    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        person = threading.Thread(target=stop, args=(session,))
        person.start()
        with pytest.raises(ConcertinoError, match="was stopped"):
            session.RE(
                retrospective_radiography(
                    b.camera, b.beam, b.sample_stage, trigger, radio_position=0, flat_position=1,
                    num_darks=2, num_flats=2, num_before=5, num_after=1000, max_wait="300 s",
                )
            )  # fmt: skip
        person.join()
    assert stop_took_s  # else it waited for a trigger that nobody fires
    assert stop_took_s[0] < SETTLES_S
    assert open_run(tmp_path / "scan_0001").exit_status == "fail"
    assert not b.shutter.is_open


def test_a_recording_whose_camera_was_stopped_before_it_exposed_does_not_wait(
    tmp_path: Path,
) -> None:
    b = SimulatedBeamline(shape=(8, 8), exposure=0.0, frame_rate=100.0)
    plan = retrospective_radiography(
        b.camera, b.beam, b.sample_stage, RecordingTrigger(), radio_position=0, flat_position=1,
        num_before=5, num_after=5, max_wait="60 s", order=["projections"],
    )  # fmt: skip

    def stopped_first(message: Msg) -> Any:
        if message.command != "kickoff":
            return None, None

        def stopping() -> MsgGenerator[Any]:
            yield Msg("stop", b.camera)
            return (yield message)

        return stopping(), None

    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        with pytest.raises(ConcertinoError, match="was stopped while it waited for a trigger"):
            session.RE(bpp.plan_mutator(plan, stopped_first))
    assert open_run(tmp_path / "scan_0001").exit_status == "fail"
    assert not b.shutter.is_open


class Unsure(Camera):
    """Fails when it is asked whether somebody stopped it, by an error that may look like no such property."""

    @property
    def ended_early(self) -> bool:
        raise AttributeError("nothing is known of the stream")


def test_a_camera_that_cannot_tell_whether_it_was_stopped_is_not_taken_for_whole(
    tmp_path: Path,
) -> None:
    b = SimulatedBeamline(shape=(8, 8), exposure=0.0, frame_rate=100.0)
    b.camera = Unsure(b.camera.source, exposure=0.0, frame_rate=100.0)
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        with pytest.raises(AttributeError, match="nothing is known of the stream"):
            session.RE(plan_of("radiography", b))
    assert open_run(tmp_path / "scan_0001").exit_status == "fail"
    assert not b.shutter.is_open
