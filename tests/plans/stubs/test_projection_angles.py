"""The angle of each projection, against the truth of the twin."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky.utils import FailedStatus
from numpy.typing import NDArray
from ophyd_async.core import WatcherUpdate, soft_signal_rw

from concertino import DeviceError
from concertino.devices import SimulatedEncoder, SimulatedMotor
from concertino.documents import validate_run
from concertino.simulation import Faults
from concertino.storage import open_run, run_angles
from tests.plans.laboratory import Laboratory

#: 180 deg/s: 100 frames/s over 90 deg in 50 frames.
FAST: dict[str, Any] = {
    "order": ("projections",), "num_projections": 50, "angular_range": "90 deg",
}  # fmt: skip
CLOCK: dict[str, Any] = {"clock_offset_s": 0.05, "clock_drift_ppm": 100.0}


def truth(laboratory: Laboratory, run: Any) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the projections that were taken, and where the rotation was in their middles, in deg."""
    index = run.frames("projections").index
    at = laboratory.beamline.rotation.position_at
    return index["number"], np.array([at(ns * 1e-9) for ns in index["timestamp_ns"]])


def scanned(laboratory: Laboratory, **parameters: Any) -> Any:
    documents = laboratory.run("continuous_tomography", **(FAST | parameters))
    validate_run(documents)
    return open_run(documents[0][1]["run_directory"])


@pytest.fixture
def laboratory(tmp_path: Path) -> Laboratory:
    return Laboratory(tmp_path, frame_rate=100.0, exposure=0.004, encoder=SimulatedEncoder(**CLOCK))


def test_an_encoder_with_a_clock_that_is_off_and_drifts(laboratory: Laboratory) -> None:
    run = scanned(laboratory)
    numbers, true = truth(laboratory, run)
    angles, uncertainty, source = run_angles(run)
    assert source == "encoder"
    assert run.start["tomo"]["angle_source"] == "encoder"
    error = np.abs(angles[numbers] - true)
    assert len(error) == 50
    assert error.max() < 0.02
    assert (error < 4 * uncertainty).all()
    assert np.median(uncertainty) < 0.01
    # Where it was asked to be, but for the time that the camera takes to start.
    assert angles[0] == pytest.approx(0, abs=10)
    assert np.diff(angles) == pytest.approx(1.8, abs=0.04)


def test_without_an_encoder_it_is_computed_with_its_uncertainty(tmp_path: Path) -> None:
    laboratory = Laboratory(tmp_path, frame_rate=100.0, exposure=0.004, encoder=None)
    run = scanned(laboratory)
    numbers, true = truth(laboratory, run)
    angles, uncertainty, source = run_angles(run)
    assert source == run.start["tomo"]["angle_source"] == "computed"
    assert (np.abs(angles[numbers] - true) < 5 * uncertainty + 0.01).all()
    assert (uncertainty > 0).all()


def test_lost_frames_shift_no_angle(tmp_path: Path) -> None:
    laboratory = Laboratory(
        tmp_path, frame_rate=100.0, exposure=0.004, faults=Faults(drop_frames=[0, 1, 20])
    )
    run = scanned(laboratory, on_lost="flag")
    numbers, true = truth(laboratory, run)
    assert sorted(set(range(50)) - set(numbers.tolist())) == [0, 1, 20]
    angles, uncertainty, _ = run_angles(run)
    assert np.abs(angles[numbers] - true).max() < 0.02
    assert list(np.flatnonzero(np.isnan(uncertainty))) == [0, 1, 20]
    # What was lost is where its neighbours say.
    assert np.diff(angles) == pytest.approx(1.8, abs=0.04)


def test_a_turn_backwards_has_its_angles(laboratory: Laboratory) -> None:
    run = scanned(laboratory, angular_range="-90 deg")
    numbers, true = truth(laboratory, run)
    assert np.abs(run_angles(run).angles_deg[numbers] - true).max() < 0.02
    assert (np.diff(true) < 0).all()


def test_a_stage_in_radians(laboratory: Laboratory) -> None:
    rotation = SimulatedMotor(
        "rad", velocity=6.0, max_velocity=30.0, encoder=SimulatedEncoder(**CLOCK, resolution=1e-6),
        name="rotation",
    )  # fmt: skip
    run = scanned(laboratory, rotation=rotation)
    index = run.frames("projections").index
    true = [np.rad2deg(rotation.position_at(ns * 1e-9)) for ns in index["timestamp_ns"]]
    assert np.abs(run_angles(run).angles_deg - true).max() < 0.02


def test_stepped_scans_have_the_read_back(laboratory: Laboratory) -> None:
    documents = laboratory.run(
        "step_tomography", order=("projections",), num_projections=4, angular_range="4 deg"
    )
    angles, uncertainty, source = run_angles(open_run(documents[0][1]["run_directory"]))
    assert source == "readback"
    assert angles == pytest.approx([0, 1, 2, 3], abs=1e-3)
    assert (uncertainty < 1e-3).all()


@pytest.mark.parametrize("encoder", [SimulatedEncoder(**CLOCK), None], ids=["encoder", "none"])
@pytest.mark.parametrize("factor", [1.0, 5.0], ids=["as it says", "slower"])
def test_the_camera_starts_at_full_speed(
    tmp_path: Path, encoder: SimulatedEncoder | None, factor: float
) -> None:
    laboratory = Laboratory(tmp_path, frame_rate=100.0, exposure=0.004, encoder=encoder)
    rotation = SimulatedMotor(
        "deg", velocity=90.0, max_velocity=360.0, acceleration_time=0.04, ramp_factor=factor,
        encoder=encoder, name="rotation",
    )  # fmt: skip
    run = scanned(laboratory, rotation=rotation)
    index = run.frames("projections").index
    speeds = [
        rotation.velocity_at(ns * 1e-9 + side)
        for ns in index["timestamp_ns"]
        for side in (-0.002, 0.0019)
    ]
    assert speeds == pytest.approx([180.0] * 100)


