"""Simulated motors that take the time that real ones take."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from typing import Any

from bluesky.protocols import Location, Reading, Stoppable
from ophyd_async.core import (
    StandardReadable,
    StandardReadableFormat,
    WatchableAsyncStatus,
    WatcherUpdate,
    soft_signal_r_and_setter,
    soft_signal_rw,
)

from concertino import DeviceError

from ._encoder import SimulatedEncoder
from ._trajectory import Braking, Move, Trajectory

_UPDATE_S = 0.1


class SimulatedMotor(StandardReadable, Stoppable):
    """An axis with a real velocity and acceleration.

    Its position follows from the time, so that a camera can ask where the axis was during an
    exposure.

    Parameters
    ----------
    unit : str
        Of the position, ``mm`` or ``deg``.
    position : float
        Initial position, in `unit`.
    velocity : float
        Speed of moves, in unit/s; the signal ``velocity`` changes it.
    acceleration_time : float
        Time to reach that speed, in seconds; the signal ``acceleration_time`` changes it.
    max_velocity : float
        Greatest speed that is accepted, in unit/s.
    limits : tuple of float
        Lowest and highest position that is accepted, in `unit`.
    encoder : SimulatedEncoder, optional
        Records where the axis is while it moves.
    ramp_factor : float
        How many times as long as `acceleration_time` says it really takes to reach the speed.
    name : str
        Name of the device.
    """

    def __init__(
        self,
        unit: str,
        *,
        position: float = 0.0,
        velocity: float,
        acceleration_time: float = 0.05,
        max_velocity: float,
        limits: tuple[float, float] = (-math.inf, math.inf),
        encoder: SimulatedEncoder | None = None,
        ramp_factor: float = 1.0,
        name: str = "",
    ) -> None:
        self.unit = unit
        self.encoder = encoder
        self._ramp_factor = ramp_factor
        self.max_velocity = max_velocity
        self.limits = limits
        self._trajectory = Trajectory(position)
        self._orders = 0
        self._pardoned = 0  # The newest order whose end, wherever it was, is a success.
        if encoder is not None:
            encoder.follow(self.position_at)
        with self.add_children_as_readables(StandardReadableFormat.HINTED_SIGNAL):
            self.user_readback, self._set_readback = soft_signal_r_and_setter(
                float, position, units=unit, precision=4
            )
        with self.add_children_as_readables(StandardReadableFormat.CONFIG_SIGNAL):
            self.velocity = soft_signal_rw(float, velocity, units=f"{unit}/s")
            self.acceleration_time = soft_signal_rw(float, acceleration_time, units="s")
        super().__init__(name)

    def set_name(self, name: str, *, child_name_separator: str | None = None) -> None:
        """Name the device; its read-back has the same name."""
        super().set_name(name, child_name_separator=child_name_separator)
        self.user_readback.set_name(name)

    def position_at(self, time_s: float) -> float:
        """Return where the axis was at a time in seconds since the epoch, in its unit."""
        return self._trajectory.position(time_s)

    def velocity_at(self, time_s: float) -> float:
        """Return how fast the axis was at a time in seconds since the epoch, in its unit/s."""
        return self._trajectory.velocity(time_s)

    async def read(self) -> dict[str, Reading[Any]]:
        """Return the position now, with its time."""
        self._set_readback(self.position_at(time.time()))
        return await super().read()

    async def locate(self) -> Location[float]:
        """Return where the axis was sent and where it is."""
        return Location(
            setpoint=self._trajectory.last.target, readback=self.position_at(time.time())
        )

    async def check_value(self, value: float) -> None:
        """Raise `DeviceError` if a position is beyond the limits or no number."""
        if not math.isfinite(value):
            raise DeviceError(
                f"Motor {self.name} was asked to move to {value:g} {self.unit}; give a finite number."
            )
        low, high = self.limits
        if not low <= value <= high:
            raise DeviceError(
                f"Motor {self.name} was asked to move to {value:g} {self.unit}; its limits are "
                f"{low:g} to {high:g} {self.unit}."
            )

    def check_velocity(self, velocity: float) -> None:
        """Raise `DeviceError` if a velocity is not positive or too great."""
        if not 0 < velocity <= self.max_velocity:
            raise DeviceError(
                f"Motor {self.name} was asked to move at {velocity:g} {self.unit}/s; it takes more "
                f"than 0 and at most {self.max_velocity:g} {self.unit}/s."
            )

    def set(self, value: float) -> WatchableAsyncStatus[float]:
        """Move to a position in the axis' unit; done when it is at rest there.

        Raises
        ------
        DeviceError
            If the position or the velocity is out of limits, or the move was interrupted.
        """
        # The order counts from now on, not from when the loop comes to it: it may be stopped before.
        self._orders += 1
        return WatchableAsyncStatus(self._move(float(value), self._orders))

    async def _move(self, target: float, order: int) -> AsyncIterator[WatcherUpdate[float]]:
        await self.check_value(target)
        speed = await self.velocity.get_value()
        ramp_s = await self.acceleration_time.get_value()
        self.check_velocity(speed)
        if not ramp_s > 0:
            raise DeviceError(
                f"Motor {self.name} has an acceleration time of {ramp_s:g} s; it needs more than 0 s."
            )
        await self._brake()
        if order != self._orders:
            if order <= self._pardoned:
                return
            raise self._interrupted(target)
        start_s = time.time()
        origin = self.position_at(start_s)
        acceleration = abs(speed) / (ramp_s * self._ramp_factor)
        move = Move(start_s, origin, target, abs(speed), acceleration)
        self._trajectory.append(move)
        while (left_s := move.stop_s - time.time()) > 0:
            await asyncio.sleep(min(left_s, _UPDATE_S))
            if self._trajectory.last is not move:
                if order <= self._pardoned:
                    return
                raise self._interrupted(target)
            current = self.position_at(time.time())
            self._set_readback(current)
            yield WatcherUpdate(
                current=current,
                initial=origin,
                target=target,
                name=self.name,
                unit=self.unit,
                precision=3,
                time_elapsed=time.time() - start_s,
            )
        self._set_readback(self.position_at(time.time()))

    async def stop(self, success: bool = False) -> None:
        """Brake to rest; a move under way fails unless it is over, or `success` says that it is to be none."""
        if success:
            self._pardoned = self._orders
        self._orders += 1
        await self._brake()

    def _interrupted(self, target: float) -> DeviceError:
        return DeviceError(
            f"Motor {self.name} was stopped at {self.position_at(time.time()):g} {self.unit} "
            f"on its way to {target:g} {self.unit}."
        )

    async def _brake(self) -> None:
        now_s = time.time()
        last = self._trajectory.last
        if now_s >= last.stop_s:
            return
        velocity = self._trajectory.velocity(now_s)
        braking = Braking(now_s, self.position_at(now_s), velocity, last.acceleration)
        self._trajectory.append(braking)
        await asyncio.sleep(max(0.0, braking.stop_s - time.time()))
        self._set_readback(braking.target)
