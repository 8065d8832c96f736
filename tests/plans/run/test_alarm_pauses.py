"""A beam that fails in mid-scan: the scan pauses, and takes the frames of the dip again."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky.suspenders import SuspendFloor
from bluesky.utils import RunEngineInterrupted

from concertino.batch import reconstruct_run
from concertino.callbacks import BeamCurrent, ImageWriter, ScanAlarms
from concertino.devices import SimulatedBeamline, SuspenderSignal
from concertino.plans import continuous_tomography, step_tomography
from concertino.reconstruction import ReconstructionSettings
from concertino.session import Session, open_session
from concertino.storage import StoredScan, open_run

NUMBERS: dict[str, Any] = {
    "radio_position": 0, "flat_position": 10, "num_darks": 3, "num_flats": 3, "num_projections": 60,
    "angular_range": "180 deg",
}  # fmt: skip


class Hutch:
    """A beamline whose storage ring can lose its beam, and a session that watches it."""

    def __init__(self, root: Path) -> None:
        self.beamline = SimulatedBeamline(
            shape=(24, 48), exposure=0.001, frame_rate=50.0, noise=False
        )
        self.session: Session = open_session(root, progress=False, catalog=False)
        self.session.subscribe(ImageWriter())
        self.alarms = ScanAlarms(
            [BeamCurrent(self.beamline.ring.current, minimum=50, recovered_s=0.3, lag_s=0.05)]
        )
        self.session.subscribe(self.alarms)
        self.looks: list[bool] = []
        self.after: Callable[[], None] = self.refill
        self.fall_at = 0
        self._streams: dict[str, str] = {}
        self.session.subscribe(self._watch)

    def _watch(self, name: str, document: Mapping[str, Any]) -> None:
        if name == "descriptor":
            self._streams[document["uid"]] = document["name"]
        elif name in ("event", "stream_datum"):
            stop = document.get("indices", {}).get("stop", document.get("seq_num"))
            stream = self._streams.get(document["descriptor"])
            if stream == "projections" and self.fall_at and stop >= self.fall_at:
                self.fall_at = 0
                self.beamline.ring.refill(0.5)
            if name == "event" and document["data"].get("pause-state") == "paused":
                threading.Timer(0.3, self._look).start()

    def _look(self) -> None:
        self.looks.append(self.beamline.shutter.is_open)
        self.after()

    def refill(self) -> None:
        self.beamline.ring.refill(100.0)

    def scan(self, name: str = "step", fall_at: int = 0) -> Any:
        """Run a scan whose beam fails at a projection; return the stored run."""
        self.beamline.ring.refill(100.0)
        self.fall_at = fall_at
        b = self.beamline
        plan = step_tomography if name == "step" else continuous_tomography
        self.session.RE(plan(b.camera, b.rotation, b.beam, b.sample_stage, **NUMBERS))
        self.alarms.wait(240)
        return self.last

    @property
    def last(self) -> Any:
        return open_run(int(self.session.RE.md["scan_id"]), self.session.directory)


@pytest.fixture
def hutch(tmp_path: Path) -> Iterator[Hutch]:
    made = Hutch(tmp_path)
    yield made
    made.session.close()


@pytest.mark.parametrize("name", ["step", "continuous"])
def test_the_frames_of_the_dip_are_taken_again(hutch: Hutch, name: str) -> None:
    run = hutch.scan(name, fall_at=20)
    assert run.exit_status == "success"
    assert hutch.looks == [False]  # While it waits there is no beam.
    dip, *named = hutch.alarms.alarms
    assert (dip.check, dip.level, dip.value, dip.unit) == ("beam current", "pause", 0.5, "mA")
    pieces = [stream for stream in run.streams if stream.startswith("projections")]
    assert len(pieces) == 2
    (paused,) = [
        d["data"] for n, d in run.documents()
        if n == "event" and d["data"].get("pause-state") == "paused"
    ]  # fmt: skip
    assert paused["pause-reason"] == "ring-current is below 50"
    ((again, end),) = json.loads(paused["pause-again"])["projections"]
    assert end == 60
    assert again <= 22 if name == "step" else again < 60
    # Every frame that the scan consists of was exposed with beam.
    scan = StoredScan(run)
    assert scan.missing("projections") == ()
    bright = scan.read("projections").mean(axis=(1, 2))
    assert bright.min() > 0.5 * bright.max()
    # Those of the dip, if any, are named.
    spoiled = run.frames(pieces[0]).read().mean(axis=(1, 2)) < 0.5 * bright.max()
    if spoiled.any():
        assert any("were exposed while ring-current is below 50" in a.message for a in named)


def test_the_reconstruction_is_that_of_an_undisturbed_scan(hutch: Hutch) -> None:
    settings = ReconstructionSettings(slices=(12,))
    volumes = []
    for fall_at in (0, 30):
        run = hutch.scan(fall_at=fall_at)
        made = reconstruct_run(run, settings)
        volumes.append(open_run(made.directory).frames("slices").read())
    undisturbed, paused = volumes
    # The current of the ring was refilled, and decays within a scan by less than this.
    assert np.abs(paused - undisturbed).max() < 0.02 * np.abs(undisturbed).max()
    assert len(hutch.looks) == 1


def test_abort_while_paused_is_safe(hutch: Hutch) -> None:
    hutch.after = lambda: hutch.session.RE.abort("no beam today")
    with pytest.raises(RunEngineInterrupted):
        hutch.scan(fall_at=10)
    assert hutch.looks == [False]
    assert not hutch.beamline.shutter.is_open
    assert hutch.last.exit_status == "abort"
    # The next scan is not held up by what was asked in this one.
    assert not hutch.session.hold.requested
    assert hutch.scan().exit_status == "success"


def test_no_run_begins_while_a_suspender_is_tripped(hutch: Hutch) -> None:
    ring = hutch.beamline.ring
    suspender = SuspendFloor(SuspenderSignal(ring.current), 80, sleep=0.1)
    hutch.session.wait_before_runs(suspender)
    opened_s: list[float] = []

    def note(name: str, document: Mapping[str, Any]) -> None:
        if name == "start":
            opened_s.append(time.time())

    hutch.session.subscribe(note)
    ring.refill(3.0)
    filled_s: list[float] = []

    def fill() -> None:
        filled_s.append(time.time())
        assert not hutch.beamline.shutter.is_open
        ring.refill(100.0)

    threading.Timer(0.5, fill).start()
    b = hutch.beamline
    hutch.session.RE(
        step_tomography(
            b.camera, b.rotation, b.beam, b.sample_stage, **(NUMBERS | {"num_projections": 3})
        )
    )
    assert opened_s[0] >= filled_s[0] + 0.1
    assert hutch.last.exit_status == "success"
    hutch.session.remove_suspender(suspender)
    ring.refill(70.0)
    assert hutch.scan().exit_status == "success"