def test_a_stage_that_is_much_slower_than_it_says_is_told(laboratory: Laboratory) -> None:
    rotation = SimulatedMotor(
        "deg", velocity=90.0, max_velocity=360.0, acceleration_time=0.04, ramp_factor=30.0,
        name="rotation",
    )  # fmt: skip
    with pytest.raises(DeviceError) as caught:
        scanned(laboratory, rotation=rotation, num_projections=100, angular_range="180 deg")
    assert "to reach 180 per s, where its acceleration_time says 0.04 s" in str(caught.value)
    assert "Set acceleration_time to 1." in str(caught.value)
    assert not laboratory.beam_is_on()


class BusyComputer(SimulatedEncoder):
    """An encoder whose clock is now and then read late, as by a program that is held up."""

    def __init__(self) -> None:
        super().__init__(**CLOCK)
        self._looks = 0

    def clock(self) -> float:
        self._looks += 1
        if self._looks % 3 == 0:
            time.sleep(0.03)
        return super().clock()


@pytest.mark.parametrize("encoder", [None, BusyComputer()], ids=["none", "busy"])
def test_a_stage_that_does_not_reach_its_speed_is_told(
    laboratory: Laboratory, encoder: SimulatedEncoder | None
) -> None:
    rotation = Tired("deg", velocity=90.0, max_velocity=360.0, encoder=encoder, name="rotation")
    with pytest.raises(
        DeviceError, match=r"rotation was to move at 180 per s and reached [89][0-9.]* per s"
    ):
        scanned(laboratory, rotation=rotation)
    assert not laboratory.beam_is_on()


class Classic(SimulatedMotor):
    """A stage that calls its acceleration time as ophyd's `EpicsMotor` does, or gives an acceleration."""

    def __init__(self, ramp_s: float, acceleration: tuple[float, str] | None = None) -> None:
        super().__init__(
            "deg", velocity=90.0, max_velocity=360.0, acceleration_time=ramp_s, name="rotation"
        )
        self._ramp = self.acceleration_time
        del self._child_devices["acceleration_time"]
        del self.__dict__["acceleration_time"]
        value, unit = acceleration or (ramp_s, "s")
        self.acceleration = soft_signal_rw(float, value, units=unit, name="acceleration")

    async def _move(self, target: float, order: int) -> AsyncIterator[WatcherUpdate[float]]:
        self.__dict__["acceleration_time"] = self._ramp
        move = super()._move(target, order)
        first = await anext(move, None)
        del self.__dict__["acceleration_time"]
        if first is not None:
            yield first
            async for update in move:
                yield update


@pytest.mark.parametrize("acceleration", [None, (120.0, "deg/s^2")], ids=["s", "per s squared"])
def test_an_acceleration_by_another_name(
    laboratory: Laboratory, acceleration: tuple[float, str] | None
) -> None:
    # 1.5 s to 180 deg/s are more than the half second that is kept behind the last frame.
    rotation = Classic(1.5, acceleration)
    run = scanned(laboratory, rotation=rotation)
    speeds = [
        rotation.velocity_at(ns * 1e-9) for ns in run.frames("projections").index["timestamp_ns"]
    ]
    assert speeds == pytest.approx([180.0] * 50)
    begin = rotation.position_at(run.frames("projections").index["timestamp_ns"][0] * 1e-9)
    assert 0 <= begin < 30


class Tired(SimulatedMotor):
    """A stage that makes half the speed when it should make much."""

    def position_at(self, time_s: float) -> float:
        last = self._trajectory.last
        since = max(0.0, time_s - last.start_s)
        return super().position_at(last.start_s + since / 2)


def test_an_encoder_that_fails_fails_the_scan_safely(laboratory: Laboratory) -> None:
    encoder = laboratory.beamline.rotation.encoder
    assert encoder is not None
    encoder.memory = 100
    with pytest.raises((DeviceError, FailedStatus)) as caught:
        scanned(laboratory)
    assert "The encoder's memory of 100 readings is full after 0.1 s" in str(caught.value)
    assert not laboratory.beam_is_on()
    assert not laboratory.moving()


def test_the_clock_of_an_encoder() -> None:
    encoder = SimulatedEncoder(clock_offset_s=0.05, clock_drift_ppm=1e5, rate_hz=500)
    with pytest.raises(DeviceError, match="belongs to no axis"):
        encoder.recorded()
    encoder.follow(lambda time_s: 7.00004)
    began, shown = time.time(), encoder.clock()
    assert shown - began == pytest.approx(0.05, abs=0.01)
    encoder.start_recording()
    time.sleep(0.1)
    times, positions = encoder.recorded()
    assert len(times) >= 45
    assert np.diff(times) == pytest.approx(0.002, abs=1e-6)
    assert positions == pytest.approx(7.0)
    encoder.stop_recording()
    count = len(encoder.recorded()[0])
    asyncio.run(asyncio.sleep(0.02))
    assert len(encoder.recorded()[0]) == count
    assert len(encoder.recorded(count - 3)[0]) == 3
