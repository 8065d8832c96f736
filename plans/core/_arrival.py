"""Whether motors are where they were sent: one that says that it is done may not have moved."""

import asyncio
import itertools
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from numbers import Real
from typing import Any

from bluesky import Msg
from bluesky.utils import MsgGenerator

from concertino import DeviceError, ParameterError
from concertino.guard import named_with_address
from concertino.units import convert

from ._awaited import names_of
from ._device_queries import run_in_loop
from ._motor_facts import main_key, tolerance, unit_of
from ._offers import Reads
from ._readback import fresh_reading

#: Parts of its way, and of the distance of two points of a stepped scan, by which a motor may be off that tells neither
#: a tolerance nor a dead band; and what it may always be off, in mm or deg, or in its unit if that is another.
OF_ITS_WAY = 0.01
OF_A_STEP = 0.25
ALWAYS = 0.01
#: A read-back that is polled comes so long after the move, in s, at most.
_PATIENCE_S = 2.0
_LOOK_S = 0.02


class Arrival:
    """Checks that motors have come to where they were sent.

    Parameters
    ----------
    moves : sequence of (device, float)
        Each motor, and the position that it is sent to, in its unit. What has no number for a position, or
        cannot be read, is not looked at.
    origins : sequence of float, optional
        Where each sets out, if that is known.
    """

    def __init__(
        self, moves: Sequence[tuple[Any, float]], origins: Sequence[float] | None = None
    ) -> None:
        whence = [None] * len(moves) if origins is None else origins
        seen = [
            (motor, target, origin)
            for (motor, target), origin in zip(moves, whence, strict=True)
            if _is_number(target) and isinstance(motor, Reads)
        ]
        self._moves = [(motor, target) for motor, target, _ in seen]
        self._origins: list[float | None] = [origin for *_, origin in seen]

    async def set_out(self) -> None:
        """Note where the motors are."""
        self._origins = [await _where(motor) for motor, _ in self._moves]

    async def check(self) -> None:
        """Compare where they are with where they were sent.

        Raises
        ------
        DeviceError
            If one is elsewhere, and is so for 2 s.
        """
        for (motor, target), origin in zip(self._moves, self._origins, strict=True):
            way = 0.0 if origin is None else abs(target - origin)
            if not await _is_there(motor, target, 0.0):
                least = max(OF_ITS_WAY * way, await _always(motor))
                await _must_be(motor, target, await _allowed(motor, least))


def arriving(moves: Sequence[tuple[Any, float]], move: MsgGenerator[Any]) -> MsgGenerator[None]:
    """Pass on the messages that move motors and wait for them, and check that they are where they were sent."""
    names, arrival = names_of(motor for motor, _ in moves), Arrival(moves)
    yield from run_in_loop(arrival.set_out, f"{names} were asked where they are before a move")
    yield from move
    yield from run_in_loop(
        arrival.check, f"{names} were asked whether they are where they were sent"
    )


class Steps:
    """Reads axes at the points of a stepped scan, and checks with these readings that they are there.

    Parameters
    ----------
    axes : sequence of device
        What moves.
    points : sequence of sequence of float
        Where each of them is sent, in its unit.
    """

    def __init__(self, axes: Sequence[Any], points: Sequence[Sequence[float]]) -> None:
        self._axes = axes
        self._steps = [_least_step(column) for column in zip(*points, strict=True)]
        self._allowed = [0.0] * len(axes)

    async def learn(self) -> None:
        """Ask the axes how exactly they arrive."""
        for index, (axis, step) in enumerate(zip(self._axes, self._steps, strict=True)):
            self._allowed[index] = await _allowed(axis, OF_A_STEP * step or await _always(axis))

    def read(self, point: Sequence[float], stream: str, arrived_s: float) -> MsgGenerator[None]:
        """Begin an event of a stream with the axes' readings, where they must be.

        Parameters
        ----------
        point : sequence of float
            Where they were sent.
        stream : str
            Name of the stream.
        arrived_s : float
            When they said that they were there, by the computer's clock, in s since the epoch. A reading of before
            is an old one: it is read anew.

        Raises
        ------
        DeviceError
            If one is elsewhere.
        """
        wrong = yield from self._read(point, stream)
        if not wrong:
            return
        yield Msg("drop")
        for index, stamp_s in wrong:
            patience_s = _PATIENCE_S if stamp_s < arrived_s else 0.0
            axis, allowed = self._axes[index], self._allowed[index]
            yield from run_in_loop(
                partial(_must_be, axis, point[index], allowed, patience_s),
                f"{axis.name} was asked where it is",
            )
        yield from self._read(point, stream)

    def _read(self, point: Sequence[float], stream: str) -> MsgGenerator[list[tuple[int, float]]]:
        """Return which axes read as if they were elsewhere, with the time of the reading."""
        yield Msg("create", None, name=stream)
        wrong = []
        for index, axis in enumerate(self._axes):
            reading = yield Msg("read", axis)
            field = _field(axis, reading or {})
            if field is not None and abs(field["value"] - point[index]) > self._allowed[index]:
                wrong.append((index, float(field["timestamp"])))
        return wrong


async def _must_be(
    motor: Any, target: float, allowed: float, patience_s: float = _PATIENCE_S
) -> None:
    until_s = time.monotonic() + patience_s
    while not await _is_there(motor, target, allowed):
        if time.monotonic() >= until_s:
            unit = await unit_of(motor)
            raise DeviceError(
                f"{named_with_address(motor.name, motor)} was sent to {target:g} {unit} and says that it is there, but its read-back is "
                f"{await _where(motor):g} {unit}, off by more than {allowed:.2g} {unit}. Check that it is switched on "
                "and free to move, and its limit switches and calibration."
            )
        await asyncio.sleep(_LOOK_S)


async def _is_there(motor: Any, target: float, allowed: float) -> bool:
    """Whether a motor is at a position; one that turns is so after each turn again."""
    where = await _where(motor)
    if where is None or abs(where - target) <= allowed + 1e-9 * abs(target):
        return True
    with suppress(ParameterError):
        unit = await unit_of(motor)
        turn = convert({"value": 360.0, "unit": "deg"}, unit, parameter="") if unit else math.inf
        return abs(math.remainder(where - target, turn)) <= allowed + 1e-9 * abs(target)
    return False


async def _allowed(motor: Any, otherwise: float) -> float:
    """Return by how much a motor may be off: what it tells, or what is given here."""
    told, least = await tolerance(motor)
    return max(told or otherwise, least)


async def _always(motor: Any) -> float:
    unit = await unit_of(motor)
    for usual in ("mm", "deg"):
        with suppress(ParameterError):
            return convert({"value": ALWAYS, "unit": usual}, unit, parameter="")
    return ALWAYS


async def _where(motor: Any) -> float | None:
    field = _field(motor, await fresh_reading(motor))
    return None if field is None else float(field["value"])


def _field(motor: Any, reading: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a motor's own reading, if that is a number."""
    field = reading.get(main_key(motor, reading) or "")
    return field if field is not None and _is_number(field["value"]) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _least_step(positions: Sequence[float]) -> float:
    """Return the least distance of two points that follow one another; 0 if all are the same."""
    steps = (abs(after - before) for before, after in itertools.pairwise(positions))
    return min((step for step in steps if step > 0), default=0.0)
