"""The fields of an EPICS motor record, for an axis of the twin."""

import asyncio
import time
from collections.abc import Iterator

from ._axis import AXIS_FAULTS, Axis
from ._record import Put, Record, Value, plain

_SPMG = ("Stop", "Pause", "Move", "Go")


class MotorRecord:
    """A motor record's fields and what they do; all in one event loop.

    Parameters
    ----------
    name : str
        Of the record, without the prefix.
    axis : Axis
        What moves; its positions are the record's dial positions.
    velocity, acceleration_time : float
        Of the axis at the start, in its unit/s and in s.
    readback_hz : float
        How often the position is read while it moves, as a controller is polled, in Hz.

    References
    ----------
    Motor record of EPICS, release 7: https://epics-modules.github.io/motor/motorRecord.html
    """

    def __init__(
        self,
        name: str,
        axis: Axis,
        *,
        velocity: float,
        acceleration_time: float,
        readback_hz: float,
    ) -> None:
        self.name, self.axis = name, axis
        self._readback_hz = readback_hz
        self._kept: float | None = None  # a target that waits for SPMG to be Go
        self._velocity, self._ramp_s = velocity, acceleration_time
        self._fields = {record.name.rpartition(".")[2]: record for record in self._make()}
        self._fault = Record(f"{name}:Fault", 0, choices=AXIS_FAULTS, put=self._fail)

    def __getitem__(self, field: str) -> Record:
        """Return the record of a field, such as ``"VELO"``."""
        return self._fields[field]

    def records(self) -> Iterator[Record]:
        """Yield all fields; the record by itself is its VAL."""
        yield from self._fields.values()
        yield self._fault
        value = self["VAL"]
        alone = Record(self.name, value.value, unit=value.unit, limits=value.limits, put=value.put)

        async def follow(changed: Record) -> None:
            await alone.set(changed.value, changed.time_s)

        value.listen(follow)
        yield alone

    def _make(self) -> Iterator[Record]:
        motor = self.axis.motor
        here, unit = self.axis.position(time.time()), motor.unit
        low, high = motor.limits
        limits = (low, high) if high < float("inf") else (0.0, 0.0)  # as the record says "none"

        def field(name: str, value: Value, put: Put | None = None, **told: object) -> Record:
            return Record(f"{self.name}.{name}", value, put=put, **told)  # type: ignore[arg-type]

        at = {"unit": unit, "limits": limits if any(limits) else None}
        yield field("VAL", here, self._put_value, **at)
        yield field("DVAL", here, self._put_dial, **at)
        yield field("RBV", here, unit=unit)
        yield field("DRBV", here, unit=unit)
        yield field(
            "VELO",
            self._velocity,
            self._put_velocity,
            unit=f"{unit}/s",
            limits=(0.0, motor.max_velocity),
        )
        yield field("VMAX", motor.max_velocity, unit=f"{unit}/s")
        yield field("VBAS", 0.0, unit=f"{unit}/s")
        yield field("ACCL", self._ramp_s, self._put_ramp, unit="s")
        for name, value in zip(("LLM", "HLM", "DLLM", "DHLM"), limits * 2, strict=True):
            yield field(name, value, self._limit_put(name), unit=unit)
        for name, number in (
            ("DMOV", 1),
            ("MOVN", 0),
            ("HLS", 0),
            ("LLS", 0),
            ("LVIO", 0),
            ("TDIR", 0),
        ):
            yield field(name, number)
        yield field("STOP", 0, self._put_stop)
        yield field("HOMF", 0, self._put_home)
        yield field("HOMR", 0, self._put_home)
        yield field("SPMG", 3, self._put_mode, choices=_SPMG)
        yield field("DIR", 0, self._put_direction, choices=("Pos", "Neg"))
        yield field("OFF", 0.0, self._put_offset, unit=unit)
        yield from (
            plain(f"{self.name}.{name}", value, **told)
            for name, value, told in (
                ("FOFF", 0, {"choices": ("Variable", "Frozen")}),
                ("SET", 0, {"choices": ("Use", "Set")}),
                ("BDST", 0.0, {"unit": unit}),
                ("RDBD", 0.001, {"unit": unit}),
                ("MRES", 1e-4, {"unit": unit}),
                ("ERES", 1e-4, {"unit": unit}),
                ("UREV", 1.0, {"unit": unit}),
                ("SREV", 10000, {}),
                ("EGU", unit, {}),
                ("PREC", 4, {}),
                ("DESC", f"twin's {self.name}", {}),
                ("OUT", "@twin", {}),
            )
        )  # fmt: skip

    async def follow(self) -> None:
        """Tell where the axis is, as often as a controller is polled, for ever."""
        while True:
            moving = self.axis.moving
            await self._tell(moving)
            await asyncio.sleep(1 / self._readback_hz)

    async def _tell(self, moving: bool) -> None:
        now_s = time.time()
        dial = self.axis.position(now_s)
        if dial != self["DRBV"].value:
            await self["DRBV"].set(dial, now_s)
            await self["RBV"].set(self._user(dial), now_s)
        switches = {"HLS": 1, "LLS": -1}
        for name, side in switches.items():
            hit = int(self.axis.at_switch == side)
            if hit != self[name].value:
                await self[name].set(hit)

    def _sign(self) -> int:
        return -1 if self["DIR"].word == "Neg" else 1

    def _user(self, dial: float) -> float:
        return self._sign() * dial + self["OFF"].number

    def _dial(self, user: float) -> float:
        return self._sign() * (user - self["OFF"].number)

    def _allowed(self, user: float) -> bool:
        if self["DLLM"].value == self["DHLM"].value == 0:
            return True
        return self["LLM"].number <= user <= self["HLM"].number

    async def _put_value(self, value: Value) -> None:
        user = float(value)
        if self["SET"].word == "Set":
            await self._put_offset(user - self._sign() * self.axis.position(time.time()))
            await self["VAL"].set(user)
            return
        await self["LVIO"].set(int(not self._allowed(user)))
        if not self._allowed(user):
            return
        await self["VAL"].set(user)
        await self["DVAL"].set(self._dial(user))
        mode = self["SPMG"].word
        if mode in ("Stop", "Pause"):
            self._kept = user if mode == "Pause" else None
            return
        await self._move(user)
        if mode == "Move":
            await self["SPMG"].set(_SPMG.index("Pause"))

    async def _put_dial(self, value: Value) -> None:
        await self._put_value(self._user(float(value)))

    async def _move(self, user: float) -> None:
        """Move, with the play taken up; the put of a client is done when this is."""
        dial, here = self._dial(user), self.axis.position(time.time())
        play = self._sign() * self["BDST"].number
        targets = (dial - play, dial) if play * (dial - here) < 0 else (dial,)
        await self["TDIR"].set(int((dial - here) * self._sign() > 0))
        await self["DMOV"].set(0)
        await self["MOVN"].set(1)
        await self.axis.move(*targets)
        if self.axis.moving:  # Another move has taken its place.
            return
        await self._tell(False)
        if self.axis.fault == "none" and self["SPMG"].word != "Pause":
            await self._settle()
        await self["MOVN"].set(0)
        await self["DMOV"].set(1)

    async def _settle(self) -> None:
        """Have the set points follow an axis that was stopped on its way."""
        if abs(self["RBV"].number - self["VAL"].number) > self["RDBD"].number:
            await self["VAL"].set(self["RBV"].value)
            await self["DVAL"].set(self["DRBV"].value)

    async def _put_stop(self, value: Value) -> None:
        if value:
            await self.axis.stop()
        await self["STOP"].set(0)

    async def _put_home(self, value: Value) -> None:
        if value:
            await self._put_value(self._user(0.0))

    async def _put_mode(self, value: Value) -> None:
        await self["SPMG"].set(value)
        mode = self["SPMG"].word
        if mode in ("Stop", "Pause"):
            self._kept = self["VAL"].number if mode == "Pause" and self.axis.moving else None
            await self.axis.stop()
        elif self._kept is not None:
            kept, self._kept = self._kept, None
            await self._move(kept)

    async def _put_velocity(self, value: Value) -> None:
        velocity = min(max(float(value), 0.0), self["VMAX"].number)
        if velocity:
            await self.axis.set_velocity(velocity)
        await self["VELO"].set(velocity or self["VELO"].value)

    async def _put_ramp(self, value: Value) -> None:
        ramp_s = max(float(value), 1e-4)
        await self.axis.set_ramp(ramp_s)
        await self["ACCL"].set(ramp_s)

    def _limit_put(self, name: str) -> Put:
        async def put(value: Value) -> None:
            given = float(value)
            dial = given if name.startswith("D") else self._dial(given)
            lower = name.endswith("LLM") == (self._sign() > 0 or name.startswith("D"))
            await self["DLLM" if lower else "DHLM"].set(dial)
            await self._show_limits()

        return put

    async def _show_limits(self) -> None:
        ends = sorted(self._user(self[name].number) for name in ("DLLM", "DHLM"))
        for name, end in zip(("LLM", "HLM"), ends, strict=True):
            await self[name].set(end)

    async def _put_direction(self, value: Value) -> None:
        await self["DIR"].set(value)
        await self._show_user()

    async def _put_offset(self, value: Value) -> None:
        await self["OFF"].set(value)
        await self._show_user()

    async def _show_user(self) -> None:
        """Show user positions after what they are counted by has changed."""
        await self["RBV"].set(self._user(self["DRBV"].number))
        await self["VAL"].set(self._user(self["DVAL"].number))
        await self._show_limits()

    async def _fail(self, value: Value) -> None:
        await self._fault.set(value)
        await self.axis.fail(self._fault.word)
