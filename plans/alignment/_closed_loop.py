"""Measure, compare, control, until it is right."""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino.plans.core._awaited import Awaited
from concertino.plans.core._device_queries import outcome
from concertino.plans.safety._safety import run_safely
from concertino.plans.series._for_each import noting_moves, stop_all
from concertino.units import convert_count


@dataclass(frozen=True)
class LoopResult:
    """How a closed loop ended.

    Parameters
    ----------
    arrived : bool
        Whether the last value was right.
    iterations : int
        How often it was measured.
    values : tuple
        What was measured, in order.
    """

    arrived: bool
    iterations: int
    values: tuple[Any, ...]


def closed_loop(
    measure: Callable[[], MsgGenerator[Any]],
    compare: Callable[[Any], bool],
    control: Callable[[Any], MsgGenerator[Any]],
    *,
    initialise: Callable[[], MsgGenerator[Any]] | None = None,
    max_iterations: int = 5,
) -> MsgGenerator[LoopResult]:
    """Initialise once; then measure, compare and control, until the value is right.

    What was moved is stopped when something fails. A `measure` that takes frames is a plan of its own,
    such as a tomography, and leaves the beam off whatever happens; `outcome_of` waits for what a
    callback makes of it.

    Parameters
    ----------
    measure : callable
        Returns the messages that give a value.
    compare : callable
        Takes a value; tells whether it is right.
    control : callable
        Takes a value that is not; returns the messages that do something about it.
    initialise : callable, optional
        Returns the messages that make ready.
    max_iterations : int
        How often to measure at most.

    Returns
    -------
    LoopResult
        Also when it did not arrive: `arrived` tells.

    Raises
    ------
    ParameterError
        If something cannot be called, or there is no iteration.

    Examples
    --------
    >>> import bluesky.plan_stubs as bps
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import closed_loop
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> plan = closed_loop(lambda: bps.rd(b.vertical_stage), lambda height: abs(height - 1) < 0.01,
    ...                    lambda height: bps.mvr(b.vertical_stage, 1 - height))
    """
    parts = {"measure": measure, "compare": compare, "control": control}
    if initialise is not None:
        parts["initialise"] = initialise
    for parameter, function in parts.items():
        if not callable(function):
            raise ParameterError(
                f"{parameter}: {function!r} cannot be called. Give a function"
                + ("." if parameter == "compare" else " that returns messages.")
            )
    limit = convert_count(max_iterations, parameter="max_iterations", unit="")
    moved: list[Any] = []

    def loop() -> MsgGenerator[LoopResult]:
        if initialise is not None:
            yield from initialise()
        return (yield from iterate(measure, compare, control, limit))

    result: LoopResult = yield from run_safely(noting_moves(loop(), moved), stop_all(moved))
    return result


def iterate(
    measure: Callable[[], MsgGenerator[Any]],
    compare: Callable[[Any], bool],
    control: Callable[[Any], MsgGenerator[Any]],
    limit: int,
) -> MsgGenerator[LoopResult]:
    """Measure, compare and control within a plan that has a safe end of its own."""
    values: list[Any] = []
    while True:
        value = yield from measure()
        values.append(value)
        arrived = bool(compare(value))
        if arrived or len(values) == limit:
            return LoopResult(arrived, len(values), tuple(values))
        yield from control(value)


def outcome_of(function: Callable[..., Any], *args: Any) -> MsgGenerator[Any]:
    """Call a function that takes its time in a thread, and return what it returns.

    It is called once, also when the RunEngine is suspended meanwhile. Bluesky's simulators, such as
    ``summarize_plan``, call nothing: then None is returned.

    Parameters
    ----------
    function : callable
        Such as the `wait` of an `OnlineReconstruction`, which must not hold up the RunEngine's loop. A
        coroutine function is run in that loop instead of a thread.
    *args
        Its arguments.

    Examples
    --------
    >>> from concertino.plans import outcome_of
    >>> plan = outcome_of(sorted, [2, 1])
    """
    call = partial(function, *args)
    threaded = not inspect.iscoroutinefunction(function)
    return (
        yield from outcome(
            Awaited(partial(asyncio.to_thread, call) if threaded else call, "A function was called")
        )
    )
