"""For what the thread that serves a stream waits, and how long."""

from __future__ import annotations

import math
from typing import NamedTuple

#: Unless the publisher waits for it, what subscribers say is heard at most so often: each time costs more
#: than a message.
_NAP_MS = 1.0
#: Many acknowledgements of frames in shared memory, which the publisher can do without for a while, are heard
#: together: each waking of this thread takes the interpreter from the one that publishes.
_LONG_NAP_MS = 8.0
#: How often strangers are looked after.
_WATCH_MS = 20


class Listening(NamedTuple):
    """To whom the thread listens next: always to the publisher's bell, and to subscribers or not.

    Parameters
    ----------
    to_subscribers : bool
        Whether to whoever is connected as well.
    wait_ms : int
        How long at most, in milliseconds.
    """

    to_subscribers: bool
    wait_ms: int


def next_listening(
    heard_ms: float, messages: int, *, urgent: bool, spare: bool, strangers: bool, look_ms: int
) -> Listening:
    """Return to whom to listen next.

    Parameters
    ----------
    heard_ms : float
        How long ago subscribers were heard, in milliseconds.
    messages : int
        How many messages they had then.
    urgent : bool
        Whether the publisher waits for what they say.
    spare : bool
        Whether it can do without for a while, and so can they: all look into its memory.
    strangers : bool
        Whether somebody is connected who was not admitted yet.
    look_ms : int
        When to look for silent subscribers at the latest, in milliseconds.
    """
    nap_ms = min(max(_NAP_MS, messages * _NAP_MS), _LONG_NAP_MS) if spare else _NAP_MS
    if heard_ms < nap_ms and not urgent:
        return Listening(False, math.ceil(nap_ms - heard_ms))
    return Listening(True, _WATCH_MS if strangers else look_ms)
