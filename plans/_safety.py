"""Whatever happens: beam off first, then motors at rest, then settings as they were."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import bluesky.plan_stubs as bps
from bluesky import Msg
from bluesky.utils import FailedPause, MsgGenerator, RunEngineControlException

from concertino import DeviceError

from ._protocols import Beam

_ATTEMPTS = 3
_OFF_S = 30.0

Cleanup = Callable[[], MsgGenerator[Any]]

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
    """

    parent = None

    def __init__(self, beam: Beam) -> None:
        self.beam = beam
        self.name = beam.name
        self.source_kind = getattr(beam, "source_kind", None)
        self._armed = False

    def set(self, value: bool) -> Any:
        """Switch the beam; from now on every end of the RunEngine's plan switches it off."""
        self._armed = True
        return self.beam.set(value)

    def set_duration_s(self, value: bool) -> Any:
        """Return how long that takes, in seconds; 0 when the beam does not tell."""
        duration = getattr(self.beam, "set_duration_s", None)
        return 0.0 if duration is None else duration(value)

    @property
    def armed(self) -> bool:
        """Whether the beam has been switched and not been left alone since."""
        return self._armed

    @property
    def warning(self) -> str:
        """What to say when the beam cannot be switched off."""
        return f"{self.name} could not be switched off: THE BEAM MAY BE ON."

    def disarm(self) -> None:
        """Leave the beam alone from now on."""
        self._armed = False

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
                await _done(self.beam.set(False))
            except Exception as error:
                if attempt == _ATTEMPTS:
                    raise DeviceError(f"{self.warning} {error}") from error
            else:
                return


async def _done(status: Any) -> None:
    """Wait for a status of any kind, and raise its failure."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    status.add_callback(lambda _: loop.call_soon_threadsafe(done.set))
    await asyncio.wait_for(done.wait(), _OFF_S)
    if not status.success:
        raise status.exception(0) or DeviceError("It gives no reason.")


def beam_on(beam: Beam) -> MsgGenerator[None]:
    """Switch the beam on and wait for it."""
    yield from bps.abs_set(beam, True, wait=True)


def beam_off(beam: Beam) -> MsgGenerator[None]:
    """Switch the beam off and wait for it."""
    yield from bps.abs_set(beam, False, wait=True)


def motor_off(motor: Any) -> MsgGenerator[None]:
    """Stop a motor; one that cannot be stopped is left to end its move."""
    if hasattr(motor, "stop"):
        yield Msg("stop", motor)


def run_safely(plan: MsgGenerator[Any], *cleanups: Cleanup) -> MsgGenerator[Any]:
    """Run a plan and then every cleanup, whatever becomes of the plan and the other cleanups.

    A cleanup that fails is tried again, three times in all: what failed it may have been a move
    that an earlier cleanup stopped, or the user's impatience.

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
    errors: list[BaseException] = []
    result = None
    try:
        result = yield from plan
    except GeneratorExit:
        raise  # The plan was thrown away: nothing may be yielded any more.
    except BaseException as error:
        errors.append(error)
    for cleanup in cleanups:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                yield from cleanup()
            except GeneratorExit:
                raise
            except BaseException as error:
                if not errors or (attempt == _ATTEMPTS and not isinstance(error, INTERRUPTIONS)):
                    errors.append(error)
            else:
                break
    if errors:
        raise _with_notes(errors[0], errors[1:])
    return result


def _with_notes(first: BaseException, later: Sequence[BaseException]) -> BaseException:
    for error in later:
        first.add_note(f"While cleaning up: {type(error).__name__}: {error}")
    return first
