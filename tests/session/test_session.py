"""A session: directories, record, log, baseline, units, one plan at a time."""

import fcntl
import gc
import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky import RunEngine
from bluesky.plans import count
from bluesky.utils import MsgGenerator

from concertino import ParameterError, SessionError, StorageError
from concertino.callbacks import ImageWriter, OnlineReconstruction
from concertino.devices import SimulatedBeamline
from concertino.plans import continuous_tomography, radiography
from concertino.reconstruction import ReconstructionSettings
from concertino.session import Session, open_session
from concertino.units import q


@pytest.fixture
def beamline() -> SimulatedBeamline:
    return SimulatedBeamline(shape=(16, 24), exposure=0.0, frame_rate=0.0)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with open_session(tmp_path / "data", progress=False, catalog=False) as opened:
        yield opened


def small_scan(beamline: SimulatedBeamline, md: dict[str, Any] | None = None) -> Any:
    return radiography(
        beamline.camera, beamline.beam, beamline.sample_stage,
        radio_position=0 * q.mm, flat_position="1 mm",
        num_darks=2, num_flats=2, num_projections=3, md=md,
    )  # fmt: skip


def record(directory: Path) -> list[tuple[str, dict[str, Any]]]:
    lines = (directory / "documents.jsonl").read_text().splitlines()
    return [tuple(json.loads(line)) for line in lines]


def test_each_run_has_its_directory_record_and_log(
    session: Session, beamline: SimulatedBeamline
) -> None:
    session.subscribe(ImageWriter())
    (first,) = session.RE(small_scan(beamline))
    (second,) = session.RE(small_scan(beamline))
    for name, uid in (("scan_0001", first), ("scan_0002", second)):
        directory = session.directory / name
        docs = record(directory)
        assert docs[0][0] == "start"
        assert docs[0][1]["uid"] == uid
        assert docs[0][1]["scan_name"] == name
        assert docs[0][1]["scan_id"] == int(name[-4:])
        assert docs[0][1]["run_directory"] == str(directory)
        assert docs[-1][0] == "stop"
        assert "run ends with success" in (directory / "run.log").read_text()
        assert len(list((directory / "projections").glob("*.tif"))) == 3


def test_what_was_imported_is_no_garbage_while_a_run_goes_on(
    session: Session, beamline: SimulatedBeamline
) -> None:
    """A search through all of it stops every thread of the process for 100 ms."""
    seen: list[tuple[int, int]] = []

    def look(_name: str, _document: Any) -> None:
        gc.collect()
        seen.append((gc.get_freeze_count(), len(gc.get_objects())))

    session.subscribe(look)
    session.RE(small_scan(beamline))
    assert all(kept > 100_000 for kept, _ in seen)
    assert all(searched < kept / 2 for kept, searched in seen)
    assert gc.get_freeze_count() == 0
    with pytest.raises(ParameterError):
        session.RE(radiography(beamline.camera, beamline.beam, beamline.sample_stage,
                               radio_position="0 s", flat_position=1))  # fmt: skip
    assert gc.get_freeze_count() == 0


def test_a_program_that_keeps_its_imports_goes_on_to(
    session: Session, beamline: SimulatedBeamline
) -> None:
    gc.freeze()
    kept = gc.get_freeze_count()
    try:
        session.RE(small_scan(beamline))
        assert gc.get_freeze_count() >= kept / 2
    finally:
        gc.unfreeze()


def test_scan_ids_survive_a_restart(tmp_path: Path, beamline: SimulatedBeamline) -> None:
    for expected in (1, 2):
        with open_session(tmp_path, progress=False, catalog=False) as session:
            session.RE(small_scan(beamline))
            assert session.RE.md["scan_id"] == expected


