"""An EPICS IOC with motor records and shutters, run as a program: ``python motor_ioc.py PREFIX READBACK_HZ EGU``.

PREFIXrot turns, PREFIXstage moves by mm, PREFIXstuck says that it is done and does not move. Each moves by a
trapezium of VELO and ACCL, its read-back comes READBACK_HZ times a second, and a put with completion ends with the
move. BDST, STOP, SPMG, VMAX, HLM, LLM and the limit switches do as the motor record's do. A text that is put to
PREFIXrot:fault has the next moves go wrong, until ``none`` is put:

- ``lies``: it says that it is done, and has not moved;
- ``stalls``: it stands still at 40 % of the way, and never says that it is done, until it is stopped;
- ``short``: it comes to a limit switch at 40 % of the way, and says that it is done;
- ``slow``: another velocity is refused.

PREFIXshutter closes and opens; PREFIXpss:open and PREFIXpss:close are commands that fall back, PREFIXpss:status is 1 for
open and 2 for closed, in two bits. PREFIXfault set to ``open`` has both take no command to close. PREFIXpressure is a number.

Where it truly was stands in the file named by the environment variable TRUTH: the moves, one a line; and in TRUTH.ends
when and where each was over, and where it was sent; in TRUTH.beam when a shutter opened and closed.
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
_PART = 0.4
#: Moves that are faster than this, per second, go wrong; others bring a motor to where it begins.
_SWEEPS = 80.0


def note(suffix: str, *values: Any) -> None:
    with open(os.environ["TRUTH"] + suffix, "a") as truth:
        truth.write(json.dumps(values) + "\n")


class MotorRecord(PVGroup):  # type: ignore[misc]
    motor = pvproperty(value=0.0, name="", record="motor", precision=4)
    fault = pvproperty(value="none", name=":fault", dtype=str)

    def __init__(
        self, *args: Any, fields: dict[str, Any], fault_: str = "none", **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self._fields, self._position = fields, 0.0
        self._first_fault = fault_
        self._target: float | None = None
        self._told = asyncio.Event()

    @motor.startup  # type: ignore[no-redef]
    async def motor(self, instance: Any, async_lib: Any) -> None:
        record, given = instance.field_inst, self._fields
        low, high = given["limits"]
        await self.fault.write(self._first_fault)
        await instance.write_metadata(
            precision=4, units=given["egu"], lower_ctrl_limit=low, upper_ctrl_limit=high
        )
        await record.user_readback_value.write_metadata(precision=4, units=given["egu"])
        for field, value in {
            record.engineering_units: given["egu"],
            record.velocity: given["velocity"],
            record.max_velocity: given["vmax"],
            record.seconds_to_velocity: given["accl"],
            record.bl_distance: given["backlash"],
            record.bl_velocity: given["velocity"],
            record.motor_step_size: 1e-4,
            record.retry_deadband: 1e-3,
            record.user_low_limit: low,
            record.user_high_limit: high,
            record.dial_low_limit: low,
            record.dial_high_limit: high,
            record.done_moving_to_value: 1,
            record.motor_is_moving: 0,
            record.stop_pause_move_go: "Go",
        }.items():
            await field.write(value)

        async def told(_: Any, value: float) -> None:
            low, high = record.user_low_limit.value, record.user_high_limit.value
            if not low <= value <= high:
                await record.limit_violation.write(1)
                return
            await record.limit_violation.write(0)
            self._target = value
            self._told.set()
            await record.done_moving_to_value.write(0)
            await record.motor_is_moving.write(1)
            while self._target is not None:
                await asyncio.sleep(0.002)

        async def velocity(_: Any, value: float) -> float:
            if self.fault.value == "slow":
                return float(record.velocity.value)
            return float(min(value, record.max_velocity.value))

        record.value_write_hook = told
        record.velocity.putter = velocity
        while True:
            await self._told.wait()
            self._told.clear()
            target = self._target
            assert target is not None
            await record.stop.write(0)
            if self.fault.value != "lies":
                play = record.bl_distance.value
                if play * (target - self._position) < 0:
                    await self._move(record, target - play, record.velocity.value)
                    await self._move(record, target, record.bl_velocity.value)
                else:
                    await self._move(record, target, record.velocity.value)
            await record.stop.write(0)
            await record.user_readback_value.write(self._position)
            await record.motor_is_moving.write(0)
            await record.done_moving_to_value.write(1)
            self._target = None

    def _stopped(self, record: Any) -> bool:
        return bool(record.stop.value or record.stop_pause_move_go.value in ("Stop", 0))

    async def _move(self, record: Any, target: float, velocity: float) -> None:
        fault = self.fault.value
        velocity = min(velocity, record.max_velocity.value)
        ramp_s, begin = record.seconds_to_velocity.value, self._position
        way, sign = abs(target - begin), math.copysign(1.0, target - begin)
        peak = min(velocity, math.sqrt(way * velocity / ramp_s))
        gains_s = peak * ramp_s / velocity
        takes_s = gains_s + way / peak if peak else 0.0
        begin_s = time.time()
        note("", self.prefix, begin_s, begin, sign, way, peak, gains_s)
        fails = fault in ("stalls", "short") and velocity > _SWEEPS
        await record.user_high_limit_switch.write(0)
        await record.user_low_limit_switch.write(0)
        step = 0
        while (since_s := time.time() - begin_s) < takes_s and not self._stopped(record):
            gone = trapezium(since_s, way, peak, gains_s)
            if fails and gone > _PART * way:
                break
            if since_s * READBACK_HZ >= step:
                step += 1
                self._position = begin + sign * gone
                # Whenever the computer comes to it, this is when it was there.
                await record.user_readback_value.write(self._position, timestamp=begin_s + since_s)
            await asyncio.sleep(min(0.002, takes_s - since_s))
        if not self._stopped(record):
            self._position = begin + sign * way * (_PART if fails else 1.0)
        if fails and fault == "short":
            switch = record.user_high_limit_switch if sign > 0 else record.user_low_limit_switch
            await switch.write(1)
        if fails and fault == "stalls":
            await record.user_readback_value.write(self._position)
            while not self._stopped(record):
                await asyncio.sleep(0.01)
        note(".ends", self.prefix, time.time(), self._position, target)


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


class Pss(PVGroup):  # type: ignore[misc]
    open = pvproperty(value=0, name="open", dtype=int)
    close = pvproperty(value=0, name="close", dtype=int)
    status = pvproperty(value=0b110, name="status", dtype=int)

    async def _turn(self, on: bool) -> None:
        if self.parent.fault.value == "open" and not on:
            return
        await self.status.write(0b100)  # On its way.
        await asyncio.sleep(0.05)
        await self.status.write(0b101 if on else 0b110)
        note(".beam", self.prefix, time.time(), on)

    @open.putter  # type: ignore[no-redef]
    async def open(self, instance: Any, value: int) -> int:
        if value:
            await self._turn(True)
        return 0

    @close.putter  # type: ignore[no-redef]
    async def close(self, instance: Any, value: int) -> int:
        if value:
            await self._turn(False)
        return 0


def record(
    velocity: float, accl: float, egu: str, limits: tuple[float, float], vmax: float, backlash: float = 0.0
) -> Any:  # fmt: skip
    return {
        "velocity": velocity,
        "accl": accl,
        "egu": egu,
        "limits": limits,
        "vmax": vmax,
        "backlash": backlash,
    }


TURNS = record(60.0, 0.4, EGU, (-1000.0, 1000.0), 200.0)
SLIDES = record(20.0, 0.05, "MM", (0.0, 20.0), 20.0)
PLAYS = record(60.0, 0.1, EGU, (-1000.0, 1000.0), 200.0, 15.0)


class Ioc(PVGroup):  # type: ignore[misc]
    rot = SubGroup(MotorRecord, prefix="rot", fields=TURNS)
    plays = SubGroup(MotorRecord, prefix="plays", fields=PLAYS)
    stage = SubGroup(MotorRecord, prefix="stage", fields=SLIDES)
    stuck = SubGroup(MotorRecord, prefix="stuck", fields=SLIDES, fault_="lies")
    pss = SubGroup(Pss, prefix="pss:")
    fault = pvproperty(value="none", name="fault", dtype=str)
    pressure = pvproperty(value=1e-7, name="pressure", record="ai", units="mbar")
    shutter = pvproperty(
        value="Close", name="shutter", dtype=ChannelType.ENUM, enum_strings=["Close", "Open"], record="bo"
    )  # fmt: skip

    @shutter.putter  # type: ignore[no-redef]
    async def shutter(self, instance: Any, value: Any) -> Any:
        state = instance.value if self.fault.value == "open" and value in ("Close", 0) else value
        note(".beam", "shutter", time.time(), state in ("Open", 1))
        return state


if __name__ == "__main__":
    run(Ioc(prefix=PREFIX).pvdb, interfaces=["127.0.0.1"], log_pv_names=False)
