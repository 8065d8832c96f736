"""A time series of tomograms in one rotation: each when its turn is over, in the same sense of rotation."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from concertino import ParameterError, ReconstructionError, SessionError
from concertino.batch import reconstruct_run
from concertino.callbacks import FrameConsumer, ImageWriter, OnlineReconstruction
from concertino.cli import app
from concertino.devices import SimulatedBeamline
from concertino.plans import continuous_tomography
from concertino.reconstruction import ReconstructionSettings, TomogramSeries
from concertino.session import open_session
from concertino.simulation import Faults
from concertino.storage import open_run, replay

SHAPE = (16, 64)


def series(devices: SimulatedBeamline, **changes: Any) -> Any:
    parameters: dict[str, Any] = {
        "radio_position": 0, "flat_position": 2,
        "num_darks": 3, "num_flats": 3, "num_projections": 40, "num_tomograms": 3,
    }  # fmt: skip
    return continuous_tomography(
        devices.camera, devices.rotation, devices.beam, devices.sample_stage,
        **(parameters | changes),
    )  # fmt: skip


def beamline(frame_rate: float = 80.0, **parameters: Any) -> SimulatedBeamline:
    return SimulatedBeamline(
        shape=SHAPE, exposure=0.002, frame_rate=frame_rate, noise=False, **parameters
    )


@pytest.mark.disturbed_by_load(
    "the axis turns on while a busy machine loads code, and is late with the first tomogram"
)
@pytest.mark.parametrize("center", ["given", "found"])
def test_each_tomogram_comes_when_its_turn_is_over(tmp_path: Path, center: str) -> None:
    # Slow: the first reconstruction of a process loads its code, on a busy machine for seconds.
    devices = beamline(frame_rate=20.0)
    axis = devices.twin.rotation_axis_px if center == "given" else None
    settings = ReconstructionSettings(slices=(4, 8), center=axis)
    shown: list[tuple[int, Any]] = []
    frames = threading.Event()

    def note(name: str, document: Any) -> None:
        if name == "stream_datum" and document["seq_nums"]["stop"] > 110:
            frames.set()

    def show(frame: Any, _stream: str, _index: int) -> None:
        shown.append((frames.is_set(), frame.copy()))

    looker = FrameConsumer(show, streams=("slices",))
    live = OnlineReconstruction(settings, callbacks=[looker], preview_s=1e9)
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        session.subscribe(live)
        session.subscribe(note)
        (uid,) = session.RE(series(devices))
        result = live.wait(240)
    looker.settle()
    raw = open_run(uid, tmp_path)
    assert raw.start["tomo"]["projections_per_tomogram"] == 40
    assert raw.start["tomo"]["angular_range_deg"] == 540
    assert raw.start["frames"]["projections"] == 120
    assert len(shown) == 6
    assert not shown[0][0]  # The first was there before the last projections.
    (derived,) = raw.derived
    slices = derived.frames("slices").read()
    assert slices.shape == (6, 64, 64)
    assert derived["slices"].configuration["slices-slices_per_tomogram"] == 2
    np.testing.assert_array_equal([s for _, s in shown], slices)
    np.testing.assert_array_equal(result.volume, slices[4:])
    # The sample stands still: every half turn gives the same, none is mirrored.
    first, second, third = slices[0::2]
    for other in (second, third):
        assert np.corrcoef(first.ravel(), other.ravel())[0, 1] > 0.95
        mirrored = max(
            np.corrcoef(first.ravel(), turned.ravel())[0, 1]
            for turned in (other[:, ::-1], other[::-1], other[::-1, ::-1])
        )
        assert mirrored < 0.9
    again = OnlineReconstruction(settings, directory=tmp_path / "again")
    replay(raw, [again])
    np.testing.assert_array_equal(again.wait(240).volume, result.volume)
    (replayed,) = [open_run(path.parent) for path in (tmp_path / "again").glob("*/documents.jsonl")]
    np.testing.assert_array_equal(replayed.frames("slices").read(), slices)
    if axis is not None:
        for tomogram in range(3):
            made = reconstruct_run(raw, settings, tomogram=tomogram, directory=tmp_path / "batch")
            batch = open_run(made.directory).frames("slices").read()
            np.testing.assert_array_equal(batch, slices[2 * tomogram : 2 * tomogram + 2])


def test_the_command_makes_each_tomogram_of_a_stored_series(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        (uid,) = session.RE(series(beamline()))
    call = [
        "reconstruct",
        uid,
        "-d",
        str(tmp_path),
        "--rows",
        "8",
        "--set",
        "center=31.5",
        "--quiet",
    ]
    for more, made in (([], [0, 1, 2]), (["--tomogram", "1"], [1])):
        app([*call, *more], standalone_mode=False)
        said = capsys.readouterr().out
        assert [int(line.split()[1]) for line in said.splitlines() if "tomogram " in line] == made
    with pytest.raises(
        ParameterError, match=r"tomogram: 3 was given, and scan_0001 has 3; give one of 0 to 2"
    ):
        app([*call, "--tomogram", "3"], standalone_mode=False)


def test_a_series_that_was_aborted_is_no_success(tmp_path: Path) -> None:
    begun = threading.Event()

    def note(name: str, document: Any) -> None:
        if name == "start" and document["processing"]["kind"] == "reconstruction":
            begun.set()

    live = OnlineReconstruction(ReconstructionSettings(slices=(8,), center=31.5), callbacks=[note])
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        session.subscribe(live)

        def abort() -> None:
            begun.wait(240)  # The run of the slices begins with the first tomogram.
            session.RE.abort("lunch")

        aborting = threading.Thread(target=abort)
        aborting.start()
        with pytest.raises(SessionError, match="lunch"):
            session.RE(series(beamline(), num_tomograms=100, unwind=False))
        aborting.join()
        live.wait(240)
    assert live.run_directory is not None
    derived = open_run(live.run_directory)
    assert derived.exit_status == "abort"
    assert derived.reason == "the run that was reconstructed ended with abort: lunch"
    assert 1 <= derived.frames("slices").shape[0] < 100


def test_lost_frames_in_a_series(tmp_path: Path) -> None:
    devices = beamline(faults=Faults(drop_frames=[45, 119]))
    live = OnlineReconstruction(ReconstructionSettings(slices=(8,)))
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        session.subscribe(live)
        (uid,) = session.RE(series(devices, on_lost="flag"))
        result = live.wait(240)
    assert result.missing == (119,)
    (derived,) = open_run(uid, tmp_path).derived
    assert derived.frames("slices").shape[0] == 3


def test_a_series_that_nobody_follows_costs_the_reconstruction_and_not_the_scan(
    tmp_path: Path,
) -> None:
    over = threading.Event()
    settings = ReconstructionSettings(slices=(4, 8), center=31.5, memory_gib=0.05)

    # The first tomogram is looked at until the scan is over: three wait, and the next has no memory.
    def look(name: str, document: Any) -> None:
        if (
            name == "descriptor"
            and document["name"] == "slices"
            and "slices" in document["data_keys"]
        ):
            over.wait(240)

    live = OnlineReconstruction(settings, callbacks=[look], preview_s=1e9)
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        session.subscribe(live)
        session.subscribe(lambda name, document: over.set(), "stop")
        (uid,) = session.RE(
            series(beamline(150.0), num_projections=20, num_tomograms=6, unwind=False)
        )
        with pytest.raises(ReconstructionError, match=r"Tomogram \d of the series has no memory"):
            live.wait(240)
    raw = open_run(uid, tmp_path)
    assert raw.exit_status == "success"
    assert raw.frames("projections").shape[0] == 120
    (derived,) = raw.derived
    assert derived.exit_status == "abort"
    assert "has no memory: 3 before it wait" in derived.reason
    assert 6 <= derived.frames("slices").shape[0] <= 8


def test_flats_at_the_end_hold_all_up() -> None:
    angles = np.arange(24) * np.pi / 8
    one = TomogramSeries(
        ReconstructionSettings(center=15.5), num_projections=8, frame_shape=(1, 32), angles=angles
    )
    one.add_projections(np.full((24, 1, 32), 50, np.uint16), 0)
    assert one.ready() is None
    one.add_flats(np.full((2, 1, 32), 100, np.uint16))
    assert one.ready() is None
    assert one.ready(ended=True) == 0
    for number in range(3):
        assert one.finish_tomogram(number).volume.shape == (1, 32, 32)
    assert one.ready(ended=True) is None
