"""Replay: the same documents, the same frames, in an order that a live run could have."""

import shutil
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino import FrameStreamError, ParameterError, StorageError, SubscriberFailedError
from concertino.documents import validate_run
from concertino.frames import Claim, Subscription, subscribe
from concertino.storage import DocumentFile, open_run, replay


class Collector:
    """Takes documents, and all frames in threads, as a callback of a live run would."""

    def __init__(self, fail_at: int | None = None, claim: Claim | None = None) -> None:
        self.documents: list[tuple[str, Mapping[str, Any]]] = []
        self.frames: dict[str, list[NDArray[Any]]] = {}
        self.numbers: dict[str, list[int]] = {}
        self.seen: list[tuple[str, int]] = []  # kind of document, projections taken before
        self._fail_at = fail_at
        self._claim = claim
        self.threads: list[threading.Thread] = []

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        self.documents.append((name, document))
        self.seen.append((name, len(self.frames.get("projections", []))))
        if name == "descriptor":
            address = document["configuration"]["camera"]["data"]["camera-frames"]
            reader = subscribe(address, name="collector", claim=self._claim)
            thread = threading.Thread(target=self._take, args=(document["name"], reader))
            self.threads.append(thread)
            thread.start()

    def _take(self, stream: str, reader: Subscription) -> None:
        frames = self.frames.setdefault(stream, [])
        numbers = self.numbers.setdefault(stream, [])
        with suppress(FrameStreamError), reader:
            for batch in reader:
                if self._fail_at is not None and batch.stop > self._fail_at:
                    reader.fail("it was told to fail")
                    return
                frames.extend(np.array(batch.frames))
                numbers.extend(batch.numbers.tolist())
                reader.acknowledge(batch.stop)
            reader.finish()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(240)
            assert not thread.is_alive()


@pytest.mark.parametrize("bytes_per_file", [0, 3000])
def test_documents_and_frames_come_again(
    tmp_path: Path, record_run: Any, bytes_per_file: int
) -> None:
    frames = record_run(tmp_path / "scan_0001", bytes_per_file=bytes_per_file)
    collector = Collector()
    progress: list[tuple[str, int, int]] = []
    report = replay(tmp_path / "scan_0001", collector, progress=lambda *step: progress.append(step))
    collector.join()
    for stream, expected in frames.items():
        np.testing.assert_array_equal(np.array(collector.frames[stream]), expected)
        assert collector.numbers[stream] == list(range(1, len(expected) + 1))
    recorded = list(DocumentFile(tmp_path / "scan_0001" / "documents.jsonl"))
    assert [name for name, _ in collector.documents] == [name for name, _ in recorded]
    for (name, replayed), (_, original) in zip(collector.documents, recorded, strict=True):
        if name == "descriptor":
            address = replayed["configuration"]["camera"]["data"].pop("camera-frames")
            assert address.startswith("tcp://127.0.0.1:")
            assert original["configuration"]["camera"]["data"].pop("camera-frames") != address
        assert replayed == original
    assert report.frames == {"darks": 3, "projections": 10}
    assert report.exports == {}
    assert report.ledgers["projections"].subscribers[0].name == "collector"
    assert progress[-1] == ("projections", 10, 10)


def test_documents_validate(tmp_path: Path, record_run: Any) -> None:
    record_run(tmp_path / "scan_0001")
    documents: list[tuple[str, Mapping[str, Any]]] = []
    replay(tmp_path / "scan_0001", lambda name, document: documents.append((name, document)))
    validate_run(documents)


def test_frames_come_before_the_documents_that_describe_them(
    tmp_path: Path, record_run: Any
) -> None:
    record_run(tmp_path / "scan_0001")
    published: list[int] = []
    kinds: list[str] = []
    replay(
        tmp_path / "scan_0001",
        lambda name, _: kinds.append(name),
        progress=lambda stream, done, total: published.append(len(kinds)),
    )
    for at in published:
        assert kinds[at] == "stream_datum"


def test_a_single_stream(tmp_path: Path, record_run: Any) -> None:
    record_run(tmp_path / "scan_0001")
    collector = Collector()
    report = replay(1, collector, streams=["darks"], root=tmp_path)
    collector.join()
    assert list(collector.frames) == ["darks"]
    assert report.frames == {"darks": 3}
    assert [name for name, _ in collector.documents].count("descriptor") == 1
    assert collector.documents[-1][0] == "stop"


