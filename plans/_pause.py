"""Hold a series between two runs."""

import asyncio
import threading

import bluesky.plan_stubs as bps
from bluesky.utils import MsgGenerator

_LOOK_S = 0.05


class SeriesPause:
    """A switch, for any thread, that holds a series such as `for_each` between two runs.

    The RunEngine's own pause would take frames twice and so ends a run; this one lets the run end
    first. The RunEngine goes on to be ``running``, and can be aborted.

    Examples
    --------
    >>> from concertino.plans import SeriesPause
    >>> switch = SeriesPause()
    >>> switch.pause()
    >>> switch.paused
    True
    >>> switch.resume()
    """

    def __init__(self) -> None:
        self._going = threading.Event()
        self._going.set()

    @property
    def paused(self) -> bool:
        """Whether the series is to wait, or waits."""
        return not self._going.is_set()

    def pause(self) -> None:
        """Have the series wait when the run that goes on has ended."""
        self._going.clear()

    def resume(self) -> None:
        """Let the series go on."""
        self._going.set()

    def wait(self) -> MsgGenerator[None]:
        """Return the messages that wait as long as it is paused."""

        async def until_resumed() -> None:
            while self.paused:
                await asyncio.sleep(_LOOK_S)

        if self.paused:
            yield from bps.wait_for([until_resumed])
