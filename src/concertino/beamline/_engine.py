"""The RunEngine of this process: devices are connected in its loop, and every plan runs in it."""

from functools import cache

from bluesky.run_engine import set_bluesky_event_loop

from concertino.session import SessionRunEngine


def process_engine() -> SessionRunEngine:
    """Return the RunEngine of this process, made when it is asked for first.

    Devices of a control system live in the loop in which they were connected, and the client of Tango lives in one loop
    a process. So what connects devices and what runs plans with them has one RunEngine, and sessions borrow it.
    """
    engine = _engine()
    # Whoever made another RunEngine meanwhile has had devices looked for in its loop.
    set_bluesky_event_loop(engine.loop)
    return engine


@cache
def _engine() -> SessionRunEngine:
    return SessionRunEngine({})
