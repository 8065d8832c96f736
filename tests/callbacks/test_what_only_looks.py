"""What only looks never costs a scan: each consumer fails or hangs at each document and at frames.

The scan must be as if they were not there: the same documents, every frame stored, success, and the beam on
for hardly longer. Each of them says why it was detached.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concertino import ReconstructionError
from concertino import callbacks as all_callbacks
from concertino.callbacks import (
    Accumulator,
    Benchmarker,
    ChangeTrigger,
    ChildProcess,
    Consumer,
    DocumentConsumer,
    FrameConsumer,
    GratingContrasts,
    ImageWriter,
    LiveView,
    OnlineReconstruction,
    RunLog,
    ScanAlarms,
    remote,
)
from concertino.devices import Camera, SimulatedBeamline
from concertino.frames import RecordingTrigger
from concertino.plans import continuous_tomography, grating_stepping
from concertino.reconstruction import ReconstructionSettings
from concertino.session import open_session
from concertino.storage import Run, open_run

pytestmark = pytest.mark.disturbed_by_load(
    "consumers have a second for a document, and a scan may last five longer"
)

COUNTS = {"darks": 2, "flats": 3, "projections": 40}
DOCUMENTS = ("start", "descriptor", "event", "stream_resource", "stream_datum", "stop")
TIMEOUT_S = 9.0
NECESSARY = {"ImageWriter", "RemoteImageWriter"}
BASES = {"Consumer", "FrameCallback", "RemoteCallback"}
# They fail with their servers: tests/servers/test_remote_consumers.py
REMOTE = {"RemoteBenchmarker", "RemoteOnlineReconstruction"}
# Take no frames of this scan, or only the newest.
NO_FRAMES = {
    "ChangeTrigger",
    "ChildProcess",
    "DocumentConsumer",
    "GratingContrasts",
    "LiveView",
    "RunLog",
}


class Fault:
    """Strikes once in a run at a place: an exception, or a hang that lasts until `release`."""

    def __init__(self, place: str, hang: bool) -> None:
        self.place, self.hang = place, hang
        self._released = threading.Event()

    def strike(self) -> None:
        if self.hang:
            self._released.wait(300)
        raise MemoryError(f"no memory at {self.place}")

    def release(self) -> None:
        self._released.set()


class Striking:
    """A subscription that strikes when the second frame is acknowledged."""

    def __init__(self, subscription: Any, fault: Fault) -> None:
        self._subscription, self._fault = subscription, fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._subscription, name)

    def __iter__(self) -> Iterator[Any]:
        while (batch := self._subscription.read(1)) is not None:
            yield batch

    def acknowledge(self, stop: int) -> None:
        if stop == 2:
            self._fault.strike()
        self._subscription.acknowledge(stop)


def faulty(kind: Any, fault: Fault, *arguments: Any, **options: Any) -> Any:
    """Return a consumer of a kind, which is struck by a fault."""

    class Faulty(kind):  # type: ignore[misc]
        def take_document(self, name: str, document: Any) -> None:
            if name == fault.place:
                fault.strike()
            super().take_document(name, document)

        def take(self, stream: Any, subscription: Any) -> None:
            if fault.place == f"frames of {stream.name}":
                subscription = Striking(subscription, fault)
            super().take(stream, subscription)

    made = Faulty(*arguments, **options)
    if fault.hang:
        made.patience_s = 0.4 if fault.place == "stop" else 1.0
    return made


class KilledProcess(ChildProcess):
    """Its process is killed, or stopped for good, when the fault is due."""

    fault: Fault

    def take_document(self, name: str, document: Any) -> None:
        if name == self.fault.place and self.alive:
            os.kill(self.pid, signal.SIGSTOP if self.fault.hang else signal.SIGKILL)
        super().take_document(name, document)

    def close(self) -> None:
        if self.alive:
            os.kill(self.pid, signal.SIGKILL)
        super().close()


def killed_process(fault: Fault) -> ChildProcess:
    made = KilledProcess(Accumulator(name="child"), timeout_s=2.0)
    made.fault = fault
    return made


def look(*_: Any) -> None:
    """Look, and do nothing."""


CASES: dict[str, Callable[[Fault], Any]] = {
    "Accumulator": lambda fault: faulty(Accumulator, fault),
    "Benchmarker": lambda fault: faulty(Benchmarker, fault),
    "ChangeTrigger": lambda fault: faulty(ChangeTrigger, fault, RecordingTrigger(), above=1.0),
    "ChildProcess": killed_process,
    "DocumentConsumer": lambda fault: faulty(DocumentConsumer, fault, look),
    "FrameConsumer": lambda fault: faulty(FrameConsumer, fault, look, name="frame consumer"),
    "GratingContrasts": lambda fault: faulty(GratingContrasts, fault),
    "LiveView": lambda fault: faulty(LiveView, fault),
    "OnlineReconstruction": lambda fault: faulty(
        OnlineReconstruction, fault, ReconstructionSettings(slices=(8,))
    ),
    "RunLog": lambda fault: faulty(RunLog, fault),
    "ScanAlarms": lambda fault: faulty(ScanAlarms, fault),
}


def is_consumer(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Consumer)


def test_every_consumer_has_a_case() -> None:
    ours = {name for name in all_callbacks.__all__ if is_consumer(getattr(all_callbacks, name))}
    far = {name for name in remote.__all__ if is_consumer(getattr(remote, name))}
    assert ours | far == {*CASES, *NECESSARY, *BASES, *REMOTE}
    # What takes documents is a consumer.
    assert {
        n for n in all_callbacks.__all__ if hasattr(getattr(all_callbacks, n), "take_document")
    } == ours


@pytest.mark.parametrize("name", CASES)
def test_none_but_writers_are_necessary(name: str) -> None:
    made = CASES[name](Fault("nowhere", hang=False))
    assert not made.necessary
    if hasattr(made, "close"):
        made.close()
    assert ImageWriter().necessary


class Watch:
    """A session on a small beamline, and what a run there came to."""

    def __init__(self, directory: Path, consumers: list[Any]) -> None:
        self.beamline = SimulatedBeamline(
            shape=(16, 16), exposure=0.0, frame_rate=200.0, ring_bytes=8 * 512,
            subscriber_timeout_s=TIMEOUT_S,
        )  # fmt: skip
        b = self.beamline
        counts: dict[str, Any] = {f"num_{stream}": count for stream, count in COUNTS.items()}
        self.documents: list[tuple[str, Any]] = []
        self.beam_on_s = 0.0
        with open_session(
            directory, baseline=[b.rotation], progress=False, catalog=False
        ) as session:
            for consumer in consumers:
                session.subscribe(consumer)
            session.subscribe(ImageWriter())
            session.RE.subscribe(lambda name, document: self.documents.append((name, document)))
            looking = threading.Event()
            looker = threading.Thread(target=self._look_at_beam, args=(looking,))
            looker.start()
            try:
                session.RE(
                    continuous_tomography(
                        b.camera, b.rotation, b.beam, b.sample_stage,
                        radio_position=0, flat_position=1, angular_range="20 deg",
                        **counts,
                    )
                )  # fmt: skip
            finally:
                looking.set()
                looker.join()
        self.run: Run = open_run(1, directory)

    def _look_at_beam(self, done: threading.Event) -> None:
        last_s = time.monotonic()
        while not done.wait(0.005):
            now_s = time.monotonic()
            if self.beamline.shutter.is_open:
                self.beam_on_s += now_s - last_s
            last_s = now_s

    def check(self) -> None:
        """Assert that the run is whole."""
        assert (self.run.exit_status, self.run.reason) == ("success", "")
        stop = self.documents[-1]
        assert stop[0] == "stop"
        ends: dict[str, int] = {}
        names = {d["uid"]: d["name"] for n, d in self.documents if n == "descriptor"}
        for name, document in self.documents:
            if name == "stream_datum":
                stream = names[document["descriptor"]]
                ends[stream] = max(ends.get(stream, 0), document["indices"]["stop"])
        assert ends == COUNTS
        for stream, count in COUNTS.items():
            frames = self.run.frames(stream)
            assert len(frames) == count
            assert np.asarray(frames.read()).shape == (count, 16, 16)
        assert not self.beamline.shutter.is_open

    def kinds(self) -> list[str]:
        """Return kinds and streams of the documents in order, but those that come as frames do."""
        names = {d["uid"]: d["name"] for n, d in self.documents if n == "descriptor"}
        said = []
        for name, document in self.documents:
            if name not in ("stream_datum", "stream_resource", "event_page"):
                said.append(
                    f"{name} {document.get('name') or names.get(document.get('descriptor'), '')}"
                )
        return said


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    watch = Watch(tmp_path_factory.mktemp("clean") / "data", [])
    watch.check()
    return watch


@pytest.mark.parametrize("hang", [False, True], ids=["fails", "hangs"])
@pytest.mark.parametrize("place", [*DOCUMENTS, "frames of darks", "frames of projections"])
def test_the_scan_is_not_touched(
    place: str, hang: bool, clean: Watch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "concertino")
    fault = Fault(place, hang)
    names = [name for name in CASES if place in DOCUMENTS or name not in NO_FRAMES]
    consumers = {name: CASES[name](fault) for name in names}
    # A consumer that hangs must not keep the session from closing, nor this test: let go in time.
    release = threading.Timer(120, fault.release)
    release.start()
    try:
        watch = Watch(tmp_path / "data", list(consumers.values()))
    finally:
        release.cancel()
        fault.release()
    watch.check()
    assert watch.kinds() == clean.kinds()
    assert watch.beam_on_s < clean.beam_on_s + 5.0
    for name, consumer in consumers.items():
        assert consumer.error is not None, name
        assert consumer.name in caplog.text
    if not hang:
        assert "MemoryError" in caplog.text
    if place != "stop":
        reconstruction: Any = consumers["OnlineReconstruction"]
        with pytest.raises(ReconstructionError, match="cannot be reconstructed live"):
            reconstruction.wait(240)
    if "frames" in place:
        check_ledger(watch, place.removeprefix("frames of "), hang)


def check_ledger(watch: Watch, stream: str, hang: bool) -> None:
    """Assert that the run's ledger tells who was detached, and why."""
    pages = [
        d["data"] for n, d in watch.documents
        if n == "event_page" and "camera-ledger-party" in d["data"]
    ]  # fmt: skip
    rows = [
        dict(zip(page, values, strict=True))
        for page in pages
        for values in zip(*page.values(), strict=True)
    ]
    told = {
        row["camera-ledger-party"]: row["camera-ledger-reason"]
        for row in rows
        if row["camera-ledger-stream"] == stream and not row["camera-ledger-necessary"]
    }
    assert {"accumulator", "alarms", "benchmark", "frame consumer", "reconstruction"} <= set(told)
    # While the stage turns, a tenth of a second; before, a third of the time-out.
    held_up_s = 0.1 if stream == "projections" else TIMEOUT_S / 3
    for reason in told.values():
        if hang:
            held_up = f"it held up the camera for {held_up_s:g} s"
            assert held_up in reason or "no sign of it for" in reason
        else:
            assert reason == f"MemoryError: no memory at frames of {stream}"