def test_baseline_devices_are_read_at_both_ends(
    tmp_path: Path, beamline: SimulatedBeamline
) -> None:
    with open_session(
        tmp_path, baseline=beamline.baseline, progress=False, catalog=False
    ) as session:
        session.RE(small_scan(beamline))
    docs = record(tmp_path / "scan_0001")
    baseline = {d["uid"] for n, d in docs if n == "descriptor" and d["name"] == "baseline"}
    events = [d for n, d in docs if n == "event" and d["descriptor"] in baseline]
    assert len(events) == 2
    assert events[0]["data"]["shutter-state"] == "closed"
    assert events[0]["data"]["ring-current"] > 0


class Moody:
    """A device that may not be described, or stops answering after a number of readings."""

    parent = None

    def __init__(self, name: str, readings: int) -> None:
        self.name, self.readings = name, readings

    def describe(self) -> dict[str, Any]:
        if self.readings == 0:
            raise TimeoutError(f"{self.name} is switched off")
        return {self.name: {"source": "here", "dtype": "number", "shape": []}}

    def read(self) -> dict[str, Any]:
        if self.readings == 0:
            raise TimeoutError(f"{self.name} is switched off")
        self.readings -= 1
        return {self.name: {"value": 1.5, "timestamp": 0.0}}


def test_optional_devices_that_do_not_answer_fail_no_run(
    session: Session, beamline: SimulatedBeamline
) -> None:
    session.add_baseline(Moody("off", 0), Moody("tired", 1), Moody("well", 9), optional=True)
    session.add_baseline(beamline.rotation)
    session.RE(small_scan(beamline))
    docs = record(session.directory / "scan_0001")
    assert docs[-1][1]["exit_status"] == "success"
    baseline = next(d for n, d in docs if n == "descriptor" and d["name"] == "baseline")
    assert {"tired", "well", "rotation", "rotation-setpoint"} == set(baseline["data_keys"])
    first, last = (
        d["data"] for n, d in docs if n == "event" and d["descriptor"] == baseline["uid"]
    )
    assert (first["tired"], first["well"]) == (1.5, 1.5)
    assert last["well"] == 1.5
    assert last["tired"] is None or last["tired"] != last["tired"]  # NaN, which JSON has not
    session.add_baseline(Moody("needed", 0))
    with pytest.raises(TimeoutError, match="needed is switched off"):
        session.RE(small_scan(beamline))


def test_quantities_reach_devices_in_their_units(
    session: Session, beamline: SimulatedBeamline
) -> None:
    session.RE(bps.mv(beamline.rotation, 0.5 * q.rad))
    assert beamline.rotation.position_at(float("inf")) == pytest.approx(28.6479, abs=1e-3)


def test_any_plan_gets_a_directory(session: Session, beamline: SimulatedBeamline) -> None:
    session.RE(count([beamline.ring], num=2))
    assert [n for n, _ in record(session.directory / "scan_0001")].count("event") == 2


def test_a_second_plan_is_refused_while_one_runs(
    session: Session, beamline: SimulatedBeamline
) -> None:
    seen: list[BaseException] = []

    def intruder() -> None:
        try:
            session.RE(small_scan(beamline))
        except SessionError as error:
            seen.append(error)

    def plan() -> MsgGenerator[None]:
        thread = threading.Thread(target=intruder)
        thread.start()
        yield from bps.sleep(0.3)
        thread.join()

    session.RE(plan())
    assert "A plan was given to the RunEngine while" in str(seen[0])
    assert "running. Wait for its end, or end it with RE.abort()." in str(seen[0])


def test_a_session_says_that_it_has_no_catalogue(session: Session) -> None:
    with pytest.raises(SessionError, match=r"no catalogue; open it with .*catalog=True"):
        _ = session.catalog


def test_a_file_as_data_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="is a file, not a directory"):
        open_session(tmp_path / "file")


