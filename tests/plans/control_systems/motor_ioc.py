"""An EPICS IOC with motor records, run as a program: ``python motor_ioc.py PREFIX READBACK_HZ EGU``.

PREFIXrot turns, PREFIXstage moves by mm, PREFIXstuck says that it is done and does not move. Each moves by a
trapezium of VELO and ACCL, its read-back comes READBACK_HZ times a second, and a put with completion ends with the
move. Where it truly was stands in the file named by the environment variable TRUTH: the moves, one a line; and in TRUTH.ends
when and where each was over, and where it was sent.
"""

import asyncio
import json
import math
import os
import sys
import time
from typing import Any

from caproto import ChannelType
from caproto.server import PVGroup, SubGroup, pvproperty, run

PREFIX, READBACK_HZ, EGU = sys.argv[1], float(sys.argv[2]), sys.argv[3]


class MotorRecord(PVGroup):  # type: ignore[misc]
    motor = pvproperty(value=0.0, name="", record="motor", precision=4)

    def __init__(
        self, *args: Any, fields: dict[str, Any], stuck: bool = False, **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self._fields, self._stuck, self._position = fields, stuck, 0.0
        self._target: float | None = None
        self._told = asyncio.Event()

    @motor.startup  # type: ignore[no-redef]
    async def motor(self, instance: Any, async_lib: Any) -> None:
        record, given = instance.field_inst, self._fields
        low, high = given["limits"]
        await instance.write_metadata(
            precision=4, units=given["egu"], lower_ctrl_limit=low, upper_ctrl_limit=high
        )
        await record.user_readback_value.write_metadata(precision=4, units=given["egu"])
        for field, value in {
            record.engineering_units: given["egu"],
            record.velocity: given["velocity"],
            record.max_velocity: given["vmax"],
            record.seconds_to_velocity: given["accl"],
            record.motor_step_size: 1e-4,
            record.retry_deadband: 1e-3,
            record.user_low_limit: low,
            record.user_high_limit: high,
            record.dial_low_limit: low,
            record.dial_high_limit: high,
            record.done_moving_to_value: 1,
            record.motor_is_moving: 0,
        }.items():
            await field.write(value)

        async def told(_: Any, value: float) -> None:
            if not low <= value <= high:
                await record.limit_violation.write(1)
                return
            self._target = value
            self._told.set()
            await record.done_moving_to_value.write(0)
            await record.motor_is_moving.write(1)
            while self._target is not None:
                await asyncio.sleep(0.002)

        record.value_write_hook = told
        while True:
            await self._told.wait()
            self._told.clear()
            if not self._stuck:
                await self._move(record)
            await record.user_readback_value.write(self._position)
            await record.motor_is_moving.write(0)
            await record.done_moving_to_value.write(1)
            self._target = None

    async def _move(self, record: Any) -> None:
        assert self._target is not None
        velocity = min(record.velocity.value, record.max_velocity.value)
        ramp_s, begin = record.seconds_to_velocity.value, self._position
        way, sign = abs(self._target - begin), math.copysign(1.0, self._target - begin)
        peak = min(velocity, math.sqrt(way * velocity / ramp_s))
        gains_s = peak * ramp_s / velocity
        takes_s = gains_s + way / peak if peak else 0.0
        begin_s = time.time()
        with open(os.environ["TRUTH"], "a") as truth:
            truth.write(json.dumps([self.prefix, begin_s, begin, sign, way, peak, gains_s]) + "\n")
        await record.stop.write(0)
        step = 0
        while (since_s := time.time() - begin_s) < takes_s and not record.stop.value:
            if since_s * READBACK_HZ >= step:
                step += 1
                self._position = begin + sign * trapezium(since_s, way, peak, gains_s)
                # Whenever the computer comes to it, this is when it was there.
                await record.user_readback_value.write(self._position, timestamp=begin_s + since_s)
            await asyncio.sleep(min(0.002, takes_s - since_s))
        if not record.stop.value:
            self._position = self._target
        with open(os.environ["TRUTH"] + ".ends", "a") as ends:
            ends.write(json.dumps([self.prefix, time.time(), self._position, self._target]) + "\n")
        await record.stop.write(0)


def trapezium(since_s: float, way: float, peak: float, gains_s: float) -> float:
    """Return how far a move has come after a time."""
    left_s = gains_s + way / peak - since_s
    if since_s <= 0:
        return 0.0
    if left_s <= 0:
        return way
    if since_s < gains_s:
        return peak * since_s**2 / gains_s / 2
    if left_s < gains_s:
        return way - peak * left_s**2 / gains_s / 2
    return peak * (since_s - gains_s / 2)


def record(velocity: float, accl: float, egu: str, limits: tuple[float, float], vmax: float) -> Any:
    return {"velocity": velocity, "accl": accl, "egu": egu, "limits": limits, "vmax": vmax}


TURNS = record(60.0, 0.4, EGU, (-1000.0, 1000.0), 200.0)
SLIDES = record(20.0, 0.05, "MM", (0.0, 20.0), 20.0)


class Ioc(PVGroup):  # type: ignore[misc]
    rot = SubGroup(MotorRecord, prefix="rot", fields=TURNS)
    stage = SubGroup(MotorRecord, prefix="stage", fields=SLIDES)
    stuck = SubGroup(MotorRecord, prefix="stuck", fields=SLIDES, stuck=True)
    shutter = pvproperty(
        value="Close", name="shutter", dtype=ChannelType.ENUM, enum_strings=["Close", "Open"], record="bo"
    )  # fmt: skip


if __name__ == "__main__":
    run(Ioc(prefix=PREFIX).pvdb, interfaces=["127.0.0.1"], log_pv_names=False)
