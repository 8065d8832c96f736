"""What a plan has called in the RunEngine's loop, once, whoever goes through its messages."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from bluesky.utils import maybe_await

from concertino import OverdueError
from concertino.guard import named_with_address

from ._offers import name_of


class OnlyARunCanTellError(Exception):
    """A plan needs what only a run can tell, and nobody runs it."""


class Awaited:
    """A function without arguments that is called once in the RunEngine's loop.

    The RunEngine gives no answer (None) to a message in which it was suspended or paused, and does it
    again: then this is not done twice, and the answer is not lost. Bluesky's simulators give None to
    each message and call nothing; so the two can be told apart.

    Parameters
    ----------
    work : callable
        Gives the answer, at once or awaitable.
    what : str
        Which device was asked or told what, as the beginning of the sentence that says that it is overdue:
        ``"camera was asked for its exposure time"``.
    """

    def __init__(self, work: Callable[[], Any], what: str) -> None:
        self._work = work
        self._what = what
        self._task: asyncio.Future[Any] | None = None

    def __call__(self) -> Awaitable[Any]:
        """Return the answer, awaitable."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._do())
        return asyncio.shield(self._task)

    @property
    def limit_s(self) -> float | None:
        """How long it may take, in seconds; None when what it does has a deadline of its own."""
        return None

    async def _do(self) -> Any:
        answer, limit_s = self._work(), self.limit_s
        if not inspect.isawaitable(answer) or limit_s is None:
            return await maybe_await(answer)
        doing = asyncio.ensure_future(answer)
        done, _ = await asyncio.wait([doing], timeout=limit_s)
        if not done:
            doing.cancel()
            raise self.overdue(limit_s)
        return doing.result()

    def overdue(self, limit_s: float) -> Exception:
        """Return what to raise when it takes longer."""
        return OverdueError(
            f"{self._what}, and neither answered nor ended within {limit_s:g} s. Check the device and its "
            "connection."
        )

    @property
    def begun(self) -> bool:
        """Whether somebody has called it."""
        return self._task is not None

    @property
    def done(self) -> bool:
        """Whether the answer is there."""
        return self._task is not None and self._task.done()

    def result(self) -> Any:
        """Return the answer, when it is there, or raise what it raised."""
        assert self._task is not None
        return self._task.result()

    def unasked(self) -> Any:
        """Return what stands for the answer when nobody does what the messages say."""
        return None


class OfARun(Awaited):
    """What only a run can tell."""

    def unasked(self) -> Any:
        """Say that nobody tells.

        Raises
        ------
        OnlyARunCanTellError
            Always.
        """
        raise OnlyARunCanTellError


def names_of(devices: Iterable[Any]) -> str:
    """Return the names of devices, with where they are, for a sentence; what is None is left out."""
    found = (
        named_with_address(name_of(device), device) for device in devices if device is not None
    )
    return " and ".join(dict.fromkeys(found)) or "The devices"
