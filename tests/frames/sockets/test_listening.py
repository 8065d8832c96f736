"""For what the thread that serves a stream waits, and how long: a table, filled in by hand."""

from typing import Any

import pytest

from concertino.frames.sockets._listening import Listening, next_listening

USUAL: dict[str, Any] = {"urgent": False, "spare": False, "strangers": False, "look_ms": 400}
ALL, BELL = True, False


@pytest.mark.parametrize(
    ("heard_ms", "messages", "state", "expected"),
    [
        # Nobody has said anything for long: everybody is listened to, until it is time to look.
        (5e6, 0, {}, (ALL, 400)),
        (5e6, 0, {"look_ms": 125}, (ALL, 125)),
        # Somebody has just been heard: for the rest of a millisecond only the publisher's bell counts,
        (0.0, 1, {}, (BELL, 1)),
        (0.4, 64, {}, (BELL, 1)),
        (1.0, 64, {}, (ALL, 400)),
        # as many milliseconds as messages, eight at most, where the publisher can spare it,
        (0.0, 5, {"spare": True}, (BELL, 5)),
        (4.5, 5, {"spare": True}, (BELL, 1)),
        (5.0, 5, {"spare": True}, (ALL, 400)),
        (1.0, 64, {"spare": True}, (BELL, 7)),
        (8.0, 64, {"spare": True}, (ALL, 400)),
        (0.0, 0, {"spare": True}, (BELL, 1)),
        # and not at all when it waits for what they say.
        (0.0, 64, {"spare": True, "urgent": True}, (ALL, 400)),
        # Strangers are looked after often.
        (9.0, 1, {"strangers": True}, (ALL, 20)),
        (0.0, 1, {"strangers": True}, (BELL, 1)),
        (0.0, 1, {"strangers": True, "urgent": True}, (ALL, 20)),
    ],
)
def test_to_whom_the_thread_listens_next(
    heard_ms: float, messages: int, state: dict[str, Any], expected: tuple[bool, int]
) -> None:
    assert next_listening(heard_ms, messages, **USUAL | state) == Listening(*expected)
