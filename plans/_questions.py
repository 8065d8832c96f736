"""What plans ask of devices: answers change nothing, so a preflight may ask, too."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from bluesky import Msg
from bluesky.utils import MsgGenerator


class Question:
    """A function without arguments that asks a device something and changes nothing.

    Parameters
    ----------
    ask : callable
        Gives the answer, at once or awaitable.
    """

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._ask = ask

    async def __call__(self) -> Any:
        """Return the answer."""
        answer = self._ask()
        return await answer if inspect.isawaitable(answer) else answer


class IsRehearsal(Question):
    """Asks whether the plan is only gone through: a rehearsal answers with itself, a run with None."""

    def __init__(self) -> None:
        super().__init__(lambda: None)


class Errand:
    """A function without arguments that does something in the RunEngine's loop; nobody wants its answer.

    Parameters
    ----------
    work : callable
        Coroutine function.
    takes_s : float
        How long it takes when all goes well, for a preflight, in seconds.
    """

    def __init__(self, work: Callable[[], Awaitable[Any]], takes_s: float = 0.0) -> None:
        self._work = work
        self.takes_s = takes_s

    async def __call__(self) -> None:
        """Do it."""
        await self._work()


class UntilExposed(Errand):
    """An errand that is done when cameras have exposed all frames.

    Parameters
    ----------
    cameras : iterable of FrameCamera
        Those with a memory, whose frames are read out later.
    """

    def __init__(self, cameras: Iterable[Any]) -> None:
        self.cameras = tuple(cameras)
        super().__init__(self._wait)

    async def _wait(self) -> None:
        await asyncio.gather(*(camera.wait_exposed() for camera in self.cameras))


def awaited(work: Callable[[], Awaitable[Any]], takes_s: float = 0.0) -> MsgGenerator[None]:
    """Have a coroutine function run in the RunEngine's loop; what it raises is raised here.

    Parameters
    ----------
    work : callable
        Coroutine function.
    takes_s : float
        How long it takes when all goes well, for a preflight, in seconds.
    """
    yield from sent(Errand(work, takes_s))


def sent(errand: Errand) -> MsgGenerator[None]:
    """Have an errand done; what it raises is raised here."""
    # Nothing comes back when somebody only looks at the messages.
    for task in (yield Msg("wait_for", None, [errand])) or ():
        task.result()


def rehearsing() -> MsgGenerator[Any]:
    """Return the rehearsal that goes through the plan, or None when the plan really runs.

    For what must not happen in a rehearsal: arming a trigger, or waiting in a loop for the world. Such
    a plan calls ``rehearsal.end_here(why)``, after which no more time passes there.
    """
    (task,) = yield Msg("wait_for", None, [IsRehearsal()])
    return task.result()


def asked(question: Callable[[], Any | Awaitable[Any]]) -> MsgGenerator[Any]:
    """Return a device's answer, be it immediate or awaitable; what it raises is raised here."""
    (task,) = yield Msg("wait_for", None, [Question(question)])
    return task.result()


async def number(signal: Any) -> float | None:
    """Return the present value of a signal, or of a device's first field; None if it has none."""
    try:
        reading = signal.read()
        reading = await reading if inspect.isawaitable(reading) else reading
        field = reading.get(signal.name) or next(iter(reading.values()))
        return float(field["value"])
    except Exception:
        return None  # A figure that nobody gives is a figure that is unknown.
