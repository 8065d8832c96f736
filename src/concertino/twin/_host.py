"""The twin as one: its beamline, what can be told to fail, and the event loop in which it lives."""

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from concertino.devices import SimulatedBeamline, SimulatedMotor, SimulatedSource

from ._axis import Axis
from ._beam_records import BeamRecords, BeamSwitchModel
from ._camera import LOOP_S, CameraDriver
from ._hdf_records import HdfWriter
from ._motor_record import MotorRecord
from ._record import Record, Value
from ._truth import Truth

_MOTORS = ("rotation", "sample_stage", "vertical_stage")
#: At the start: velocity in unit/s, and the time in which it is gained in s.
_START = {"rotation": (360.0, 0.2), "sample_stage": (20.0, 0.05), "vertical_stage": (5.0, 0.05)}
_EXPOSURE_S, _PERIOD_S = 0.005, 0.01
#: Exit code of a twin that was told to die.
DIED = 70


class TwinHost:
    """A simulated beamline whose devices live in an event loop of their own.

    Parameters
    ----------
    beamline : SimulatedBeamline
        The twin.
    truth : Path, optional
        File for what was true at each exposure; see `Truth`.
    readback_hz : float
        How often motors tell where they are while they move, in Hz.
    """

    def __init__(
        self, beamline: SimulatedBeamline, *, truth: Path | None = None, readback_hz: float = 10.0
    ) -> None:
        self.beamline = beamline
        self.loop = asyncio.new_event_loop()
        self.truth = Truth(beamline, truth)
        self._readback_hz = readback_hz
        motors: dict[str, SimulatedMotor] = {
            "rotation": beamline.rotation,
            "sample_stage": beamline.sample_stage,
            "vertical_stage": beamline.vertical_stage,
        }
        self.axes = {name: Axis(motors[name]) for name in _MOTORS}
        self.switch = BeamSwitchModel(beamline)
        #: Cameras that were made.
        self.sources: list[SimulatedSource] = []
        #: Servers, which live as long as the twin.
        self.kept: list[object] = []
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Let the loop run, in a thread of its own; the twin's loops are compiled first, which takes seconds once."""
        self.beamline.twin.warm_up()
        threading.Thread(target=self.loop.run_forever, name="twin", daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._begin(), self.loop).result(LOOP_S)

    async def _begin(self) -> None:
        for name, (velocity, ramp_s) in _START.items():
            await self.axes[name].motor.velocity.set(velocity)
            await self.axes[name].motor.acceleration_time.set(ramp_s)

    def source(self, name: str = "camera") -> SimulatedSource:
        """Return a camera that notes the truth of its exposures."""
        source = SimulatedSource(self.beamline.twin, self.truth.state, name=name)
        self.sources.append(source)
        return source

    def records(self) -> tuple[list[Record], CameraDriver]:
        """Return new records for all devices, and the driver of the camera; in the loop."""
        driver = CameraDriver(self.source(), self.loop, exposure_s=_EXPOSURE_S, period_s=_PERIOD_S)
        return list(self._records(driver)), driver

    def _records(self, driver: CameraDriver) -> Iterator[Record]:
        for name, axis in self.axes.items():
            velocity, ramp_s = _START[name]
            motor = MotorRecord(
                name, axis, velocity=velocity, acceleration_time=ramp_s,
                readback_hz=self._readback_hz,
            )  # fmt: skip
            yield from motor.records()
            self._go(motor)
        beam = BeamRecords(self.beamline, self.switch)
        yield from beam.records()
        self._go(beam)
        for record in driver.records():
            record.name = f"cam1:{record.name}"
            yield record
        writer = HdfWriter(self.loop, self.beamline.twin.shape)
        driver.images.append(writer.image)
        for record in writer.records():
            record.name = f"HDF1:{record.name}"
            yield record
        yield Record("twin:Die", 0, put=die)

    def _go(self, follower: MotorRecord | BeamRecords) -> None:
        task = self.loop.create_task(follower.follow())
        task.add_done_callback(lambda done: done.cancelled() or done.result())
        self._tasks.append(task)


async def die(value: Value) -> None:
    """End the process as a crash does."""
    if value:
        os._exit(DIED)
