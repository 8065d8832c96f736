"""Alarms while a scan goes on, and the same when it is replayed."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky.plans import count
from bluesky.utils import FailedStatus

from concertino import AlarmError, ParameterError, SubscriberFailedError
from concertino.callbacks import (
    Alarm,
    BeamCurrent,
    FlatDrift,
    ImageWriter,
    LiveView,
    LostFrames,
    SampleMoved,
    Saturation,
    ScanAlarms,
)
from concertino.devices import SimulatedBeamline, foam_twin
from concertino.plans import continuous_tomography, step_tomography
from concertino.session import Session, open_session
from concertino.simulation import Beam, Detector, Ellipsoid, Faults, Phantom, Twin
from concertino.storage import open_run, replay

NUMBERS: dict[str, Any] = {
    "radio_position": 0, "flat_position": 10, "num_darks": 4, "num_flats": 8, "num_projections": 40,
}  # fmt: skip


class Hutch:
    """A beamline, a session, and scans in it."""

    def __init__(self, root: Path, **beamline: Any) -> None:
        self.beamline = SimulatedBeamline(
            **{
                "shape": (48, 64),
                "exposure": 0.002,
                "frame_rate": 200.0,
                "noise": False,
                **beamline,
            }
        )
        self.session: Session = open_session(root, progress=False, catalog=False)
        self.session.subscribe(ImageWriter())

    def run(self, alarms: ScanAlarms, plan: str = "step", **parameters: Any) -> list[Alarm]:
        """Run a scan and return its alarms."""
        b = self.beamline
        token = self.session.subscribe(alarms)
        function = step_tomography if plan == "step" else continuous_tomography
        try:
            self.session.RE(
                function(b.camera, b.rotation, b.beam, b.sample_stage, **(NUMBERS | parameters))
            )
        finally:
            self.session.unsubscribe(token)
            alarms.wait(240)
        return alarms.alarms

    @property
    def last(self) -> Any:
        return open_run(int(self.session.RE.md["scan_id"]), self.session.directory)

    def when_taken(self, stream: str, count: int, act: Callable[[], Any]) -> None:
        """Do something as soon as so many frames of a stream have been taken."""
        taken: list[int] = []

        def watch(name: str, document: Any) -> None:
            if name == "descriptor":
                streams[document["uid"]] = document.get("name", "")
            if name == "event" and streams.get(document["descriptor"]) == stream:
                taken.append(1)
                if len(taken) == count:
                    act()

        streams: dict[str, str] = {}
        self.session.RE.subscribe(watch)

    def move_sample(self, mm: float) -> None:
        """Move the sample at once, as if it fell."""
        asyncio.run_coroutine_threadsafe(_set(self.beamline.sample_stage, mm), self.session.RE.loop)


async def _set(motor: Any, position: float) -> None:
    await motor.set(position)


@pytest.fixture
def hutch(tmp_path: Path) -> Iterator[Hutch]:
    made = Hutch(tmp_path)
    yield made
    made.session.close()


def again(hutch: Hutch, checks: list[Any], tmp_path: Path) -> list[Alarm]:
    """Replay the last run and return its alarms."""
    alarms = ScanAlarms(checks, directory=tmp_path)
    run = hutch.last
    replay(run, [alarms])
    alarms.close()
    return alarms.alarms


def unordered(alarms: list[Alarm]) -> list[str]:
    return sorted(repr(alarm) for alarm in alarms)


def test_nothing_is_said_of_a_good_scan(hutch: Hutch) -> None:
    alarms = ScanAlarms()
    assert hutch.run(alarms, angular_range="360 deg") == []
    assert alarms.run_directory is None
    ledger = [row for row in hutch.last.ledger() if row["party"] == "alarms"]
    assert [row["acknowledged"] for row in ledger] == [4, 8, 40]


def test_saturation_live_replayed_logged_and_stored(hutch: Hutch, tmp_path: Path) -> None:
    checks = [Saturation(share=0.01, value=1000)]
    view = LiveView()
    alarms = ScanAlarms(checks, callbacks=[view])
    flats, projections = hutch.run(alarms)
    assert (flats.check, flats.level, flats.stream, flats.frame) == (
        "saturation",
        "warn",
        "flats",
        0,
    )
    assert (flats.value, flats.limit) == (1.0, 0.01)
    assert flats.message == (
        "100 % of the pixels of frame 0 of flats are saturated (at 1000 or above); 1 % may be. Lower "
        "the exposure or the beam."
    )
    assert projections.stream == "projections"
    assert unordered(again(hutch, checks, tmp_path / "again")) == unordered([flats, projections])
    # It stands in the log of the run, on the page, and in a run of its own.
    run = hutch.last
    assert (
        "WARNING  concertino.alarms: saturation: 100 % of"
        in (run.directory / "run.log").read_text()
    )
    shown = view.state.summary()["alarms"]
    view.close()
    assert [alarm["message"] for alarm in shown] == [flats.message, projections.message]
    assert alarms.run_directory is not None
    stored = open_run(alarms.run_directory)
    assert stored.start["derived_from"] == run.uid
    assert stored.start["processing"]["parameters"]["Saturation"] == {
        "share": 0.01, "value": 1000, "level": "warn",
    }  # fmt: skip
    events = [d["data"] for n, d in stored.documents() if n == "event"]
    assert [event["stream"] for event in events] == ["flats", "projections"]
    assert events[0] == flats.columns()


def test_the_largest_value_of_the_type_counts_as_saturated(tmp_path: Path) -> None:
    usual = foam_twin((16, 32), noise=False)
    # A camera that counts to 65535 before its pixels are full.
    detector = replace(usual.detector, gain=2.0)
    twin = Twin(usual.phantom, usual.beam, detector, noise=False)
    hutch = Hutch(tmp_path, twin=twin, exposure=0.5, frame_rate=0.0)
    (alarm,) = hutch.run(
        ScanAlarms([Saturation()]), num_darks=1, num_flats=1, num_projections=1, order=["flats"]
    )
    hutch.session.close()
    assert "at 65535 or above" in alarm.message


@pytest.mark.parametrize(
    ("camera", "most"),
    [
        ({"bit_depth": 12}, 4095),
        ({"full_well": 6000.0}, 6100),
        ({"bit_depth": 14, "gain": 0.25}, None),
    ],
    ids=["12 bits", "full well", "neither"],
)
@pytest.mark.parametrize("noise", [True, False])
def test_by_default_a_camera_that_stops_counting_is_saturated(
    tmp_path: Path, camera: dict[str, Any], most: int | None, noise: bool
) -> None:
    usual = foam_twin((48, 64), noise=noise)
    twin = Twin(usual.phantom, usual.beam, replace(usual.detector, **camera), noise=noise)
    hutch = Hutch(tmp_path, twin=twin)
    try:  # 7250 photons a pixel in 2 ms at 100 mA.
        found = hutch.run(ScanAlarms([Saturation()]), num_projections=6)
    finally:
        hutch.session.close()
    if most is None:
        assert found == []
        return
    assert {alarm.stream for alarm in found} >= {"flats"}
    for alarm in found:
        assert f"(at {most} or above)" in alarm.message


def test_flats_that_drift(hutch: Hutch, tmp_path: Path) -> None:
    ring = hutch.beamline.ring
    threading.Thread(
        target=_when_flats_run, args=(hutch, lambda: ring.refill(80.0)), daemon=True
    ).start()
    checks = [FlatDrift(change=0.1)]
    # The projections have the same weak beam, and the sample leaves the sides free.
    found = hutch.run(ScanAlarms(checks), num_flats=200, num_projections=4)
    assert [alarm.stream for alarm in found] == ["flats", "projections"]
    for alarm in found:
        assert alarm.check == "flat drift"
        assert alarm.value == pytest.approx(-0.2, abs=0.03)
        assert "% darker than in the first flats; 10 % is allowed." in alarm.message
    assert again(hutch, checks, tmp_path / "again") == found


def _when_flats_run(hutch: Hutch, act: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        acquisition = hutch.beamline.camera._acquisition
        if (
            acquisition
            and acquisition.request.kind == "flats"
            and acquisition.stream.published > 50
        ):
            act()
            return
        time.sleep(0.002)


def test_an_empty_region_of_projections_against_the_flats(hutch: Hutch, tmp_path: Path) -> None:
    ring = hutch.beamline.ring
    hutch.when_taken("projections", 20, lambda: ring.refill(50.0))
    checks = [FlatDrift(change=0.1, region=((0, 48), (0, 3)))]
    (alarm,) = hutch.run(ScanAlarms(checks))
    assert alarm.stream == "projections"
    assert 20 <= alarm.frame <= 23
    assert alarm.value == pytest.approx(-0.5, abs=0.1)
    assert "the empty region is" in alarm.message
    assert again(hutch, checks, tmp_path / "again") == [alarm]


@pytest.mark.parametrize(("current", "change"), [(40.0, -0.6), (115.0, 0.15)])
@pytest.mark.parametrize("when", ["before the projections", "in mid-scan"])
def test_by_default_the_beam_is_looked_at_beside_the_sample(
    hutch: Hutch, tmp_path: Path, current: float, change: float, when: str
) -> None:
    ring = hutch.beamline.ring
    early = when == "before the projections"
    hutch.when_taken("projections", 1 if early else 20, lambda: ring.refill(current))
    found = hutch.run(ScanAlarms())
    alarm = next(a for a in found if (a.check, a.stream) == ("flat drift", "projections"))
    assert alarm.value == pytest.approx(change, abs=0.05)
    assert alarm.frame <= (12 if early else 24)  # A quarter of 40 projections, and the first.
    assert "Take flats again, or look at the beam." in alarm.message


@pytest.mark.disturbed_by_load("the ring decays by the clock while frames are taken and looked at")
def test_a_ring_that_decays_alarms_both_who_watches_it_and_who_sees_the_frames(
    hutch: Hutch,
) -> None:
    ring = hutch.beamline.ring
    ring._lifetime_s = 10.0  # To 1/e of it, as if the scan took a shift.
    ring.refill(100.0)
    checks: list[Any] = [BeamCurrent(ring.current, minimum=85, level="warn"), FlatDrift()]
    found = hutch.run(ScanAlarms(checks), num_projections=150)
    dip = next(a for a in found if a.check == "beam current")
    assert 70 < dip.value < 85
    assert any(a.check == "flat drift" and a.stream == "projections" for a in found)


@pytest.mark.parametrize("offset_mm", [0.0, 0.15], ids=["centred", "partly out of the field"])
@pytest.mark.parametrize("length", [1.0, 6.0], ids=["round", "plate"])
def test_a_sample_of_any_shape_is_not_taken_for_the_beam(
    tmp_path: Path, offset_mm: float, length: float
) -> None:
    plate = Phantom((Ellipsoid((offset_mm, 0.0, 0.0), (0.05 * length, 0.05, 1.0), 6.0),))
    twin = Twin(plate, detector=Detector(shape=(48, 64)), beam=Beam(flux=6e6))
    hutch = Hutch(tmp_path, twin=twin)
    try:
        found = hutch.run(ScanAlarms([FlatDrift()]), angular_range="360 deg", num_projections=72)
    finally:
        hutch.session.close()
    assert found == []


@pytest.mark.parametrize(("angular_range", "at"), [("360 deg", 30), ("540 deg", 30)])
def test_a_sample_that_moves(hutch: Hutch, tmp_path: Path, angular_range: str, at: int) -> None:
    pixel_mm = hutch.beamline.twin.detector.pixel_size_mm
    hutch.when_taken("projections", at, lambda: hutch.move_sample(4 * pixel_mm))
    checks = [SampleMoved(limit_px=1.5, pairs=20)]
    (alarm,) = hutch.run(ScanAlarms(checks), angular_range=angular_range)
    assert at <= alarm.frame <= at + 2
    assert alarm.value == pytest.approx(4.0, abs=0.8)
    assert alarm.unit == "px"
    assert alarm.confidence > 0.5
    assert again(hutch, checks, tmp_path / "again") == [alarm]


@pytest.mark.parametrize("axis_is_known", [False, True])
def test_a_move_amid_little_more_than_half_a_turn(hutch: Hutch, axis_is_known: bool) -> None:
    """As the documentation says: all pairs have it between their two, so the axis must be known."""
    twin = hutch.beamline.twin
    hutch.when_taken("projections", 30, lambda: hutch.move_sample(4 * twin.detector.pixel_size_mm))
    axis_px = (twin.shape[1] - 1) / 2 + twin.axis_offset_px
    alarms = hutch.run(
        ScanAlarms([SampleMoved(limit_px=1.5, pairs=20)]), angular_range="200 deg",
        rotation_axis=axis_px if axis_is_known else None,
    )  # fmt: skip
    assert len(alarms) == axis_is_known


def test_a_sample_that_rests_has_not_moved(hutch: Hutch) -> None:
    for angular_range in ("180 deg", "360 deg", "720 deg"):
        check = SampleMoved(limit_px=0.7)
        assert hutch.run(ScanAlarms([check]), angular_range=angular_range) == []


def test_frames_that_the_camera_lost(tmp_path: Path) -> None:
    hutch = Hutch(tmp_path, faults=Faults(drop_frames=[11, 12]))
    checks = [LostFrames(first=0)]
    (gap,) = hutch.run(ScanAlarms(checks), "continuous", on_lost="flag", order=["projections"])
    assert gap.message == (
        "2 frames are missing before frame 11 of projections: the camera's number is 13, and 11 was due."
    )
    assert (gap.value, gap.unit, gap.frame) == (2.0, "frame", 11)
    assert again(hutch, checks, tmp_path / "again") == [gap]
    # Of the last ones no number tells.
    hutch.beamline.camera.source.faults = Faults(drop_frames=[38, 39])  # type: ignore[attr-defined]
    (ledger,) = hutch.run(ScanAlarms(checks), "continuous", on_lost="flag", order=["projections"])
    assert ledger.message == "The ledger tells that the camera lost 2 frames of projections."
    assert again(hutch, checks, tmp_path / "again") == [ledger]
    hutch.session.close()


def test_frame_numbers_that_must_begin_with_one(hutch: Hutch) -> None:
    # "camera timestamp check (frame numbers must be 1..N)"; the simulated camera counts from 0.
    check = LostFrames(first=1, level="fail")
    with pytest.raises((AlarmError, FailedStatus, SubscriberFailedError)) as caught:
        hutch.run(ScanAlarms([check, Saturation()]))
    error = caught.value.__cause__ if isinstance(caught.value, FailedStatus) else caught.value
    assert "Frame 0 of darks has the camera's number 0, and 1 was due" in str(error)
    assert hutch.last.exit_status == "fail"
    # Of a run that is no scan, too.
    alarms = ScanAlarms([replace(check, level="note"), Saturation()])
    hutch.session.subscribe(alarms)
    hutch.session.RE(count([hutch.beamline.camera], num=2))
    alarms.wait(240)
    assert [alarm.message.split(":")[0] for alarm in alarms.alarms] == [
        "Frame 0 of primary has the camera's number 0, and 1 was due"
    ]


def test_an_alarm_that_fails_the_run(hutch: Hutch) -> None:
    checks = [Saturation(share=0.01, value=1000, level="fail")]
    with pytest.raises((AlarmError, FailedStatus, SubscriberFailedError)) as caught:
        hutch.run(ScanAlarms(checks))
    error = caught.value.__cause__ if isinstance(caught.value, FailedStatus) else caught.value
    assert "100 % of the pixels of frame 0 of flats are saturated" in str(error)
    assert not hutch.beamline.shutter.is_open
    assert hutch.last.exit_status == "fail"


def test_a_check_that_breaks_costs_no_scan(hutch: Hutch, caplog: Any) -> None:
    class Broken(Saturation):
        def examiner(self, start: Any, tomo: Any) -> Any:
            examiner = super().examiner(start, tomo)
            examiner.frame = lambda frame: 1 / 0  # type: ignore[method-assign,assignment,return-value]
            return examiner

    with caplog.at_level(logging.ERROR, "concertino.alarms"):
        found = hutch.run(ScanAlarms([Broken(), Saturation(share=0.01, value=1000)]))
    assert len(found) == 2
    assert "watches no more: division by zero" in caplog.text


def test_a_current_that_falls_names_the_frames_also_in_a_replay(
    hutch: Hutch, tmp_path: Path
) -> None:
    ring = hutch.beamline.ring
    hutch.when_taken("projections", 15, lambda: ring.refill(20.0))
    hutch.when_taken("projections", 25, lambda: ring.refill(100.0))
    check = BeamCurrent(ring.current, minimum=50, level="warn", lag_s=0.0)
    dip, frames = hutch.run(ScanAlarms([check]))
    assert dip.message == "ring-current fell to 20 mA; at least 50 mA are wanted."
    assert (dip.value, dip.limit, dip.unit) == (20.0, 50.0, "mA")
    assert frames.level == "note"
    assert "frames of projections were exposed while ring-current is below 50: 15" in frames.message
    assert 8 <= frames.value <= 14
    named = BeamCurrent("ring-current", minimum=50, level="warn", lag_s=0.0)
    assert again(hutch, [named], tmp_path / "again") == [dip, frames]


class Switch:
    """Takes the place of a PauseRequest where no scan pauses."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.since_s: float | None = None

    def request(
        self, reason: str, spoiled_since_s: float | None = None, **belongs: Any
    ) -> "Switch":
        self.calls.append(("request", reason))
        self.since_s = spoiled_since_s
        return self

    def release(self) -> None:
        self.calls.append(("release", self.calls[-1][1]))


