"""Whatever happens: beam off first, then motors at rest, then settings as they were."""

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import bluesky.plan_stubs as bps
from bluesky import Msg
from bluesky.utils import FailedPause, MsgGenerator, RunEngineControlException, short_uid

from concertino import DeviceError, OverdueError
from concertino.guard import named_with_address
from concertino.plans.core._deadlines import deadlines
from concertino.plans.core._device_queries import LoopTask, sent
from concertino.plans.core._offers import (
    Stops,
    TakesCallback,
    TellsDone,
    TellsDuration,
    TellsSourceKind,
    TellsSuccess,
    TellsTimeout,
)
from concertino.plans.core._protocols import Beam

from ._beam_state import comes_to_read, reads_as_switched
from ._bounded import Watched, bounded
from ._stopping import have_run_engines_stop_in_time

LOG = logging.getLogger(__name__)

_ATTEMPTS = 3
#: How long moving motors wait for a beam that goes off, in seconds.
_MOTORS_S = 3.0
_LOOK_S = 0.05

Cleanup = Callable[[], MsgGenerator[Any]]

have_run_engines_stop_in_time()

#: What the user does to a plan, as opposed to what goes wrong in it.
INTERRUPTIONS = (RunEngineControlException, FailedPause, asyncio.CancelledError)


class BeamGuard:
    """Switches the beam off when the RunEngine stops what was moved, which it does even on a halt.

    A halt gives the plan no chance to clean up, but the RunEngine stops, and waits for, everything
    that was ever set.

    Parameters
    ----------
    beam : Beam
        What to switch off.
    armed : bool
        Switch it off also if it has not been switched by this guard.
    """

    parent = None

    def __init__(self, beam: Beam, *, armed: bool = False) -> None:
        self.beam = beam
        self.name = beam.name
        self.source_kind = beam.source_kind if isinstance(beam, TellsSourceKind) else None
        self._armed = armed
        self._closing: Any = None
        self._coming: Any = None  # What the beam answered when it was told to come on.
        #: What to say of a beam that the RunEngine could not switch off; empty when it is off, or was not to be.
        self.lit = ""
        self._late = ""
        self._lies = False  # It says that it is off, and reads on.

    def set(self, value: bool) -> Any:
        """Switch the beam; from now on every end of the RunEngine's plan switches it off."""
        self._armed = True
        return _status_of(self.beam, value)

    def set_duration_s(self, value: bool) -> Any:
        """Return how long that takes, in seconds; 0 when the beam does not tell."""
        beam = self.beam
        return beam.set_duration_s(value) if isinstance(beam, TellsDuration) else 0.0

    @property
    def timeout_s(self) -> float:
        """Within which the beam fails by itself if it is not switched, in seconds; 0 when it does not tell."""
        return self.beam.timeout_s if isinstance(self.beam, TellsTimeout) else 0.0

    @property
    def armed(self) -> bool:
        """Whether the beam has been switched and not been left alone since."""
        return self._armed

    @property
    def warning(self) -> str:
        """What to say when the beam cannot be switched off."""
        return f"{_addressed(self.beam)} could not be switched off: THE BEAM MAY BE ON. Switch it off by hand."

    def disarm(self) -> None:
        """Leave the beam alone from now on."""
        self._armed, self.lit = False, ""

    def begin_off(self) -> MsgGenerator[None]:
        """Switch the beam off, and wait for that, but not so long that motors would go on and on."""
        self._late, group = "", short_uid("off")
        self._closing = yield Msg("set", self.beam, False, group=group)
        done = yield Msg(
            "wait", None, group=group, error_on_timeout=False, watch=(),
            timeout=min(_MOTORS_S, deadlines().off_s),
        )  # fmt: skip
        if done is not False:
            self._lies = not (yield from reads_as_switched(self.beam, False, _MOTORS_S))
        if done is False or self._lies or self._comes:
            self._late = group
        else:
            self.disarm()

    def end_off(self) -> MsgGenerator[None]:
        """Wait for a beam that was late to go off, or may still come on."""
        if not self._late:
            return
        yield Msg("wait", None, group=self._late)
        if self._comes:
            yield from sent(
                LoopTask(self._outlast, f"{self.name} was waited for, which was to come on")
            )
            yield from beam_off(self.beam)
            if self._comes:
                raise OverdueError(self._may_come)
        elif self._lies or (isinstance(self._closing, TellsSuccess) and not self._closing.success):
            yield from beam_off(self.beam)
        self.disarm()

    def hear(self, message: Msg, response: object) -> None:
        """Note what the beam answered, if it was told to come on."""
        if message.command == "set" and message.obj is self.beam and message.args[0] is True:
            self._coming = response

    @property
    def _comes(self) -> bool:
        """Whether it was told to come on and has not said that it is, nor that it will not."""
        return isinstance(self._coming, TellsDone) and not self._coming.done

    @property
    def _may_come(self) -> str:
        return (
            f"{_addressed(self.beam)} was switched off while it was to come on; it has not said within "
            f"{deadlines().off_s:.3g} s more that it is, nor that it will not: THE BEAM MAY BE ON, now or later. "
            "Look, and switch it off by hand."
        )

    async def _outlast(self) -> None:
        """Wait until a beam that cannot take back that it comes on has done so, but not for ever."""
        until_s = time.monotonic() + deadlines().off_s
        while self._comes and time.monotonic() < until_s:
            await asyncio.sleep(_LOOK_S)

    def abandon(self) -> None:
        """Begin to switch the beam off, before motors are stopped; `stop` waits for it."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return  # Thrown away outside of the RunEngine.
        if self._armed:
            with suppress(Exception):
                self.beam.set(False)

    async def stop(self, success: bool = True) -> None:
        """Switch the beam off and wait for it.

        Raises
        ------
        DeviceError
            If it cannot be switched off.
        """
        if not self._armed:
            return
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._off()
                if self._comes:
                    await self._outlast()
                    await self._off()
                    if self._comes:
                        raise OverdueError(self._may_come)
            except Exception as error:
                if attempt == _ATTEMPTS or isinstance(error, OverdueError | TimeoutError):
                    # What is raised here the RunEngine only notes; the runs that it closes itself say it.
                    self.lit = f"{self.warning} {error}"
                    LOG.critical("%s", self.lit)
                    raise DeviceError(self.lit) from error
            else:
                self.lit = ""
                return

    async def _off(self) -> None:
        await _done(_status_of(self.beam, False), await self._within_s())
        if not await comes_to_read(self.beam, False):
            raise OverdueError(_reads_on(self.beam))

    async def _within_s(self) -> float:
        """Return how long to wait for the beam to go off, in seconds."""
        told = 0.0
        with suppress(Exception):
            answer = self.set_duration_s(False)
            if inspect.isawaitable(answer):
                answer = await asyncio.wait_for(answer, deadlines().off_s)
            told = float(answer)
        return max(deadlines().off_s + 2 * told, self.timeout_s + _LOOK_S)


def _status_of(beam: Beam, value: bool) -> Any:
    """Switch a beam, and return what tells when that is done."""
    status = beam.set(value)
    if not isinstance(status, TakesCallback):
        raise DeviceError(
            f"{beam.name} was to switch {'on' if value else 'off'}, and its set returned "
            f"{status!r}. Let it return a status, as those of bluesky do, which tells when it is "
            "done."
        )
    return status


async def _done(status: Any, within_s: float) -> None:
    """Wait for a status of any kind, and raise its failure."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    status.add_callback(lambda _: loop.call_soon_threadsafe(done.set))
    try:
        await asyncio.wait_for(done.wait(), within_s)
    except TimeoutError as error:
        raise OverdueError(f"It has not said within {within_s:.3g} s that it is off.") from error
    if not status.success:
        raise status.exception(0) or DeviceError("It gives no reason.")


