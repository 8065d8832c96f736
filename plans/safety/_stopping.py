"""What was moved is stopped in time, the beam first, also when it is the RunEngine that stops it."""

import asyncio
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from bluesky import Msg

from concertino import OverdueError
from concertino._bluesky_private import have_run_engines_stop
from concertino.guard import named_with_address
from concertino.plans.core._deadlines import deadlines
from concertino.plans.core._offers import Abandons, SaysIfLit, Stops, name_of


class StopsInTime:
    """Stops a device, and waits for that no longer than is stated.

    Parameters
    ----------
    device : device
        Has a method ``stop``.
    """

    parent = None

    def __init__(self, device: Any) -> None:
        self.device = device
        self.name = name_of(device)

    def __repr__(self) -> str:
        return repr(self.device)

    async def stop(self, **how: Any) -> None:
        """Stop the device.

        Raises
        ------
        OverdueError
            If it has not stopped in time.
        """
        answer = self.device.stop(**how)
        if not inspect.isawaitable(answer):
            return
        within_s = deadlines().stop_s
        stopping = asyncio.ensure_future(answer)
        try:
            done, _ = await asyncio.wait([stopping], timeout=within_s)
        except asyncio.CancelledError:
            stopping.cancel()
            raise
        if not done:
            stopping.cancel()
            raise OverdueError(
                f"{named_with_address(self.name, self.device)} was told to stop and has not said within {within_s:.3g} s "
                "that it did. Look at it."
            )
        stopping.result()


def stopping_in_turn(devices: Iterable[Any]) -> list[Any]:
    """Return what a RunEngine has set, as it is to stop it: the beam first, and each in time."""
    # A BeamGuard has deadlines of its own; what cannot be stopped the RunEngine leaves alone.
    beams_first = sorted(devices, key=lambda device: not isinstance(device, Abandons))
    return [
        StopsInTime(device)
        if isinstance(device, Stops) and not isinstance(device, Abandons)
        else device
        for device in beams_first
    ]


def _saying(close_run: Callable[[Msg], Any], guards: Iterable[Any]) -> Callable[[Msg], Any]:
    """Return what closes a run, and says in its stop document which beams may be on by then."""

    async def close(msg: Msg) -> Any:
        said = str(msg.kwargs.get("reason") or "")
        lit = [guard.lit for guard in guards if guard.lit and guard.warning not in said]
        reason = " ".join(filter(None, [*lit, said]))
        return await close_run(msg._replace(kwargs={**msg.kwargs, "reason": reason}))

    return close


def have_run_engines_stop_in_time() -> None:
    """Have every RunEngine stop the beam first at a plan's end, and wait for no device's stop for ever.

    The runs that it then closes itself, as after a halt, say whether the beam may be on.

    One motor whose stop never returns would hold up the RunEngine for ever, and after a halt the beam with it.
    """

    def stopped(touched: Iterable[Any], bundlers: Iterable[Any]) -> None:
        lit = [device for device in touched if isinstance(device, SaysIfLit) and device.lit]
        for bundler in bundlers if lit else ():
            bundler.close_run = _saying(bundler.close_run, lit)

    have_run_engines_stop(stopping_in_turn, stopped)
