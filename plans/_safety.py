"""Whatever happens: beam off first, then motors at rest, then settings as they were."""

from collections.abc import Callable, Sequence
from typing import Any

import bluesky.plan_stubs as bps
from bluesky import Msg
from bluesky.utils import MsgGenerator

from ._protocols import Beam

_ATTEMPTS = 3

Cleanup = Callable[[], MsgGenerator[Any]]


class BeamGuard:
    """Switches the beam off when it is unstaged, which the RunEngine does even on a halt.

    A halt gives the plan no chance to clean up, but the RunEngine unstages every staged device.

    Parameters
    ----------
    beam : Beam
        What to switch off.
    """

    parent = None

    def __init__(self, beam: Beam) -> None:
        self.beam = beam
        self.name = f"{beam.name}_guard"

    def stage(self) -> list[Any]:
        """Do nothing; being staged is what counts."""
        return [self]

    def unstage(self) -> Any:
        """Switch the beam off."""
        return self.beam.set(False)


def beam_on(beam: Beam) -> MsgGenerator[None]:
    """Switch the beam on and wait for it."""
    yield from bps.abs_set(beam, True, wait=True)


def beam_off(beam: Beam) -> MsgGenerator[None]:
    """Switch the beam off and wait for it; a failure is tried again before it is raised."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            yield from bps.abs_set(beam, False, wait=True)
        except Exception as error:
            if attempt == _ATTEMPTS:
                error.add_note(
                    f"{beam.name} could not be switched off in {_ATTEMPTS} attempts: "
                    "THE BEAM MAY BE ON."
                )
                raise
        else:
            return


def motors_off(motors: Sequence[Any]) -> MsgGenerator[None]:
    """Stop motors; those that cannot be stopped are left to end their move."""
    for motor in motors:
        if hasattr(motor, "stop"):
            yield Msg("stop", motor)


def run_safely(plan: MsgGenerator[Any], *cleanups: Cleanup) -> MsgGenerator[Any]:
    """Run a plan and then every cleanup, whatever becomes of the plan and the other cleanups.

    Parameters
    ----------
    plan : generator of messages
        What to run.
    *cleanups : callable
        Each returns a generator of messages. All run, in order.

    Returns
    -------
    Any
        What the plan returned.

    Raises
    ------
    BaseException
        The first error; later ones are added to it as notes.
    """
    first: BaseException | None = None
    result = None
    try:
        result = yield from plan
    except GeneratorExit:
        raise  # The plan was thrown away: nothing may be yielded any more.
    except BaseException as error:
        first = error
    for cleanup in cleanups:
        try:
            yield from cleanup()
        except GeneratorExit:
            raise
        except BaseException as error:
            if first is None:
                first = error
            else:
                first.add_note(f"While cleaning up: {type(error).__name__}: {error}")
    if first is not None:
        raise first
    return result