def beam_on(beam: Beam) -> MsgGenerator[None]:
    """Switch the beam on and wait for it.

    Raises
    ------
    DeviceError
        If it says that it is on and still reads off.
    """
    yield from bps.abs_set(beam, True, wait=True)
    if not (yield from reads_as_switched(beam, True)):
        raise OverdueError(
            f"{_addressed(beam)} was switched on, says that it is, and still reads off. No frames are taken with it. "
            "Check its interlock, and whether it is what gives the beam."
        )


def beam_off(beam: Beam) -> MsgGenerator[None]:
    """Switch the beam off and wait for it.

    Raises
    ------
    DeviceError
        If it says that it is off and still reads on.
    """
    yield from bps.abs_set(beam, False, wait=True)
    if not (
        yield from reads_as_switched(beam.beam if isinstance(beam, BeamGuard) else beam, False)
    ):
        raise OverdueError(_reads_on(beam))


def _addressed(beam: Beam) -> str:
    """Return its name, and where its control system has it."""
    return named_with_address(beam.name, beam)


def _reads_on(beam: Beam) -> str:
    return (
        f"{_addressed(beam)} was switched off and still reads on: THE BEAM MAY BE ON. Look, and switch it off by "
        "hand."
    )


def motor_off(motor: object) -> MsgGenerator[None]:
    """Stop a motor; one that cannot be stopped is left to end its move."""
    if isinstance(motor, Stops):
        yield Msg("stop", motor)


def run_safely(plan: MsgGenerator[Any], *cleanups: Cleanup) -> MsgGenerator[Any]:
    """Run a plan and then every cleanup, whatever becomes of the plan and the other cleanups.

    A cleanup that fails is tried again, three times in all: what failed it may have been a move
    that an earlier cleanup stopped, or the user's impatience. One that did not end within its deadline
    is not: those after it have waited long enough.

    Parameters
    ----------
    plan : generator of messages
        What to run.
    *cleanups : callable
        Each returns a generator of messages, and does no harm when run twice. All run, in order.

    Returns
    -------
    Any
        What the plan returned.

    Raises
    ------
    BaseException
        The first error; later ones are added to it as notes.
    """
    return (yield from end_safely(plan, [("cleaning up", cleanup) for cleanup in cleanups], []))


def end_safely(
    plan: MsgGenerator[Any], ends: Sequence[tuple[str, Cleanup]], failed: list[BaseException]
) -> MsgGenerator[Any]:
    """Do as `run_safely` does, with cleanups that have names.

    Parameters
    ----------
    plan : generator of messages
        What to run.
    ends : sequence of (str, callable)
        What is done, for notes on the first error, and the cleanup.
    failed : list of BaseException
        Gets the first error as soon as there is one, so that cleanups know of it.
    """
    watched = Watched()
    return (yield from bounded(_safely(watched.explaining(plan), ends, failed), watched))


def _safely(
    plan: MsgGenerator[Any], ends: Sequence[tuple[str, Cleanup]], failed: list[BaseException]
) -> MsgGenerator[Any]:
    result = None
    try:
        result = yield from plan
    except GeneratorExit:
        raise  # The plan was thrown away: nothing may be yielded any more.
    except BaseException as error:
        failed.append(error)
    for what, cleanup in ends:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                yield from cleanup()
                break
            except GeneratorExit:
                raise
            except BaseException as error:
                last = isinstance(error, OverdueError) or attempt == _ATTEMPTS
                if not failed:
                    failed.append(error)
                elif last and not isinstance(error, INTERRUPTIONS):
                    failed[0].add_note(f"While {what}: {type(error).__name__}: {error}")
                if last:
                    break
    if failed:
        raise failed[0]
    return result
