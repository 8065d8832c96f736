"""Live reconstruction: equals the batch, equals the replay, is a run of its own."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concertino import ParameterError, ReconstructionError, SessionError
from concertino.batch import reconstruct_run
from concertino.callbacks import FrameConsumer, ImageWriter, OnlineReconstruction
from concertino.devices import FileCamera, SimulatedBeamline
from concertino.documents import validate
from concertino.plans import continuous_tomography, radiography, step_tomography
from concertino.reconstruction import ReconstructionSettings, reconstruct
from concertino.session import Session, open_session
from concertino.storage import open_run, replay, run_angles, sample_path

SHAPE = (16, 96)
SETTINGS = ReconstructionSettings(slices=(4, 8))


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with open_session(tmp_path, progress=False, catalog=False) as opened:
        opened.subscribe(ImageWriter())
        yield opened


def beamline() -> SimulatedBeamline:
    return SimulatedBeamline(shape=SHAPE, exposure=0.002, frame_rate=60.0, noise=False)


def continuous(devices: SimulatedBeamline, camera: Any = None, **changes: Any) -> Any:
    parameters: dict[str, Any] = {
        "radio_position": 0, "flat_position": 2,
        "num_darks": 4, "num_flats": 4, "num_projections": 120,
    }  # fmt: skip
    return continuous_tomography(
        camera or devices.camera, devices.rotation, devices.beam, devices.sample_stage,
        **(parameters | changes),
    )  # fmt: skip


@pytest.mark.parametrize(
    "order",
    [("darks", "flats", "projections"), ("projections", "flats", "darks")],
    ids=["flats first", "flats last"],
)
def test_live_equals_replay_and_batch(session: Session, order: tuple[str, ...]) -> None:
    live = OnlineReconstruction(SETTINGS)
    session.subscribe(live)
    (uid,) = session.RE(continuous(beamline(), order=order))
    volume = live.wait(240).volume
    assert volume.shape == (2, 96, 96)
    run = open_run(uid, session.directory)
    again = OnlineReconstruction(SETTINGS)
    replay(run, [again])
    np.testing.assert_array_equal(again.wait(240).volume, volume)
    batch = reconstruct(
        run.frames("projections").read(),
        np.deg2rad(run_angles(run).angles_deg),
        darks=run.frames("darks").read(),
        flats=run.frames("flats").read(),
        settings=SETTINGS,
    )
    # What a projection counts for follows the plan there, and here the angles as they were.
    np.testing.assert_allclose(batch, volume, atol=2e-3 * np.abs(volume).max())
    stored = reconstruct_run(run, SETTINGS)
    volume_of_stored = open_run(stored.directory).frames("slices").read()
    if order[0] == "darks":
        np.testing.assert_array_equal(volume_of_stored, volume)
    else:
        np.testing.assert_allclose(volume_of_stored, volume, atol=1e-5 * np.abs(volume).max())


def test_the_slices_are_a_run_of_their_own(session: Session) -> None:
    live = OnlineReconstruction(SETTINGS)
    session.subscribe(live)
    (uid,) = session.RE(continuous(beamline()))
    result = live.wait(240)
    raw = open_run(uid, session.directory)
    (derived,) = raw.derived
    assert derived.directory == live.run_directory
    assert derived.start["derived_from"] == uid
    assert derived.start["processing"]["parameters"]["slices"] == [4, 8]
    assert derived.start["processing"]["software"]["concertino"]
    backend = derived.start["processing"]["backend"]
    assert backend["name"] == "cpu"
    assert backend["reason"] == "the quickest on a processor, and it has every geometry"
    assert derived.exit_status == "success"
    np.testing.assert_array_equal(derived.frames("slices").read(), result.volume)
    for name, document in derived.documents():
        validate(name, document)


def test_what_was_aborted_is_reconstructed_and_no_success(session: Session) -> None:
    live = OnlineReconstruction(SETTINGS)
    session.subscribe(live)

    def abort() -> None:
        until_s = time.monotonic() + 240
        while time.monotonic() < until_s:
            if live._job is not None and live._job.angles.received > 60:
                session.RE.abort("lunch")
                return
            time.sleep(0.02)

    aborting = threading.Thread(target=abort)
    aborting.start()
    with pytest.raises(SessionError, match="lunch"):
        session.RE(continuous(beamline(), num_projections=1200))
    aborting.join()
    assert live.wait(240).volume.shape == (2, 96, 96)
    assert live.run_directory is not None
    derived = open_run(live.run_directory)
    assert derived.exit_status == "abort"
    assert derived.reason == "the run that was reconstructed ended with abort: lunch"


def test_the_axis_is_found_and_documented(session: Session) -> None:
    devices = beamline()
    live = OnlineReconstruction(SETTINGS)
    session.subscribe(live)
    session.RE(continuous(devices))
    assert live.wait(240).center_px == pytest.approx(devices.twin.rotation_axis_px, abs=0.5)


def test_stepped_scans_are_reconstructed_too(session: Session) -> None:
    devices = beamline()
    live = OnlineReconstruction(ReconstructionSettings(slices=(8,)))
    session.subscribe(live)
    session.RE(
        step_tomography(
            devices.camera, devices.rotation, devices.beam, devices.sample_stage,
            radio_position=0, flat_position=2, num_darks=3, num_flats=3, num_projections=12,
        )
    )  # fmt: skip
    assert live.wait(240).volume.shape == (1, 96, 96)


def test_radiography_is_left_alone(session: Session) -> None:
    devices = beamline()
    live = OnlineReconstruction(SETTINGS)
    session.subscribe(live)
    session.RE(
        radiography(
            devices.camera, devices.beam, devices.sample_stage,
            radio_position=0, flat_position=2, num_darks=2, num_flats=2, num_projections=2,
        )
    )  # fmt: skip
    with pytest.raises(ReconstructionError, match="no tomography run has started"):
        live.wait()


def test_previews_come_while_projections_arrive(session: Session) -> None:
    # Parity: a function of the user's sees slices before the end, and the result.
    looks: list[Any] = []

    def look(frame: Any, _stream: str, _index: int) -> None:
        looks.append(frame.copy())

    consumer = FrameConsumer(look, streams=("slices",))
    live = OnlineReconstruction(SETTINGS, callbacks=[consumer], preview_s=0.1, preview_slices=(8,))
    session.subscribe(live)
    session.RE(continuous(beamline()))
    final = live.wait(240).volume
    consumer.settle()
    *previews, last, four, eight = looks  # the last look is at the result, whose own run follows
    assert previews
    np.testing.assert_array_equal(last, final[1])
    np.testing.assert_array_equal([four, eight], final)


def test_the_tooth_is_found_where_it_is(session: Session) -> None:
    live = OnlineReconstruction()
    session.subscribe(live)
    camera = FileCamera(sample_path(), frame_rate=100)
    (uid,) = session.RE(
        continuous(beamline(), camera, num_darks=10, num_flats=10, num_projections=181)
    )
    # The crop begins at column 80 of the scan, whose axis lies near column 296.
    assert live.wait(240).center_px + 80 == pytest.approx(296, abs=0.5)
    assert live.wait().confidence > 0.9
    run = open_run(uid, session.directory)
    assert run.frames("projections").dtype == np.float32


def test_a_row_outside_the_frame_is_told_before_the_first_frame(session: Session) -> None:
    live = OnlineReconstruction(ReconstructionSettings(slices=(16,)))
    session.subscribe(live)
    told: list[BaseException | None] = []

    def look(name: str, document: Any) -> None:
        told.append(live.error)

    session.RE.subscribe(look, "descriptor")
    session.RE(continuous(beamline()))
    assert isinstance(told[0], ParameterError)
    assert "Row 16 was asked for, and the frames have the rows 0 to 15" in str(told[0])
    with pytest.raises(ReconstructionError, match="Row 16 was asked for"):
        live.wait(240)
    # The scan is not lost with it, and the next one is reconstructed.
    assert open_run(-1, session.directory).exit_status == "success"
    live.update(slices=(15,))
    session.RE(continuous(beamline()))
    assert live.wait(240).volume.shape == (1, 96, 96)
