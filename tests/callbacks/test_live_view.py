"""The live view in real runs and replays, without a browser (see tests/viewers for those)."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from concertino import ParameterError, SessionError
from concertino.callbacks import ImageWriter, LiveView, OnlineReconstruction
from concertino.devices import SimulatedBeamline
from concertino.plans import continuous_tomography, radiography
from concertino.reconstruction import ReconstructionSettings
from concertino.session import Session, open_session
from concertino.storage import replay

SHAPE = (32, 48)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with open_session(tmp_path / "data", progress=False, catalog=False) as opened:
        yield opened


@pytest.fixture
def beamline() -> SimulatedBeamline:
    return SimulatedBeamline(shape=SHAPE, exposure=0.0, frame_rate=0.0)


def images(beamline: SimulatedBeamline, projections: int = 12) -> Any:
    return radiography(
        beamline.camera,
        beamline.beam,
        beamline.sample_stage,
        radio_position="0 mm",
        flat_position="1 mm",
        num_darks=3,
        num_flats=4,
        num_projections=projections,
        md={"sample": "tooth"},
    )


def wait_until(condition: Callable[[], bool], timeout_s: float = 240) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def newest(view: LiveView) -> tuple[str, int, tuple[int, int]] | None:
    picture = view.state.newer("frames", 0)
    return None if picture is None else (picture.stream, picture.number, picture.shape)


def test_a_run_and_its_replay(session: Session, beamline: SimulatedBeamline) -> None:
    session.subscribe(ImageWriter())
    with LiveView() as live, LiveView() as again:
        session.subscribe(live)
        session.RE(images(beamline))
        replay(session.directory / "scan_0001", again)

        for view in (live, again):
            wait_until(lambda view=view: newest(view) == ("projections", 11, SHAPE))  # type: ignore[misc]
            run = view.state.summary()["run"]
            assert (run["name"], run["state"], run["sample"]) == ("scan_0001", "finished", "tooth")
            assert [(s["name"], s["acquired"], s["total"]) for s in run["streams"]] == [
                ("darks", 3, 3),
                ("flats", 4, 4),
                ("projections", 12, 12),
            ]
            assert view.error is None


def shown_slices(view: LiveView) -> list[bytes]:
    """Pixels of the two slices on the page, that of row 8 first."""
    found: dict[str, bytes] = {}
    version = 0
    while (picture := view.state.newer("slices", version)) is not None:
        version = picture.version
        found[picture.label] = picture.pixels.tobytes()
    return [found[f"slice {row}"] for row in (8, 16)]


def test_slices_of_a_reconstruction(session: Session) -> None:
    beamline = SimulatedBeamline(shape=SHAPE, exposure=0.001, frame_rate=200.0)
    reconstruction = OnlineReconstruction(ReconstructionSettings(slices=(8, 16), center=23.5))
    with LiveView() as view:
        reconstruction.add_callback(view)
        session.subscribe(reconstruction)
        session.subscribe(view)
        session.RE(
            continuous_tomography(
                beamline.camera,
                beamline.rotation,
                beamline.beam,
                beamline.sample_stage,
                radio_position="0 mm",
                flat_position="1 mm",
                num_darks=3,
                num_flats=3,
                num_projections=40,
            )
        )
        volume = reconstruction.wait(240).volume
        wait_until(lambda: len(view.state.summary()["labels"]["slices"]) == 2)
        wait_until(lambda: shown_slices(view) == [volume[0].tobytes(), volume[1].tobytes()])
        summary = view.state.summary()

    assert summary["run"]["name"] == "scan_0001"
    assert summary["processing"]["state"] == "finished"
    assert "scan_0001_reconstruction_01" in summary["processing"]["name"]


def test_a_view_that_dies_does_not_touch_the_run(
    session: Session, beamline: SimulatedBeamline, caplog: pytest.LogCaptureFixture
) -> None:
    with LiveView() as view:
        session.subscribe(view)
        os.kill(view._page.pid, signal.SIGKILL)
        session.RE(images(beamline))
        wait_until(lambda: view.error is not None)
        session.RE(images(beamline))

        assert view.state.summary()["run"]["name"] == "scan_0002"
    assert "The scan goes on without it; make a new LiveView to watch it." in caplog.text


def test_documents_that_make_no_sense_do_not_reach_the_run_engine() -> None:
    with LiveView() as view:
        view("descriptor", {"name": "flats"})

        assert isinstance(view.error, KeyError)


def test_a_view_that_is_closed_still_takes_documents(
    session: Session, beamline: SimulatedBeamline
) -> None:
    view = LiveView()
    view.close()
    view.close()
    session.subscribe(view)
    session.RE(images(beamline))

    assert view.error is None


def test_a_port_in_use_leaves_nothing_behind() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SessionError, match=f"cannot use port {port} on 127.0.0.1"):
            LiveView(port)
    with LiveView(port) as view:
        assert view.url == f"http://127.0.0.1:{port}/"


def test_settings_are_checked_before_anything_starts() -> None:
    with pytest.raises(ParameterError, match="no colour map 'rainbow'"):
        LiveView(colour_map="rainbow")  # type: ignore[arg-type]


def test_it_is_light_on_the_thread_of_the_run_engine() -> None:
    """A document costs the run far less than the 300 µs that its validation does."""
    with LiveView() as view:
        view("start", {"uid": "a"})
        view("descriptor", {"uid": "d", "run_start": "a", "name": "projections", "data_keys": {}})
        datum = {"descriptor": "d", "indices": {"start": 0, "stop": 1}}
        began_s = time.thread_time()
        for _ in range(1000):
            view("stream_datum", datum)
        assert time.thread_time() - began_s < 0.2
