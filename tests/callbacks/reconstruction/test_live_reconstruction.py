"""Looking at a reconstruction that goes on, and changing it: on real scans of the twin."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concertino import FrameStreamError, ParameterError, ReconstructionError
from concertino.batch import reconstruct_run
from concertino.callbacks import (
    ChildProcess,
    FrameConsumer,
    ImageWriter,
    LiveView,
    OnlineReconstruction,
    announced_streams,
)
from concertino.devices import SimulatedBeamline
from concertino.documents import validate
from concertino.frames import subscribe
from concertino.plans import continuous_tomography
from concertino.reconstruction import ReconstructionSettings
from concertino.session import Session, open_session
from concertino.storage import open_run, replay
from tests.ports import free_port

SHAPE = (16, 96)
COUNT = 120
SETTINGS = ReconstructionSettings(slices=(4, 8))


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with open_session(tmp_path, progress=False, catalog=False) as opened:
        opened.subscribe(ImageWriter())
        yield opened


def continuous(frame_rate: float = 60.0, **changes: Any) -> Any:
    devices = SimulatedBeamline(shape=SHAPE, exposure=0.002, frame_rate=frame_rate, noise=False)
    return continuous_tomography(
        devices.camera, devices.rotation, devices.beam, devices.sample_stage,
        radio_position=0, flat_position=2, num_darks=4, num_flats=4, num_projections=COUNT,
        **changes,
    )  # fmt: skip


def until(condition: Callable[[], Any], timeout_s: float = 240.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


class Watcher:
    """Takes documents of processing runs and the newest pictures that they announce."""

    def __init__(self) -> None:
        self.documents: list[tuple[str, Any]] = []
        self.pictures: dict[str, list[np.ndarray[Any, Any]]] = {}

    def __call__(self, name: str, document: Any) -> None:
        self.documents.append((name, document))
        if name == "descriptor":
            for stream in announced_streams({}, document):
                try:
                    reader = subscribe(stream.address, name="watcher", delivery="latest")
                except FrameStreamError:
                    continue  # over before its document came
                threading.Thread(target=self._read, args=(stream.data_key, reader)).start()

    def _read(self, key: str, reader: Any) -> None:
        seen = self.pictures.setdefault(key, [])
        with reader:
            while (batch := reader.read()) is not None:
                seen.append(batch.frames[-1].copy())

    def starts(self, plan: str) -> list[Any]:
        return [
            document
            for name, document in self.documents
            if name == "start" and document["plan_name"] == plan
        ]

    def events(self, stream: str) -> list[Any]:
        uids = {
            document["uid"]
            for name, document in self.documents
            if name == "descriptor" and document["name"] == stream
        }
        return [
            document["data"]
            for name, document in self.documents
            if name == "event" and document["descriptor"] in uids
        ]


def test_slices_and_planes_are_seen_while_the_scan_runs(session: Session) -> None:
    watcher = Watcher()
    live = OnlineReconstruction(
        SETTINGS, planes=True, preview_s=0.05, preview_slices=(8,), callbacks=[watcher]
    )
    session.subscribe(live)
    (uid,) = session.RE(continuous())
    result = live.wait(240)
    until(lambda: watcher.documents[-1][0] == "stop")
    assert [start["derived_from"] for start in watcher.starts("reconstruction_preview")] == [uid]
    assert {"slice_8", "plane_xy", "plane_xz", "plane_yz", "slices"} == set(watcher.pictures)
    until(lambda: np.array_equal(watcher.pictures["slice_8"][-1], result.volume[1]))
    assert len(watcher.pictures["slice_8"]) >= 2
    assert watcher.pictures["plane_xz"][-1].shape == (16, 96)
    # the slice in the planes is that of the middle row, row 8; its last picture comes after the slices'
    allowed = 0.02 * result.volume.max()
    until(
        lambda: np.allclose(
            watcher.pictures["plane_xy"][-1], result.volume[1], rtol=1e-7, atol=allowed
        )
    )
    told = watcher.events("axis")
    assert told[-1]["projections_planned"] == COUNT
    assert 0 < told[0]["projections"] <= told[-1]["projections"] <= COUNT
    assert told[0]["preview_s"] == told[0]["preview_asked_s"] == 0.05  # none has been late yet
    for name, document in watcher.documents:
        validate(name, document)
    # and it is the replay's and the batch's, bit for bit
    run = open_run(uid, session.directory)
    again = OnlineReconstruction(SETTINGS)
    replay(run, [again])
    np.testing.assert_array_equal(again.wait(240).volume, result.volume)


def test_nothing_is_computed_for_nobody(session: Session) -> None:
    documents: list[str] = []
    live = OnlineReconstruction(
        SETTINGS.updated(center=46.0),
        planes=True,
        preview_s=0.01,
        callbacks=[lambda name, _document: documents.append(name)],
    )
    session.subscribe(live)
    session.RE(continuous())
    timings = live.wait(240).timings
    assert "planes" not in timings
    assert documents.count("start") == 2  # previews were offered


def test_a_preview_that_fails_fails_nothing(session: Session) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no display")

    looker = FrameConsumer(broken, streams=("slices",), delivery="latest")
    live = OnlineReconstruction(SETTINGS, callbacks=[looker], preview_s=0.01)
    session.subscribe(live)
    session.RE(continuous())
    assert live.wait(240).volume.shape == (2, 96, 96)
    looker.settle()
    assert str(looker.error) == "no display"


def test_previews_at_a_port_of_their_own_take_the_next_ones_too(session: Session) -> None:
    port = free_port()
    watcher = Watcher()
    live = OnlineReconstruction(
        SETTINGS, preview_s=0.01, callbacks=[watcher], stream_address=f"tcp://127.0.0.1:{port}/*"
    )
    session.subscribe(live)
    session.RE(continuous())
    live.wait(240)
    assert watcher.starts("reconstruction_preview")


def test_previews_that_have_no_port_are_told(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        live = OnlineReconstruction(
            SETTINGS,
            preview_s=0.01,
            stream_address=f"tcp://127.0.0.1:{taken.getsockname()[1]}/*",
            callbacks=[Watcher()],
        )
        session.subscribe(live)
        session.RE(continuous())
        with contextlib.suppress(FrameStreamError):  # nor has the result
            live.wait(240)
    assert "has no previews: A frame stream cannot be reached at" in caplog.text


def test_settings_change_while_projections_arrive(session: Session) -> None:
    watcher = Watcher()
    live = OnlineReconstruction(SETTINGS, keep_rows="all", preview_s=0.01, callbacks=[watcher])
    session.subscribe(live)
    changed: list[Any] = []

    def change(name: str, document: Any) -> None:
        if name == "stream_datum" and document["indices"]["stop"] > 4 and not changed:
            changed.append(live.update(center=45.25, slices=(3, 9, 10), filter="hann"))
            with pytest.raises(ParameterError, match="centre: there is no such setting"):
                live.update(centre=3)
            with pytest.raises(ReconstructionError, match="cannot change afterwards"):
                live.update(flats="median")

    session.subscribe(change)
    (uid,) = session.RE(continuous(frame_rate=20.0))
    result = live.wait(240)
    assert changed
    assert result.settings == live.settings == changed[0]
    assert (result.center_px, result.confidence) == (45.25, 1.0)
    run = open_run(uid, session.directory)
    batch = reconstruct_run(run, result.settings, directory=session.directory / "batch")
    np.testing.assert_array_equal(open_run(batch.directory).frames("slices").read(), result.volume)
    (derived,) = run.derived
    assert derived.start["processing"]["parameters"]["slices"] == [3, 9, 10]
    (noted,) = derived.start["settings_changed"]
    assert noted["changes"] == {"center": 45.25, "slices": [3, 9, 10], "filter": "hann"}
    assert 0 < noted["projections"] <= COUNT
    shown = [set(d["data_keys"]) for n, d in watcher.documents if n == "descriptor"]
    assert {"slice_4", "slice_8"} in shown
    assert {"slice_3", "slice_9", "slice_10"} in shown


def test_again_without_a_new_scan(session: Session) -> None:
    live = OnlineReconstruction(SETTINGS)
    session.subscribe(live)
    with pytest.raises(ReconstructionError, match="no tomography run has started"):
        live.rereconstruct(center=44.0)
    (uid,) = session.RE(continuous())
    first = live.wait(240)
    kept = live.rereconstruct(center=44.5)
    assert kept.center_px == 44.5
    assert live.wait(1) is kept
    stored = live.rereconstruct(slices=(1, 2, 3), center=first.center_px, flats="median")
    assert stored.volume.shape == (3, 96, 96)
    run = open_run(uid, session.directory)
    assert [run.start["processing"]["parameters"]["slices"] for run in run.derived] == [
        [4, 8], [4, 8], [1, 2, 3],
    ]  # fmt: skip
    batch = reconstruct_run(run, stored.settings, directory=session.directory / "batch")
    np.testing.assert_array_equal(open_run(batch.directory).frames("slices").read(), stored.volume)


def test_the_result_tells_its_resolution(session: Session) -> None:
    watcher = Watcher()
    live = OnlineReconstruction(SETTINGS, callbacks=[watcher])
    session.subscribe(live)
    session.RE(continuous())
    found = live.wait(240).resolution
    assert found is not None
    assert 2.0 <= found.resolution_px < 12.0
    assert found.signal_to_noise > 1
    (told,) = watcher.events("resolution")
    assert told["resolution_px"] == found.resolution_px
    assert len(told["frequency"]) == len(told["correlation"]) == 48
    assert live.run_directory is not None
    names = {d["name"] for n, d in open_run(live.run_directory).documents() if n == "descriptor"}
    assert {"slices", "resolution"} <= names
    without = OnlineReconstruction(SETTINGS, resolution=False)
    replay(open_run("scan_0001", session.directory), [without])
    assert without.wait(240).resolution is None


def test_a_reconstruction_in_a_process_is_seen_and_told_from_here(session: Session) -> None:
    watcher = Watcher()
    with ChildProcess(OnlineReconstruction(SETTINGS, planes=True, preview_s=0.01)) as there:
        there.add_callback(watcher)
        session.subscribe(there)
        # Its process loads and compiles what it needs, which may take longer than a scan.
        session.RE(continuous())
        there.wait(240)
        watcher.pictures.clear()
        changed: list[Any] = []

        def change(name: str, document: Any) -> None:
            if name == "stream_datum" and document["indices"]["stop"] > 4 and not changed:
                changed.append(there.update(center=45.25))

        session.subscribe(change)
        session.RE(continuous(12.0))
        result = there.wait(240)
        assert result.center_px == 45.25
        again = there.call("rereconstruct", result.settings.updated(center=46.0))
        assert again.center_px == 46.0
        until(
            lambda: (
                watcher.pictures.get("plane_xz")
                and (shown := watcher.pictures.get("slice_8"))
                and np.array_equal(shown[-1], result.volume[1])
            )
        )


@pytest.mark.disturbed_by_load("what is asked during a scan must be done before it is over")
def test_a_live_view_shows_axis_and_labels_and_sets_the_axis(session: Session) -> None:
    with LiveView() as view:
        live = OnlineReconstruction(SETTINGS, planes=True, preview_s=0.01, callbacks=[view])
        view.control(live)
        session.subscribe(live)
        asked: list[bool] = []

        def set_axis(name: str, document: Any) -> None:
            if name == "stream_datum" and document["indices"]["stop"] > 4 and not asked:
                asked.append(True)
                view.state.request({"center": 200.0})
                until(
                    lambda: "lies outside of the frame" in view.state.summary()["control"]["answer"]
                )
                view.state.request({"center": 45.25})
                until(lambda: live.settings.center == 45.25)

        session.subscribe(view)
        session.subscribe(set_axis)
        session.RE(continuous(frame_rate=20.0))
        result = live.wait(240)
        assert asked
        assert result.center_px == 45.25
        until(lambda: "plane xz" in view.state.summary()["labels"]["slices"])
        summary = view.state.summary()
        assert {"slice 4", "slice 8"} <= set(summary["labels"]["slices"])
        assert summary["found"]["center"] == 45.25
        assert summary["found"]["resolution_px"] == result.resolution.resolution_px  # type: ignore[union-attr]
        assert summary["control"] == {"there": True, "answer": ""}