@pytest.mark.parametrize("hang", [False, True], ids=["fails", "hangs"])
def test_a_grating_scan_is_not_touched_by_its_contrasts(hang: bool, tmp_path: Path) -> None:
    fault = Fault("frames of object_stepping", hang)
    contrasts = faulty(GratingContrasts, fault)
    b = SimulatedBeamline(shape=(16, 16), exposure=0.0, subscriber_timeout_s=TIMEOUT_S)
    try:
        with open_session(tmp_path, progress=False, catalog=False) as session:
            session.subscribe(contrasts)
            session.subscribe(ImageWriter())
            session.RE(
                grating_stepping(
                    b.camera, b.grating_stage, b.beam, b.sample_stage,
                    radio_position=0, flat_position="1 mm", grating_period="2.4 um",
                    stepping_start_position="3 um", num_darks=2, num_steps_per_period=4,
                )
            )  # fmt: skip
    finally:
        fault.release()
    run = open_run(1, tmp_path)
    assert (run.exit_status, run.reason) == ("success", "")
    steps = len(run.frames("reference_stepping"))
    assert len(run.frames("object_stepping")) == steps > 0
    assert contrasts.error is not None
    with pytest.raises(ReconstructionError, match="cannot be reconstructed live"):
        contrasts.wait(240)


def test_who_is_slow_but_steady_turns_no_projection_away(tmp_path: Path) -> None:
    """A looker that takes five times as long as a frame, and a stage that turns on."""
    b = SimulatedBeamline(shape=(32, 32), exposure=0.001)
    camera = Camera(b.camera.source, exposure=0.001, frame_rate=100.0, ring_bytes=8 * 32 * 32 * 2)
    looker = FrameConsumer(lambda *_: time.sleep(0.05), name="looker")
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        session.subscribe(looker)
        session.RE(
            continuous_tomography(
                camera, b.rotation, b.beam, b.sample_stage, radio_position=0, flat_position=1,
                num_darks=2, num_flats=2, num_projections=300,
            )
        )  # fmt: skip
        run = open_run(1, tmp_path)
    assert run.exit_status == "success"
    assert "looker" in str(looker.error)
    assert "held up the camera for 0.1 s in all" in str(looker.error)
    angles = np.array([event["data"]["angle"] for event in run["projection_angles"].events])
    asked = 0.6 * np.arange(300)  # 180 deg in 300 steps; where the first is is the stage's affair.
    astray = np.abs((angles - asked) - np.median(angles - asked)) > 0.3 + 60 * 0.2  # 60 deg/s.
    assert not astray.any()
