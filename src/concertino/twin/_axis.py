"""An axis of the twin that can be told to fail."""

import asyncio
import time

from concertino.devices import SimulatedMotor

#: What can go wrong with an axis.
AXIS_FAULTS = ("none", "stalls", "stops short", "does not move")
#: Of its way: where a motor that fails stops.
_PART = 0.4


class Axis:
    """Moves a simulated motor for clients of a control system, in the event loop of that motor.

    Parameters
    ----------
    motor : SimulatedMotor
        What moves.
    """

    def __init__(self, motor: SimulatedMotor) -> None:
        self.motor = motor
        self.moving = False
        #: +1 or -1 when a move has ended at a limit switch.
        self.at_switch = 0
        self.target = motor.position_at(time.time())
        self._fault = "none"
        self._order = 0
        self._halted = asyncio.Event()

    @property
    def fault(self) -> str:
        """One of `AXIS_FAULTS`."""
        return self._fault

    def position(self, time_s: float) -> float:
        """Return where it truly is at a time in s since the epoch, in its unit."""
        return self.motor.position_at(time_s)

    async def fail(self, fault: str) -> None:
        """Have it fail from now on, also in the move that it makes."""
        self._fault = fault
        if self.moving and fault in ("stalls", "stops short"):
            await self.motor.stop(success=True)

    async def move(self, *targets: float) -> None:
        """Move to one position after another; returns when it is over, also when it was stopped or failed."""
        self._order += 1
        order = self._order
        self._halted.clear()
        self.moving, self.target = True, targets[-1]
        try:
            for target in targets:
                await self._go(target)
                if order != self._order or self._halted.is_set():
                    return
                if self._fault == "stalls":
                    await self._halted.wait()
                    return
        finally:
            if order == self._order:
                self.moving = False

    async def _go(self, target: float) -> None:
        await self.motor.stop(success=True)
        if self._fault == "does not move":
            return
        begin = self.position(time.time())
        way = target - begin
        fails = self._fault in ("stalls", "stops short")
        self.at_switch = 0
        await self.motor.set(begin + _PART * way if fails else target)
        if self._fault == "stops short":
            self.at_switch = 1 if way > 0 else -1

    async def stop(self) -> None:
        """Brake to rest; what it was to do is over."""
        self._halted.set()
        await self.motor.stop(success=True)

    async def set_velocity(self, velocity: float) -> None:
        """Set its velocity, in its unit/s."""
        await self.motor.velocity.set(velocity)

    async def set_ramp(self, ramp_s: float) -> None:
        """Set the time in which it gains its velocity, in s."""
        await self.motor.acceleration_time.set(ramp_s)
