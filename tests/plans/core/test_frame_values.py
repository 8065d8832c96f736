"""One value of a signal for each frame: at the middle of its exposure, or not known."""

import asyncio
import math
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import ophyd
import pytest
from bluesky import Msg, RunEngine
from event_model import DataKey
from ophyd_async.core import soft_signal_r_and_setter, soft_signal_rw

from concertino import ParameterError
from concertino.callbacks import ImageWriter
from concertino.devices import Instrument, SimulatedBeamline
from concertino.frames import RecordingTrigger
from concertino.plans import (
    continuous_tomography,
    grating_stepping,
    passed_on,
    preflight,
    radiography,
    retrospective_radiography,
    step_spiral_tomography,
    step_tomography,
)
from concertino.plans.core._frame_values import _Readings
from concertino.session import open_session
from concertino.storage import Run, StoredScan, export_nxtomo, open_run

KEY = DataKey(source="soft", dtype="number", shape=[])
FEW: dict[str, Any] = {"radio_position": 0, "flat_position": 2, "num_darks": 2, "num_flats": 3}


def test_between_readings_on_the_line_and_beside_failures_not_known() -> None:
    readings = _Readings(None, {"one": KEY, "two": KEY})
    for when_s in (0.0, 1.0, 2.0, 3.0, 4.0):  # 3 t, and the third reading failed
        known = when_s != 2.0
        readings.note(when_s, [3 * when_s if known else math.nan, -when_s if known else math.nan])
    times = np.array([-0.5, 0.25, 1.0, 1.4, 1.6, 2.4, 2.7, 3.5, 4.5])
    values, apart_s = readings.at(times)
    nan = math.nan
    assert values[:, 0] == pytest.approx([0, 0.75, 3, 3, nan, nan, 9, 10.5, 12], nan_ok=True)
    assert values[:, 1] == pytest.approx([0, -0.25, -1, -1, nan, nan, -3, -3.5, -4], nan_ok=True)
    assert apart_s == pytest.approx([0.5, 0.25, 0, 0.4, 0.4, 0.4, 0.3, 0.5, 0.5])
    readings.forget(2.7)
    assert readings.at(times[-2:])[0][:, 0] == pytest.approx([10.5, 12])
    alone = _Readings(None, {"one": KEY}, [1.0], [[7.0]])
    assert alone.at(np.array([0.0, 5.0]))[0][:, 0].tolist() == [7, 7]


class _Fails(ophyd.Signal):  # type: ignore[misc]
    """A signal, as ophyd has it, that does not answer any more after some readings."""

    left = 2

    def read(self) -> Any:
        self.left -= 1
        if self.left < 0:
            raise TimeoutError("no answer")
        return super().read()


def beamline() -> SimulatedBeamline:
    return SimulatedBeamline(shape=(8, 16), exposure=0.002, frame_rate=100.0)


def rising() -> Any:
    """Return a signal whose value is the time, in s since the epoch."""
    signal, _ = soft_signal_r_and_setter(float, 0.0, units="s", getter=time.time, name="rising")
    return signal


PLANS: dict[str, Any] = {
    "radiography": lambda b, **k: radiography(b.camera, b.beam, b.sample_stage, num_projections=6, **k),
    "steps": lambda b, **k: step_tomography(b.camera, b.rotation, b.beam, b.sample_stage, num_projections=6, **k),
    "sweep": lambda b, **k: continuous_tomography(
        b.camera, b.rotation, b.beam, b.sample_stage, num_projections=6, angular_range="6 deg",
        order=["darks", "flats every 3 projections", "flats"], **k),
    "spiral": lambda b, **k: step_spiral_tomography(
        b.camera, b.rotation, b.vertical_stage, b.beam, b.sample_stage, num_projections=3,
        start_position_vertical=0, vertical_shift_per_tomogram="0.1 mm", sample_height="0.1 mm", **k),
    "gratings": lambda b, **k: grating_stepping(
        b.camera, b.grating_stage, b.beam, b.sample_stage, grating_period=2, num_steps_per_period=6,
        stepping_start_position=0, **k),
}  # fmt: skip


