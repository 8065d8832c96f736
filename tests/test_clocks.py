"""A camera whose clock is an hour off and drifts, and times that tell whose they are."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino._clocks import CameraTimes, ClockCalibration, EncoderTimes, HostTimes
from concertino.callbacks import BeamCurrent, ImageWriter, ScanAlarms
from concertino.devices import Camera, Grab, SimulatedBeamline, SimulatedSource
from concertino.frames import RecordingTrigger
from concertino.plans import radiography, retrospective_radiography
from concertino.session import Session, open_session
from concertino.storage import open_run

pytestmark = pytest.mark.disturbed_by_load(
    "a beam dips by the clock, while frames come at their rate"
)

OFF_S, DRIFT, SINCE_S = -3600.0, 50e-6, 1.7e9
RATE_HZ, EXPOSURE_S = 100.0, 0.001


def shown_at(host_s: float) -> float:
    """What the camera's clock shows: an hour behind, and by now some days of drift."""
    return host_s + OFF_S + DRIFT * (host_s - SINCE_S)


class OwnClock(SimulatedSource):
    """A camera that stamps by a clock of its own; it notes when its exposures really were."""

    true_ns: list[int]

    def clock(self) -> float:
        return shown_at(time.time())

    def start(self) -> None:
        self.true_ns = []
        super().start()

    def grab(self, out: NDArray[Any]) -> Grab:
        grab = super().grab(out)
        self.true_ns.extend(grab.timestamps.tolist())
        shown = [round(shown_at(ns * 1e-9) * 1e9) for ns in grab.timestamps]
        return Grab(np.array(shown, np.int64), grab.numbers, grab.dropped)


class Hutch:
    """A beamline with such a camera, and a session that watches its beam."""

    def __init__(self, root: Path) -> None:
        self.beamline = b = SimulatedBeamline(shape=(16, 16), exposure=EXPOSURE_S)
        self.source = OwnClock(b.twin, b.state)
        self.camera = Camera(
            self.source, exposure=EXPOSURE_S, frame_rate=RATE_HZ, ring_bytes=2**17, name="camera"
        )
        self.session: Session = open_session(root, progress=False, catalog=False)
        self.session.subscribe(ImageWriter())
        self.documents: list[tuple[str, Mapping[str, Any]]] = []
        self.session.subscribe(lambda name, document: self.documents.append((name, document)))

    def when_exposed(self, count: int, do: Any) -> None:
        """Do something in another thread when so many projections are exposed."""

        def wait() -> None:
            ends_s = time.monotonic() + 240
            while time.monotonic() < ends_s:
                if len(self.source.__dict__.get("true_ns", ())) >= count:
                    do()
                    return
                time.sleep(0.005)

        threading.Thread(target=wait, daemon=True).start()

    def radiography(self, count: int) -> Any:
        b = self.beamline
        self.session.RE(
            radiography(
                self.camera, b.beam, b.sample_stage, radio_position=0, flat_position=1, num_darks=1,
                num_flats=1, num_projections=count,
            )
        )  # fmt: skip
        return open_run(int(self.session.RE.md["scan_id"]), self.session.directory)


@pytest.fixture
def hutch(tmp_path: Path) -> Iterator[Hutch]:
    made = Hutch(tmp_path)
    yield made
    made.session.close()


def test_spoiled_frames_are_found_whatever_the_camera_s_clock_shows(hutch: Hutch) -> None:
    asked: list[tuple[float, list[int]]] = []

    def ask() -> None:
        hold, source = hutch.session.hold, hutch.source
        since_s = source.true_ns[40] * 1e-9  # after the middle of this one, before its end
        request = hold.request("no beam", since_s)
        true_ns = source.true_ns
        until_s = time.monotonic() + 240
        while not hold.waiting and time.monotonic() < until_s:
            time.sleep(0.01)
        asked.append((since_s, true_ns))
        request.release()

    hutch.when_exposed(60, ask)
    run = hutch.radiography(120)
    ((since_s, true_ns),) = asked
    pauses = [event["data"] for event in run["pauses"].events]
    again = json.loads(pauses[0]["pause-again"])["projections"]
    ends_s = np.array(true_ns) * 1e-9 + EXPOSURE_S / 2
    assert again == [[40, 120]]
    assert (ends_s >= since_s).argmax() == 40
    # the documents of frames, too, are by the computer's clock
    stored = run.frames("projections_from_00040").index["timestamp_ns"]
    assert np.abs(stored - np.array(hutch.source.true_ns)).max() < 2e6


