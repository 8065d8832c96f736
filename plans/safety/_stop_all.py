"""Stop everything at once, whatever runs: beam off, motors at rest."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from bluesky import RunEngine

from concertino import DeviceError, SessionError
from concertino._bluesky_private import abort_for_certain, thread_of
from concertino.plans.core._deadlines import deadlines
from concertino.plans.core._offers import Stops
from concertino.plans.core._protocols import Beam

from ._safety import BeamGuard
from ._stopping import StopsInTime

#: How long motors go on while a plan that was aborted stops them itself, in s.
_PLAN_S = 5.0
_LOOK_S = 0.02


def stop_all(
    run_engine: RunEngine,
    beam: Beam | Iterable[Beam] | None = None,
    motors: Iterable[Any] = (),
    *,
    reason: str = "stop_all was called",
) -> None:
    """Switch the beam off, end the plan that runs or is paused, and stop every motor; in any thread.

    A plan ends as after ``RE.abort(reason)``: it switches its beam off first, and stops its motors. Then, or 5 s later if the
    plan has not ended, the beam and the motors given here are stopped, whether the plan has used them or not; one that
    fails keeps no other from it.

    Parameters
    ----------
    run_engine : RunEngine
        Whose plan is ended; a session's is ``session.RE``.
    beam : Beam or iterable of Beam, optional
        What is switched off.
    motors : iterable of device
        What is stopped.
    reason : str
        Why; it stands in the stop document of the run that was ended.

    Raises
    ------
    DeviceError
        If the beam could not be switched off, or a motor not be stopped: all of them, in one sentence each.
    SessionError
        If it is called in the loop of the RunEngine, as by a document callback, which must not wait for itself.
    """
    thread = thread_of(run_engine)
    loop = run_engine.loop
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    if here is loop or thread is None or not thread.is_alive():
        raise SessionError(
            f"Everything was to be stopped from within the loop of {type(run_engine).__name__}, or that has ended. Call it in another "
            "thread, such as that of a button; a callback gives what is to be watched to an Interlock."
        )
    stopping = asyncio.run_coroutine_threadsafe(
        stopped(run_engine, beams_of(beam), list(motors), reason), loop
    )
    limits = deadlines()
    within_s = _PLAN_S + 3 * (limits.off_s + limits.stop_s)
    try:
        failures = stopping.result(within_s)
    except TimeoutError as error:
        raise DeviceError(
            f"Everything was to be stopped, and that did not end within {within_s:g} s: THE BEAM MAY BE ON, and motors may move. Look, and switch "
            "off by hand; then see what holds up the loop of the RunEngine."
        ) from error
    if failures:
        raise DeviceError(" ".join(failures))


def beams_of(beam: Beam | Iterable[Beam] | None) -> list[Beam]:
    """Return the beams that were given: none, one or several."""
    if beam is None:
        return []
    return list(beam) if isinstance(beam, Iterable) else [beam]


async def stopped(
    run_engine: RunEngine, beams: Iterable[Beam], motors: Iterable[Any], reason: str
) -> list[str]:
    """Do it, in the loop of the RunEngine; return a sentence for each thing that could not be stopped."""
    failures: list[str] = []
    # A plan switches its beam off first; to be told twice at a time is more than some signals take.
    if not run_engine.state.is_idle:
        await abort_for_certain(run_engine, reason)
        until_s = time.monotonic() + min(_PLAN_S, deadlines().stop_s)
        while not run_engine.state.is_idle and time.monotonic() < until_s:
            await asyncio.sleep(_LOOK_S)
    guards = [BeamGuard(beam, armed=True) for beam in beams]
    moved = [StopsInTime(motor) for motor in motors if isinstance(motor, Stops)]
    devices: list[BeamGuard | StopsInTime] = [*guards, *moved]
    ends = [device.stop(success=False) for device in devices]
    outcomes = await asyncio.gather(*ends, return_exceptions=True)
    for device, outcome in zip(devices, outcomes, strict=True):
        if isinstance(outcome, DeviceError):
            failures.append(str(outcome))
        elif isinstance(outcome, BaseException):
            failures.append(f"{device.name} could not be stopped: {outcome}. Look at it.")
    return failures