def taken(directory: Path, b: SimulatedBeamline, plan: Any) -> Run:
    with open_session(directory, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        (uid,) = session.RE(plan)
    return open_run(uid, directory)


@pytest.mark.parametrize("which", PLANS)
def test_every_frame_of_every_plan_has_its_value(tmp_path: Path, which: str) -> None:
    b = beamline()
    few = {k: v for k, v in FEW.items() if not (which == "gratings" and k == "num_flats")}
    ring = Instrument("storage_ring", current=rising(), units={"current": "mA"})
    run = taken(tmp_path, b, PLANS[which](b, per_frame=[ring["current"], b.rotation], **few))
    scan = StoredScan(run)
    told = scan.frame_values()
    assert set(told) == {
        f"{k}{p}" for k in ("storage_ring-current", "rotation") for p in ("", "-apart")
    }
    frames = sum(map(len, scan.pieces))
    values = told["storage_ring-current"].values
    assert (values.shape, told["storage_ring-current"].unit) == ((frames,), "mA")
    events = run["per_frame"].events
    assert len(events) == frames == sum(run.start["frames"].values())
    # The value is the time: where the readings enclose the exposure, it is that of the exposure.
    when = np.array([event["timestamps"]["frame"] for event in events])
    apart = np.array([event["data"]["storage_ring-current-apart"] for event in events])
    there = np.array([event["data"]["storage_ring-current"] for event in events])
    assert np.all(np.abs(there - when) <= apart + 1.0)
    assert np.median(np.abs(there - when)) < 0.2
    assert run.start["plan_args"]["per_frame"] == ["storage_ring-current", "rotation"]
    assert run.reason == ""


def test_a_value_that_cannot_be_had_is_nan_and_told(tmp_path: Path) -> None:
    b, signal = beamline(), _Fails(name="strain", value=1.5)
    run = taken(tmp_path, b, PLANS["steps"](b, per_frame=[signal], **FEW))
    values = StoredScan(run).frame_values()["strain"].values
    missing = int(np.isnan(values).sum())
    assert values[0] == 1.5
    assert 0 < missing < len(values)
    assert run.stop is not None
    assert run.stop["exit_status"] == "success"
    assert run.stop["reason"] == f"no value of strain of {missing} of 11 frames could be had"


def test_programs_of_others_find_them(tmp_path: Path) -> None:
    b = beamline()
    run = taken(tmp_path, b, PLANS["sweep"](b, per_frame=[b.ring.current, rising()], **FEW))
    scan = StoredScan(run)
    with h5py.File(export_nxtomo(run, tmp_path / "scan.nx")) as file:
        for entry in file.values():
            beside, keys = entry["instrument/per_frame"], entry["instrument/detector/image_key"]
            assert beside["ring-current"].shape == keys.shape
            assert beside["ring-current"].attrs["units"] == "mA"
            assert np.array_equal(beside["rising"][()], scan.frame_values()["rising"].values)
        # In the order in which the frames were taken: flats, projections, flats, …
        assert np.all(np.diff(file["entry/instrument/per_frame/rising"][()]) > 0)


def test_what_is_kept_from_before_has_its_values(tmp_path: Path) -> None:
    b, trigger = beamline(), RecordingTrigger()
    plan = retrospective_radiography(
        b.camera, b.beam, b.sample_stage, trigger, num_before=5, num_after=5, max_wait=1,
        on_timeout="keep", per_frame=[rising()], **FEW,
    )  # fmt: skip
    run = taken(tmp_path, b, plan)
    values = StoredScan(run).frame_values()["rising"].values
    assert len(values) == 15
    assert np.isfinite(values).all()
    assert np.all(np.diff(values[-10:]) > 0)


REFUSED: dict[str, tuple[Any, str]] = {
    "text": ([soft_signal_rw(str, "x", name="words")], "per_frame: words reads as no number"),
    "twice": ([soft_signal_rw(float, name="one"), soft_signal_rw(float, name="one")], "one would be told twice"),
    "no device": (["ring"], "per_frame: 'ring' cannot be read"),
    "no list": ("ring", "Give a list of signals"),
}  # fmt: skip


@pytest.mark.parametrize("which", REFUSED)
def test_what_cannot_be_told_for_each_frame(which: str) -> None:
    given, said = REFUSED[which]
    b = beamline()
    with pytest.raises(ParameterError, match=said):
        RunEngine({})(PLANS["steps"](b, per_frame=given, **FEW))


def test_nothing_is_read_when_nobody_runs_it_or_when_it_has_failed() -> None:
    b, signal = beamline(), _Fails(name="strain", value=1.5)
    preflight(PLANS["steps"](b, per_frame=[signal], **FEW)).check()
    assert signal.left == 2
    RE = RunEngine({})
    before = asyncio.run_coroutine_threadsafe(_tasks(), RE.loop).result(60)
    with pytest.raises(RuntimeError, match="broke off"):
        RE(passed_on(PLANS["steps"](b, per_frame=[signal], **FEW), _breaks_off))
    until_s = time.monotonic() + 60
    while asyncio.run_coroutine_threadsafe(_tasks(), RE.loop).result(60) > before:
        assert time.monotonic() < until_s, "it is still read"


def _breaks_off(message: Msg) -> None:
    if message.command == "trigger":
        raise RuntimeError("it broke off")


async def _tasks() -> int:
    return sum("_go_on" in repr(task) for task in asyncio.all_tasks())
