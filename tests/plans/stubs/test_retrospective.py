"""Expose without end, and keep the frames around an event."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky.utils import FailedStatus, RunEngineInterrupted
from ophyd_async.core import soft_signal_rw

from concertino import CameraError, ConcertinoError, DeviceError, ParameterError
from concertino.callbacks import Accumulator, ChangeTrigger, ImageWriter, LiveView
from concertino.devices import Acquisition, Camera, SimulatedBeamline
from concertino.frames import RecordingTrigger
from concertino.plans import retrospective_radiography
from concertino.session import Session, open_session
from concertino.simulation import Faults
from concertino.storage import open_run, replay
from concertino.testing import PlanFault, check_every_end
from tests.plans.laboratory import Laboratory

pytestmark = pytest.mark.disturbed_by_load(
    "a trigger fires by the clock while a camera exposes at its rate"
)

FRAME_BYTES = 16 * 16 * 2
RATE_HZ = 200.0


class Hutch:
    """A beamline and a session in which events can be recorded."""

    def __init__(self, root: Path, **beamline: Any) -> None:
        self.beamline = SimulatedBeamline(
            **{
                "shape": (16, 16),
                "exposure": 0.001,
                "frame_rate": RATE_HZ,
                "ring_bytes": 64 * FRAME_BYTES,
                **beamline,
            }
        )
        self.trigger = RecordingTrigger()
        self.session: Session = open_session(root, progress=False, catalog=False)
        self.session.subscribe(ImageWriter())
        self.documents: list[tuple[str, Any]] = []
        self.session.subscribe(lambda name, document: self.documents.append((name, document)))

    def plan(self, trigger: Any = None, **parameters: Any) -> Any:
        b = self.beamline
        given: dict[str, Any] = {
            "radio_position": 0, "flat_position": 10, "num_before": 20, "num_after": 15,
            "order": ["projections"], "max_wait": "30 s",
        } | parameters  # fmt: skip
        return retrospective_radiography(
            b.camera, b.beam, b.sample_stage, trigger or self.trigger, **given
        )

    def run(self, trigger: Any = None, **parameters: Any) -> Any:
        """Run the plan and return the stored run."""
        self.documents.clear()
        self.session.RE(self.plan(trigger, **parameters))
        return open_run(int(self.session.RE.md["scan_id"]), self.session.directory)

    def when_exposed(self, frames: int, act: Callable[[], Any]) -> threading.Thread:
        """Do something once so many frames have been exposed and none is published."""

        last = self.beamline.camera._acquisition

        def watch() -> None:
            deadline = time.monotonic() + 240
            while time.monotonic() < deadline:
                acquisition = self.beamline.camera._acquisition
                if (
                    isinstance(acquisition, Acquisition)
                    and acquisition is not last
                    and acquisition.request.retrospective
                    and acquisition.stream.discarded >= frames
                ):
                    act()
                    return
                time.sleep(0.002)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        return thread

    def event(self) -> dict[str, Any]:
        descriptors = {d["uid"]: d["name"] for n, d in self.documents if n == "descriptor"}
        (found,) = [
            d["data"]
            for n, d in self.documents
            if n == "event" and descriptors[d["descriptor"]] == "recording"
        ]
        return dict(found)


@pytest.fixture(scope="module")
def hutch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hutch]:
    made = Hutch(tmp_path_factory.mktemp("recording"))
    yield made
    made.session.close()


def test_frames_around_the_trigger_with_their_true_times_and_numbers(hutch: Hutch) -> None:
    hutch.when_exposed(100, lambda: hutch.trigger.fire("the crack opened", value=3.5))
    run = hutch.run(order=["darks", "flats", "projections"], num_darks=2, num_flats=2)
    index = run.frames("projections").index
    assert len(index) == 35
    event = hutch.event()
    assert event["recording-reason"] == "the crack opened"
    assert event["recording-value"] == 3.5
    assert (event["recording-before"], event["recording-after"]) == (20, 15)
    # Frames 0 to 19 were exposed before the trigger, the others after it, all without a gap.
    time_ns = event["recording-time"] * 1e9
    assert index["timestamp_ns"][19] <= time_ns + 1e3
    assert index["timestamp_ns"][20] > time_ns - 1e3
    assert np.array_equal(np.diff(index["number"]), np.ones(34))
    assert np.allclose(np.diff(index["timestamp_ns"]), 1e9 / RATE_HZ, atol=1000)
    # The account: every frame that was exposed is stored or was let go.
    (camera,) = [
        row for row in run.ledger() if row["stream"] == "projections" and row["role"] == "publisher"
    ]
    assert camera["triggered"] == 35
    assert camera["discarded"] == index["number"][0] == event["recording-discarded"]
    assert camera["exposed"] == 35 + camera["discarded"] >= 115
    assert not hutch.beamline.shutter.is_open
    assert run.start["plan_args"]["num_before"] == 20


def test_a_trigger_that_comes_too_soon_keeps_what_there_is(hutch: Hutch) -> None:
    def began_ns() -> int:  # Just before the first frame.
        acquisition = hutch.beamline.camera._acquisition
        assert isinstance(acquisition, Acquisition)
        return int(acquisition.stream.ring.timestamps[0]) - 5_000_000

    hutch.when_exposed(3, lambda: hutch.trigger.fire("at once", time_ns=began_ns()))
    run = hutch.run()
    event = hutch.event()
    assert event["recording-before"] == 0
    assert len(run.frames("projections").read()) == 15
    (camera,) = [row for row in run.ledger() if row["role"] == "publisher"]
    assert camera["triggered"] == 15


def test_a_trigger_heard_of_late_counts_from_its_time(hutch: Hutch) -> None:
    def fire() -> None:
        # 20 frames ago: those are from after it, and the ring holds 40 and more before.
        hutch.trigger.fire("late", time_ns=time.time_ns() - int(20e9 / RATE_HZ))

    hutch.when_exposed(90, fire)
    run = hutch.run()
    event = hutch.event()
    times = run.frames("projections").index["timestamp_ns"]
    assert (event["recording-before"], len(times)) == (20, 35)
    assert np.searchsorted(times, event["recording-time"] * 1e9) == 20


@pytest.mark.parametrize("exposed", [3, 300], ids=["before the camera began", "written over"])
def test_a_trigger_of_a_minute_ago_is_no_success(hutch: Hutch, exposed: int) -> None:
    fired: list[int] = []

    def fire() -> None:
        fired.append(time.time_ns() - int(60e9))
        hutch.trigger.fire("a minute ago", time_ns=fired[0])

    hutch.when_exposed(exposed, fire)
    with pytest.raises(
        DeviceError, match=r"\(a minute ago\) is dated (5\d\.?\d?|60) s before the first frame"
    ):
        hutch.run()
    run = open_run(int(hutch.session.RE.md["scan_id"]), hutch.session.directory)
    times = run.frames("projections").index["timestamp_ns"]
    assert len(times) == 15  # What is there is stored.
    assert hutch.event()["recording-late"] == pytest.approx((times[0] - fired[0]) * 1e-9)
    assert run.stop is not None
    assert run.stop["exit_status"] == "fail"
    assert "what it tells of is not in the frames" in run.stop["reason"]


def test_it_is_replayed_like_any_run(hutch: Hutch) -> None:
    hutch.when_exposed(40, lambda: hutch.trigger.fire())
    stored = hutch.run().frames("projections").read()
    kept, change = Accumulator(), ChangeTrigger(RecordingTrigger(), above=0.5)
    replay(int(hutch.session.RE.md["scan_id"]), [kept, change], root=hutch.session.directory)
    assert np.array_equal(kept.frames("projections"), stored)
    assert change.values == []


def test_a_signal_fires(hutch: Hutch) -> None:
    pressure = soft_signal_rw(float, 1.0, name="pressure")
    hutch.session.RE.loop.call_soon_threadsafe(lambda: None)
    import asyncio

    asyncio.run_coroutine_threadsafe(pressure.connect(), hutch.session.RE.loop).result()

    def raise_pressure() -> None:
        async def change() -> None:
            await pressure.set(2.5)

        asyncio.run_coroutine_threadsafe(change(), hutch.session.RE.loop)

    hutch.when_exposed(50, raise_pressure)
    run = hutch.run(pressure, trigger_above=2.0)
    assert hutch.event()["recording-reason"] == "pressure was 2.5, above 2"
    assert hutch.event()["recording-value"] == 2.5
    assert run.start["plan_args"]["trigger"] == "pressure"


def test_a_change_of_the_image_fires_with_the_time_of_the_frame(hutch: Hutch) -> None:
    change = ChangeTrigger(hutch.trigger, above=0.2)
    token = hutch.session.subscribe(change)
    b = hutch.beamline
    moved_s: list[float] = []

    def shut() -> None:
        # Somebody closes the shutter by hand: the image changes for good.
        b.shutter.history.note(False)
        moved_s.append(time.time())

    hutch.when_exposed(250, shut)
    run = hutch.run()
    hutch.session.unsubscribe(token)
    event = hutch.event()
    assert event["recording-reason"].startswith("change: ")
    assert event["recording-value"] > 0.2
    # The shutter was shut no earlier than a period of the preview before the trigger's frame.
    assert 0 <= event["recording-time"] - moved_s[0] < 5
    frames = run.frames("projections").read().mean(axis=(1, 2))
    # On a busy machine the preview may show it when all frames that are kept are of later.
    late = event["recording-time"] - moved_s[0] > 20 / RATE_HZ
    assert late or frames[-15:].max() < frames[0] or event["recording-before"] < 20
    assert all(value < 0.2 for value in change.values[:-1])


def test_the_live_view_shows_frames_while_the_camera_waits(hutch: Hutch) -> None:
    seen: list[Any] = []
    with LiveView() as view:
        token = hutch.session.subscribe(view)

        def look() -> None:
            deadline = time.monotonic() + 240
            while time.monotonic() < deadline and not seen:
                picture = view.state.newer("frames", 0)
                if picture is not None:
                    seen.append(picture)
                time.sleep(0.01)
            hutch.trigger.fire()

        thread = hutch.when_exposed(10, look)
        hutch.run()
        thread.join(240)
        hutch.session.unsubscribe(token)
        assert view.error is None
    assert seen[0].stream == "projections (waiting)"
    assert seen[0].shape == (16, 16)


def test_nobody_fires(hutch: Hutch) -> None:
    with pytest.raises(DeviceError) as caught:
        hutch.run(max_wait="0.3 s")
    assert str(caught.value) == (
        "Nobody fired the trigger within 0.3 s; camera camera kept no frame. Give a longer max_wait, "
        "another limit, or on_timeout='keep'."
    )
    assert not hutch.beamline.shutter.is_open
    assert not hutch.trigger.armed
    run = open_run(int(hutch.session.RE.md["scan_id"]), hutch.session.directory)
    assert run.exit_status == "fail"
    (camera,) = [row for row in run.ledger() if row["role"] == "publisher"]
    assert (camera["frames"], camera["exposed"]) == (0, camera["discarded"])


def test_nobody_fires_and_the_last_frames_are_kept(hutch: Hutch) -> None:
    run = hutch.run(max_wait="0.3 s", on_timeout="keep")
    assert hutch.event()["recording-reason"] == "Nobody fired the trigger within 0.3 s"
    assert len(run.frames("projections").read()) == hutch.event()["recording-before"] + 15


def test_a_camera_that_dies_while_it_waits(tmp_path: Path) -> None:
    hutch = Hutch(tmp_path, faults=Faults(die_at=30))
    with pytest.raises(FailedStatus) as caught:
        hutch.run()
    hutch.session.close()
    assert isinstance(caught.value.__cause__, CameraError)
    assert "stopped answering at frame 30 of projections" in str(caught.value.__cause__)
    assert not hutch.beamline.shutter.is_open


def test_lost_frames_among_those_kept_fail_the_run_and_others_do_not(tmp_path: Path) -> None:
    hutch = Hutch(tmp_path, faults=Faults(drop_frames=[5, 48]))
    hutch.when_exposed(90, lambda: hutch.trigger.fire())
    hutch.run()
    hutch.when_exposed(47, lambda: hutch.trigger.fire())
    with pytest.raises(FailedStatus) as caught:
        hutch.run()
    hutch.session.close()
    assert "the camera dropped 1 frames (numbers 48)" in str(caught.value.__cause__)


def test_abort_while_it_waits(hutch: Hutch) -> None:
    thread = hutch.when_exposed(20, lambda: hutch.session.RE.abort("enough"))
    with pytest.raises(RunEngineInterrupted):
        hutch.session.RE(hutch.plan())
    thread.join(240)
    assert not hutch.beamline.shutter.is_open
    assert not hutch.trigger.armed


def test_every_end_is_safe(tmp_path: Path) -> None:
    laboratory = Laboratory(tmp_path)
    b = laboratory.beamline
    trigger = RecordingTrigger()

    def plan() -> Any:
        return retrospective_radiography(
            b.camera, b.beam, b.sample_stage, trigger,
            radio_position=0, flat_position=1, num_before=2, num_after=2, order=["projections"],
            max_wait="0.05 s", on_timeout="keep", md=laboratory.directories.new().metadata(),
        )  # fmt: skip

    every: dict[str, int] = {kind: 2 if kind.startswith("raise") else 7 for kind in PlanFault.KINDS}
    check_every_end(laboratory.bench(plan), every=every)
    laboratory.close()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"num_before": 0}, "num_before: 0 is too small. Give at least 1 frame."),
    ({"num_after": 0}, "num_after: 0 is too small. Give at least 1 frame."),
    (
        {"num_before": 61},
        "Camera camera was asked to keep 61 frames from before a trigger; its ring of 0.03125 MiB "
        "holds 64 frames of 0.0004883 MiB, 4 of which the camera needs. Ask for at most 60, or give "
        "the camera ring_bytes=33280.",
    ),
    (
        {"max_wait": 0},
        "max_wait: 0 s was given; give the longest time to wait for the trigger, more than 0 s.",
    ),
    (
        {"max_wait": "3 mm"},
        "max_wait: a time in s is wanted, but '3 mm' is a length. Give a plain number in s or a "
        "quantity such as '10 s'.",
    ),
    (
        {"on_timeout": "stop"},
        "on_timeout: 'stop' was given; give 'fail' to fail the run when the trigger does not fire, or "
        "'keep' to keep the frames around that time.",
    ),
    (
        {"trigger_above": 3},
        "trigger_above: 3 was given with a RecordingTrigger, which has no value. Give a signal as "
        "trigger, or leave the limit out.",
    ),
    (
        {"trigger": "a crack"},
        "trigger: 'a crack' can neither be fired nor read. Give a RecordingTrigger, or a signal with "
        "trigger_above or trigger_below.",
    ),
    (
        {"trigger": soft_signal_rw(float, 1.0, name="pressure")},
        "trigger: the value of pressure is to be watched, but no limit was given. Give trigger_above "
        "or trigger_below, in the signal's unit.",
    ),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG, ids=[next(iter(w)) for w, _ in WRONG])
def test_wrong_parameters(hutch: Hutch, wrong: dict[str, Any], message: str) -> None:
    hutch.documents.clear()
    with pytest.raises(ConcertinoError) as caught:
        hutch.session.RE(hutch.plan(**wrong))
    assert isinstance(caught.value, (ParameterError, CameraError))
    assert str(caught.value) == message
    assert hutch.documents == []


def test_a_ring_that_is_large_enough_takes_what_was_refused(tmp_path: Path) -> None:
    small = SimulatedBeamline(shape=(16, 16))
    camera = Camera(small.camera.source, ring_bytes=33280, frame_rate=RATE_HZ, exposure=0.001)
    hutch = Hutch(tmp_path)
    hutch.beamline.camera = camera
    run = hutch.run(num_before=61, max_wait="1 s", on_timeout="keep")
    hutch.session.close()
    assert len(run.frames("projections").read()) == hutch.event()["recording-before"] + 15


def test_wrong_settings_of_a_change_trigger() -> None:
    with pytest.raises(ParameterError) as caught:
        ChangeTrigger(RecordingTrigger(), above=0)
    assert str(caught.value) == ("above: 0 was given; give the change that fires, more than 0.")