def test_frames_of_a_dip_of_the_beam_are_named(hutch: Hutch) -> None:
    ring = hutch.beamline.ring
    alarms = ScanAlarms([BeamCurrent(ring.current, minimum=50, level="note", lag_s=0.0)])
    hutch.session.subscribe(alarms)
    dip: list[float] = []

    def fall() -> None:
        dip.append(time.time())
        ring.refill(1.0)
        hutch.when_exposed(70, recover)

    def recover() -> None:
        ring.refill(100.0)
        dip.append(time.time())

    hutch.when_exposed(30, fall)
    hutch.radiography(100)
    alarms.wait(240)
    (told,) = [alarm for alarm in alarms.alarms if alarm.frame >= 0]
    true_s = np.array(hutch.source.true_ns) * 1e-9
    first = int((true_s >= dip[0]).argmax())
    count = int(((true_s >= dip[0]) & (true_s < dip[1])).sum())
    assert abs(told.frame - first) <= 10
    assert abs(told.value - count) <= 20


def test_a_trigger_keeps_the_frames_around_it(hutch: Hutch) -> None:
    b, trigger, fired = hutch.beamline, RecordingTrigger(), []

    def fire() -> None:
        fired.append(hutch.source.true_ns[150] + 2_000_000)
        trigger.fire("a crack", time_ns=fired[0])

    hutch.when_exposed(160, fire)
    hutch.session.RE(
        retrospective_radiography(
            hutch.camera, b.beam, b.sample_stage, trigger, radio_position=0, flat_position=1,
            num_before=20, num_after=15, order=["projections"], max_wait="60 s",
        )
    )  # fmt: skip
    run = open_run(int(hutch.session.RE.md["scan_id"]), hutch.session.directory)
    event = run["recording"].events[0]["data"]
    assert (event["recording-before"], event["recording-late"]) == (20, 0.0)
    stored = run.frames("projections").index["timestamp_ns"]
    assert np.count_nonzero(stored <= fired[0]) == 20
    assert np.abs(stored - np.array(hutch.source.true_ns[131:166])).max() < 2e6


def test_a_relation_holds_over_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [SINCE_S]
    random = np.random.default_rng(0)

    def computer() -> float:  # each look takes 0 to 40 us
        now_s[0] += random.uniform(0, 20e-6)
        return now_s[0]

    monkeypatch.setattr("concertino._clocks.time.time", computer)
    relation = ClockCalibration(CameraTimes, lambda: shown_at(computer()))
    for at_s in np.arange(0, 7200, 60.0):
        now_s[0] = SINCE_S + at_s
        asyncio.run(relation.look()) if at_s % 120 else relation.look_now()
    true_s = SINCE_S + np.linspace(0, 7200, 50)
    host, spread_s = relation.to_host(CameraTimes.of_seconds(shown_at(true_s)))  # type: ignore[arg-type]
    assert np.abs(host.seconds - true_s).max() < 10e-6
    assert (spread_s < 10e-6).all()
    shown, _ = relation.of_host(host)
    assert np.abs(shown.seconds - shown_at(true_s)).max() < 10e-6  # type: ignore[arg-type]


def test_times_of_two_clocks_are_not_compared() -> None:
    host, camera = HostTimes([1, 2, 3]), CameraTimes([1, 2, 3])
    assert (host >= HostTimes(2)).tolist() == [False, True, True]
    # were this no error for mypy, too, the comments would be unused, which it reports
    with pytest.raises(TypeError, match="HostTimes were compared with CameraTimes"):
        _ = host >= camera  # type: ignore[operator]
    with pytest.raises(TypeError, match="after a ClockCalibration has converted"):
        _ = camera < host  # type: ignore[operator]
    with pytest.raises(TypeError, match="CameraTimes were compared with HostTimes"):
        _ = camera.since(host)  # type: ignore[arg-type]
    relation = ClockCalibration(EncoderTimes, None)
    assert relation.to_host(EncoderTimes([5]))[0].ns == 5
    with pytest.raises(AttributeError):
        relation.to_host(5.0)  # type: ignore[arg-type]
