"""A scan that is asked to pause: it ends at a frame, waits, and takes what is missing or spoiled."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concertino.documents import validate_run
from concertino.plans import HoldRequest, PauseRequest, with_pause_request
from concertino.storage import StoredScan, open_run
from concertino.testing import check_safe_end, run_with_fault
from tests.plans.laboratory import Laboratory

PLANS = [
    "radiography", "step_tomography", "continuous_tomography",
    "step_spiral_tomography", "continuous_spiral_tomography",
]  # fmt: skip
MANY: dict[str, Any] = {"num_darks": 3, "num_flats": 3, "num_projections": 60}
SPIRAL = {"sample_height": "0.01 mm"}


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    made = Laboratory(tmp_path, noise=False, frame_rate=50.0)
    yield made
    made.close()


class Asker:
    """Asks for a pause when so many frames of a stream are documented, and releases it later."""

    def __init__(
        self, stream: str, count: int, hold: PauseRequest, look: Callable[[], Any] = lambda: None
    ) -> None:
        self.stream, self.count, self.hold, self.look = stream, count, hold, look
        self.seen: list[Any] = []
        self.asked_s = 0.0
        self.request: HoldRequest | None = None
        self.since_s: float | None = None
        self._streams: dict[str, str] = {}

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        if name == "descriptor":
            self._streams[document["uid"]] = document["name"]
        if (
            name in ("stream_datum", "event")
            and self._streams[document["descriptor"]] == self.stream
        ):
            stop = document.get("indices", {}).get("stop", document.get("seq_num"))
            if stop >= self.count and not self.asked_s:
                self.asked_s = time.time()
                self.request = self.hold.request("lunch", self.since_s)
        if name == "event" and document["data"].get("pause-state") == "paused":
            threading.Timer(0.2, self._release).start()

    def _release(self) -> None:
        self.seen.append(self.look())
        if self.request is not None:
            self.request.release()


def run_paused(
    laboratory: Laboratory, name: str, asker: Asker, **parameters: Any
) -> list[tuple[str, Any]]:
    given = MANY | (SPIRAL if "spiral" in name else {}) | parameters
    laboratory.documents.clear()
    token = laboratory.RE.subscribe(asker)
    try:
        bench = laboratory.bench(
            lambda: with_pause_request(laboratory.plan(name, **given), asker.hold)
        )
        outcome = run_with_fault(bench, None)
    finally:
        laboratory.RE.unsubscribe(token)
    check_safe_end(outcome)
    return list(laboratory.documents)


def pauses(documents: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    streams = {d["uid"]: d["name"] for name, d in documents if name == "descriptor"}
    return [
        {key.removeprefix("pause-"): value for key, value in d["data"].items()}
        for name, d in documents
        if name == "event" and streams[d["descriptor"]] == "pauses"
    ]


@pytest.mark.parametrize("name", PLANS)
def test_a_scan_takes_after_a_pause_what_is_missing(laboratory: Laboratory, name: str) -> None:
    def look() -> tuple[bool, list[str]]:
        return laboratory.beam_is_on(), laboratory.moving()

    asker = Asker("projections", 5, PauseRequest(), look)
    documents = run_paused(laboratory, name, asker)
    validate_run(documents)
    assert asker.seen == [(False, [])]  # While it waits there is no beam, and nothing moves.
    run = open_run(documents[0][1]["run_directory"])
    total = run.start["frames"]["projections"]
    first, rest = (name for name in run.streams if name.startswith("projections"))
    taken = len(run.frames(first))
    assert 5 <= taken < total
    assert rest == f"projections_from_{taken:05d}"
    assert len(run.frames(rest)) == total - taken
    paused, resumed = pauses(documents)
    assert (paused["state"], paused["reason"], paused["stream"]) == ("paused", "lunch", first)
    assert (paused["taken"], paused["spoiled_since"]) == (taken, 0)
    assert json.loads(paused["again"]) == {"projections": [[taken, total]]}
    assert resumed["state"] == "resumed"
    scan = StoredScan(run)
    assert scan.missing("projections") == ()
    assert [row["stream"] for row in run.ledger() if row["role"] == "publisher"] == [
        "darks", "flats", first, rest,
    ]  # fmt: skip
    assert {(row["state"], row["dropped"]) for row in run.ledger()} == {("finished", 0)}
    assert run.exit_status == "success"


@pytest.mark.parametrize("name", ["step_tomography", "continuous_tomography"])
def test_the_paused_scan_is_that_of_a_scan_without_a_pause(
    laboratory: Laboratory, name: str
) -> None:
    # Without motion blur: what the camera sees follows from the angle alone.
    asker = Asker("projections", 12, PauseRequest())
    documents = run_paused(laboratory, name, asker)
    run = open_run(documents[0][1]["run_directory"])
    scan = StoredScan(run)
    rotation = laboratory.beamline.rotation
    angles = np.concatenate([
        [rotation.position_at(ns / 1e9) for ns in run.frames(stream).index["timestamp_ns"]]
        for stream in run.streams
        if stream.startswith("projections")
    ])  # fmt: skip
    step = 3 / 60
    off = angles - np.arange(60) * step
    # A continuous one starts some milliseconds late, as it does without a pause.
    assert np.abs(off - off[0]).max() < (1e-6 if name == "step_tomography" else 0.3)
    assert scan.read("projections").shape == (60, 16, 16)


@pytest.mark.parametrize("name", ["radiography", "step_tomography", "continuous_tomography"])
def test_spoiled_frames_are_taken_again(laboratory: Laboratory, name: str) -> None:
    asker = Asker("projections", 20, PauseRequest())
    began = time.time()

    class Late(Asker):
        def __call__(self, kind: str, document: Mapping[str, Any]) -> None:
            # Half of the time since the first projection was good.
            if kind == "descriptor" and document["name"] == "projections":
                self.began_s = time.time()
            self.since_s = (getattr(self, "began_s", began) + time.time()) / 2
            super().__call__(kind, document)

    asker = Late("projections", 20, PauseRequest())
    documents = run_paused(laboratory, name, asker)
    run = open_run(documents[0][1]["run_directory"])
    first, rest = (n for n in run.streams if n.startswith("projections"))
    (paused, _) = pauses(documents)
    ((start, stop),) = json.loads(paused["again"])["projections"]
    assert stop == 60
    assert rest == f"projections_from_{start:05d}"
    assert start < len(run.frames(first)) == paused["taken"]
    exposed_s = run.frames(first).index["timestamp_ns"] / 1e9
    assert list(exposed_s < paused["spoiled_since"]) == [
        index < start for index in range(len(exposed_s))
    ]
    scan = StoredScan(run)
    assert scan.missing("projections") == ()
    assert [(len(p), p.first) for p in scan.pieces if p.stream == "projections"] == [
        (start, 0), (60 - start, start),
    ]  # fmt: skip


def test_spoiled_flats_are_all_taken_again(laboratory: Laboratory) -> None:
    asker = Asker("projections", 5, PauseRequest())
    asker.since_s = time.time()  # Before the darks: all was spoiled.
    documents = run_paused(laboratory, "radiography", asker)
    run = open_run(documents[0][1]["run_directory"])
    images = [name for name in run.streams if run[name].frame_keys]
    assert images == [
        "darks", "flats", "projections",
        "darks_from_00000_2", "flats_from_00000_2", "projections_from_00000_2",
    ]  # fmt: skip
    scan = StoredScan(run)
    assert {piece.frames.name.partition(" ")[0] for piece in scan.pieces} == set(images[3:])
    assert [len(piece) for piece in scan.pieces] == [3, 3, 60]


def test_a_request_that_was_released_before_it_was_seen_counts(laboratory: Laboratory) -> None:
    class Blip(Asker):
        def _release(self) -> None: ...

        def __call__(self, kind: str, document: Mapping[str, Any]) -> None:
            self.since_s = time.time() - 0.02
            super().__call__(kind, document)
            if self.request is not None:
                self.request.release()

    asker = Blip("projections", 10, PauseRequest())
    documents = run_paused(laboratory, "step_tomography", asker)
    run = open_run(documents[0][1]["run_directory"])
    (paused, _) = pauses(documents)
    assert paused["reason"] == "lunch"
    assert StoredScan(run).missing("projections") == ()
    assert len([n for n in run.streams if n.startswith("projections")]) == 2


def test_two_pauses_in_darks_and_projections(laboratory: Laboratory) -> None:
    hold = PauseRequest()
    asker, other = Asker("darks", 2, hold), Asker("projections", 3, hold)
    token = laboratory.RE.subscribe(other)
    documents = run_paused(laboratory, "step_tomography", asker, num_darks=60)
    laboratory.RE.unsubscribe(token)
    run = open_run(documents[0][1]["run_directory"])
    assert len(pauses(documents)) == 4
    scan = StoredScan(run)
    assert {stream: int(scan.present(stream).sum()) for stream in scan.streams} == {
        "darks": 60, "flats": 3, "projections": 60,
    }  # fmt: skip
    assert all(not scan.missing(stream) for stream in scan.streams)


def test_a_hold_has_several_reasons() -> None:
    hold = PauseRequest()
    assert not hold.requested
    ring = hold.request("ring current 3 mA", 20.0)
    vacuum = [hold.request("vacuum", since_s) for since_s in (10.0, 30.0)]
    assert hold.reason == "ring current 3 mA; vacuum"
    ring.release()
    ring.release()
    assert hold.requested
    assert hold.take_spoiled() == 10
    assert hold.take_spoiled() is None
    vacuum[0].release()
    assert hold.requested
    vacuum[1].release()
    assert not hold.requested
    assert not hold.pending
    assert hold.reason == "ring current 3 mA; vacuum"  # Why it was asked for the last time.


def test_a_scan_that_waits_says_so_before_its_last_checkpoint() -> None:
    # a pause of the RunEngine that is asked for between this checkpoint and the wait would not be heard at another
    hold = PauseRequest()
    hold.request("no beam")
    messages = hold.wait()

    assert next(messages).command == "checkpoint"
    assert hold.waiting
    messages.close()
    assert not hold.waiting