def test_a_current_that_recovers_releases_what_it_asked_for(hutch: Hutch) -> None:
    ring, switch = hutch.beamline.ring, Switch()
    fell_s: list[float] = []

    def fall() -> None:
        fell_s.append(time.time())
        ring.refill(20.0)

    hutch.when_taken("projections", 10, fall)
    hutch.when_taken("projections", 12, lambda: ring.refill(100.0))
    hutch.when_taken("projections", 14, lambda: ring.refill(20.0))
    hutch.when_taken("projections", 16, lambda: ring.refill(100.0))
    check = BeamCurrent(ring.current, minimum=50, recovered_s=60, lag_s=2)
    hutch.run(ScanAlarms([check], hold=switch))
    # Asked for once: it had not recovered for long enough in between. The run's end releases it.
    reason = "ring-current is below 50"
    assert switch.calls == [("request", reason), ("release", reason)]
    assert switch.since_s is not None
    assert switch.since_s == pytest.approx(fell_s[0] - 2, abs=0.5)


WRONG: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: Saturation(level="panic"),  # type: ignore[arg-type]
        "level: 'panic' was given; give 'note' for the record only, 'warn', 'pause' to pause the scan, "
        "or 'fail' to fail the run.",
    ),
    (
        lambda: Saturation(share=0),
        "share: 0 was given; give the share of the pixels that may be saturated, more than 0.",
    ),
    (
        lambda: FlatDrift(change=-1),
        "change: -1 was given; give the relative change that is allowed, more than 0.",
    ),
    (
        lambda: SampleMoved(limit_px=0),
        "limit_px: 0 was given; give how far the sample may move in px, more than 0.",
    ),
    (
        lambda: BeamCurrent("ring-current", minimum=0),
        "minimum: 0 was given; give the least value, in the signal's unit, more than 0.",
    ),
    (
        lambda: BeamCurrent("ring-current", minimum=5, recovered_s=-1),
        "recovered_s: -1 was given; give a time in s, 0 or more.",
    ),
    (
        lambda: BeamCurrent(7, minimum=5),
        "signal: 7 has no name. Give a signal such as beamline.ring.current, or its name.",
    ),
    (
        lambda: ScanAlarms(samples=0),
        "samples: 0 was given; give how many frames of each stream are looked at, 1 or more.",
    ),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_wrong_settings(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        make()
    assert str(caught.value) == message


def test_only_some_frames_are_looked_at(hutch: Hutch) -> None:
    looked: list[int] = []

    class Counting(Saturation):
        def examiner(self, start: Any, tomo: Any) -> Any:
            examiner = super().examiner(start, tomo)
            examiner.frame = lambda frame: looked.append(frame.index) or ()  # type: ignore[func-returns-value,method-assign,assignment,return-value]
            return examiner

    hutch.run(ScanAlarms([Counting()], samples=10), order=["projections"])
    assert np.array_equal(looked, np.arange(0, 40, 4))
