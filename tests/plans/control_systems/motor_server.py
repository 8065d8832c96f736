"""A Tango server with a motor that turns, run as a program: ``python motor_server.py PORT READBACK_HZ``.

``t/motor/rot`` moves by a trapezium; its read-back is what a controller that is polled READBACK_HZ times a second told
last. With its ``fault`` set to ``stalls`` it stands still at 40 % of the way, and says that it moves until it is stopped.
``t/switch/shutter`` has an attribute ``opened``; with its ``fault`` set to ``open`` it does not close. Where the motor truly
was, and when the shutter turned, stands in the files named by the environment variable TRUTH, as `motor_ioc.py` writes them.
"""

import asyncio
import json
import math
import os
import sys
import time
from typing import Any

from tango import AttrWriteType, DevState, GreenMode
from tango.server import Device, attribute, command, run

PORT, READBACK_HZ = sys.argv[1], float(sys.argv[2])
_PART = 0.4
#: Moves that are faster than this, in deg/s, go wrong; others bring the motor to where it begins.
_SWEEPS = 80.0


def note(suffix: str, *values: Any) -> None:
    with open(os.environ["TRUTH"] + suffix, "a") as truth:
        truth.write(json.dumps(values) + "\n")


class TurningMotor(Device):  # type: ignore[misc]
    green_mode = GreenMode.Asyncio
    DEVICE_CLASS_INITIAL_STATE = DevState.ON

    async def init_device(self) -> None:
        await super().init_device()
        self._position, self._setpoint, self._velocity = 0.0, 0.0, 60.0
        self._stopped, self._fault = False, "none"
        self._move: asyncio.Task[None] | None = None

    @attribute(dtype=str, access=AttrWriteType.READ_WRITE)
    async def fault(self) -> str:
        return self._fault

    @fault.write
    async def write_fault(self, value: str) -> None:
        self._fault = value

    @attribute(dtype=float, unit="DEG", format="%9.4f")
    async def readback(self) -> float:
        return self._position

    @attribute(
        dtype=float, access=AttrWriteType.READ_WRITE, unit="DEG", min_value=-500, max_value=500
    )
    async def setpoint(self) -> float:
        return self._setpoint

    @setpoint.write
    async def write_setpoint(self, value: float) -> None:
        self.set_state(DevState.MOVING)
        self._setpoint, self._stopped = value, False
        self._move = asyncio.create_task(self._go(value))

    @attribute(dtype=float, access=AttrWriteType.READ_WRITE, unit="deg/s", max_value=150)
    async def velocity(self) -> float:
        return self._velocity

    @velocity.write
    async def write_velocity(self, value: float) -> None:
        self._velocity = value

    @attribute(dtype=float, unit="s")
    async def acceleration_time(self) -> float:
        return 0.4

    @attribute(dtype=DevState)
    async def state(self) -> DevState:
        return self.get_state()

    @command
    async def stop(self) -> None:
        self._stopped = True

    async def _go(self, target: float) -> None:
        begin, ramp_s = self._position, 0.4
        way, sign = abs(target - begin), math.copysign(1.0, target - begin)
        peak = min(self._velocity, math.sqrt(way * self._velocity / ramp_s))
        gains_s = peak * ramp_s / self._velocity
        takes_s = gains_s + way / peak if peak else 0.0
        begin_s, step = time.time(), 0
        note("", "rot", begin_s, begin, sign, way, peak, gains_s)
        while (since_s := time.time() - begin_s) < takes_s and not self._stopped:
            if since_s * READBACK_HZ >= step:
                step += 1
                self._position = begin + sign * trapezium(since_s, way, peak, gains_s)
            await asyncio.sleep(0.002)
            sticks = self._fault == "stalls" and self._velocity > _SWEEPS
            while sticks and since_s > _PART * takes_s and not self._stopped:
                await asyncio.sleep(0.01)
        if not self._stopped:
            self._position = target
        self.set_state(DevState.ON)
        note(".ends", "rot", time.time(), self._position, target)


class Shutter(Device):  # type: ignore[misc]
    green_mode = GreenMode.Asyncio
    _opened, _fault = False, "none"

    @attribute(dtype=str, access=AttrWriteType.READ_WRITE)
    async def fault(self) -> str:
        return self._fault

    @fault.write
    async def write_fault(self, value: str) -> None:
        self._fault = value

    @attribute(dtype=bool, access=AttrWriteType.READ_WRITE)
    async def opened(self) -> bool:
        return self._opened

    @opened.write
    async def write_opened(self, value: bool) -> None:
        self._opened = value or (self._opened and self._fault == "open")
        note(".beam", "shutter", time.time(), self._opened)


def trapezium(since_s: float, way: float, peak: float, gains_s: float) -> float:
    """Return how far a move has come after a time."""
    left_s = gains_s + way / peak - since_s
    if left_s <= 0:
        return way
    if since_s < gains_s:
        return peak * since_s**2 / gains_s / 2
    if left_s < gains_s:
        return way - peak * left_s**2 / gains_s / 2
    return peak * (since_s - gains_s / 2)


if __name__ == "__main__":
    # Without a database: the devices are named on the command line.
    run(
        [TurningMotor, Shutter],
        args=[
            "motors", "test", "-nodb", "-host", "127.0.0.1", "-port", PORT,
            "-dlist", "TurningMotor::t/motor/rot,Shutter::t/switch/shutter",
        ],
    )  # fmt: skip