def test_close_is_idempotent_and_waits_for_the_reconstruction(tmp_path: Path) -> None:
    beamline = SimulatedBeamline(shape=(16, 24), exposure=0.0, frame_rate=100.0)
    session = open_session(tmp_path, progress=False, catalog=False)
    reconstruction = OnlineReconstruction(ReconstructionSettings(slices=(8,), center=12.0))
    session.subscribe(reconstruction)
    session.RE(
        continuous_tomography(
            beamline.camera, beamline.rotation, beamline.beam, beamline.sample_stage,
            radio_position=0, flat_position=1, num_darks=2, num_flats=2, num_projections=20,
        )
    )  # fmt: skip
    session.close()
    session.close()
    assert not reconstruction.busy
    assert reconstruction.result is not None


def test_an_unsubscribed_callback_hears_nothing(
    session: Session, beamline: SimulatedBeamline
) -> None:
    heard: list[str] = []

    def listen(name: str, doc: Any) -> None:
        heard.append(name)

    token = session.subscribe(listen)
    session.RE(small_scan(beamline))
    before = len(heard)
    assert before > 0
    session.unsubscribe(token)
    session.RE(small_scan(beamline))
    assert len(heard) == before


class Watchful:
    """May have scans pause."""

    hold: Any = None

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        pass


def test_a_callback_pauses_the_scans_of_the_session_that_it_is_in(tmp_path: Path) -> None:
    watchful = Watchful()
    with open_session(tmp_path / "one", progress=False, catalog=False) as one:
        token = one.subscribe(watchful)
        assert watchful.hold is one.hold
        one.unsubscribe(token)
        with open_session(tmp_path / "two", progress=False, catalog=False) as two:
            two.subscribe(watchful)
            assert watchful.hold is two.hold
        one.subscribe(watchful)
        assert watchful.hold is one.hold


def test_a_slow_disk_does_not_hold_up_the_loop(
    session: Session, beamline: SimulatedBeamline
) -> None:
    answered = threading.Event()
    (session.directory / ".scan_id").touch()
    with (session.directory / ".scan_id").open() as counter:
        fcntl.flock(counter, fcntl.LOCK_EX)  # making a run's directory waits for it

        def ask_the_loop() -> None:
            while session.RE.state != "running":
                time.sleep(0.01)
            time.sleep(0.1)
            session.RE.loop.call_soon_threadsafe(answered.set)
            in_time.append(answered.wait(60))
            fcntl.flock(counter, fcntl.LOCK_UN)

        in_time: list[bool] = []
        asking = threading.Thread(target=ask_the_loop)
        asking.start()
        session.RE(small_scan(beamline))
        asking.join()
    assert in_time == [True]
    assert (session.directory / "scan_0001" / "documents.jsonl").exists()


@pytest.mark.parametrize("key", ["run_directory", "scan_name"])
@pytest.mark.parametrize("way", ["plan", "call", "engine"])
def test_a_run_goes_to_the_directory_that_was_made_for_it_and_nowhere_else(
    tmp_path: Path, session: Session, beamline: SimulatedBeamline, key: str, way: str
) -> None:
    session.subscribe(ImageWriter())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    named = {key: str(elsewhere)}
    if way == "engine":
        session.RE.md.update(named)
    plan = small_scan(beamline, named if way == "plan" else {})
    if way == "engine" or (way, key) == ("plan", "scan_name"):
        # What the session says of this run has precedence.
        session.RE(plan)
        assert len(list((session.directory / "scan_0001" / "projections").glob("*.tif"))) == 3
    else:
        with pytest.raises(
            ParameterError, match=f"{key}: .*elsewhere' was given in the metadata of a"
        ):
            session.RE(plan, **(named if way == "call" else {}))
        session.RE(small_scan(beamline))
    assert not beamline.shutter.is_open
    assert list(elsewhere.iterdir()) == []


def test_a_closed_session_gives_the_check_of_metadata_back(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    engine = RunEngine({}, context_managers=[], md_validator=seen.append)
    own = engine.md_validator
    with open_session(
        tmp_path / "data", progress=False, catalog=False, run_engine=engine
    ) as opened:
        opened.RE(count([SimulatedBeamline(shape=(8, 8)).rotation], num=1))
        assert len(seen) == 1
    assert engine.md_validator is own