def test_what_a_callback_stores_is_an_export(tmp_path: Path, record_run: Any) -> None:
    record_run(tmp_path / "scan_0001")
    claim = Claim("file://localhost/elsewhere/", "application/x-hdf5")
    collector = Collector(claim=claim)
    report = replay(tmp_path / "scan_0001", [collector])
    collector.join()
    assert report.exports == {"darks": (claim,), "projections": (claim,)}
    uris = [doc["uri"] for name, doc in collector.documents if name == "stream_resource"]
    assert uris == [f"file://localhost{tmp_path}/scan_0001/{s}/" for s in ("darks", "projections")]


def test_a_moved_run_names_its_directory_now(tmp_path: Path, record_run: Any) -> None:
    record_run(tmp_path / "scan_0001")
    shutil.move(tmp_path / "scan_0001", tmp_path / "moved")
    collector = Collector()
    replay(tmp_path / "moved", collector)
    collector.join()
    assert collector.documents[0][1]["run_directory"] == str(tmp_path / "moved")
    assert len(collector.frames["projections"]) == 10


def test_the_original_pace(tmp_path: Path, record_run: Any) -> None:
    record_run(tmp_path / "scan_0001", interval_s=0.05)  # 10 projections: 0.45 s
    for speed, least in ((1.0, 0.45), (3.0, 0.15), (None, 0.0)):
        begun = time.monotonic()
        replay(tmp_path / "scan_0001", lambda name, document: None, speed=speed)
        # Only a least time: a busy machine takes any longer one.
        assert least <= time.monotonic() - begun


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
def test_a_speed_that_cannot_be(tmp_path: Path, record_run: Any, speed: float) -> None:
    record_run(tmp_path / "scan_0001")
    with pytest.raises(ParameterError, match=f"speed: {speed} was given; give a positive number"):
        replay(tmp_path / "scan_0001", Collector(), speed=speed)


def test_a_stream_that_is_not_there(tmp_path: Path, record_run: Any) -> None:
    record_run(tmp_path / "scan_0001")
    with pytest.raises(
        ParameterError, match=r"streams: \['flats'\] were asked for; scan_0001 has darks, p"
    ):
        replay(tmp_path / "scan_0001", Collector(), streams=["flats"])


def test_a_failing_subscriber_fails_the_replay(tmp_path: Path, record_run: Any) -> None:
    record_run(tmp_path / "scan_0001")
    failing = Collector(fail_at=5)
    other: list[tuple[str, Mapping[str, Any]]] = []
    with pytest.raises(SubscriberFailedError, match=r"collector.*it was told to fail"):
        replay(tmp_path / "scan_0001", [failing, lambda *pair: other.append(pair)])
    failing.join()
    name, stop = other[-1]
    assert name == "stop"
    assert stop["exit_status"] == "fail"
    assert "it was told to fail" in stop["reason"]


def test_a_callback_that_raises_fails_the_replay_and_releases_the_others(
    tmp_path: Path, record_run: Any
) -> None:
    record_run(tmp_path / "scan_0001")
    collector = Collector()

    def refuse(name: str, document: Mapping[str, Any]) -> None:
        if name == "event":
            raise RuntimeError("no events, please")

    with pytest.raises(RuntimeError, match="no events, please"):
        replay(tmp_path / "scan_0001", [collector, refuse])
    for thread in collector.threads:
        thread.join(240)
    name, stop = collector.documents[-1]
    assert (name, stop["exit_status"]) == ("stop", "fail")


def test_a_missing_frame_is_named(tmp_path: Path, record_run: Any) -> None:
    record_run(tmp_path / "scan_0001")
    path = tmp_path / "scan_0001" / "projections" / "frame_000005.tif"
    path.unlink()
    with pytest.raises(
        StorageError, match=f"Frame 5 of projections of scan_0001: {path} cannot be"
    ):
        replay(tmp_path / "scan_0001", lambda name, document: None)


def test_a_run_that_was_killed_is_replayed_and_stopped(tmp_path: Path, record_run: Any) -> None:
    record_run(tmp_path / "scan_0001", described=7, stop=False)
    collector = Collector()
    report = replay(open_run(tmp_path / "scan_0001"), collector)
    collector.join()
    assert report.frames["projections"] == 7
    name, stop = collector.documents[-1]
    assert (name, stop["exit_status"]) == ("stop", "abort")
    validate_run(collector.documents)
