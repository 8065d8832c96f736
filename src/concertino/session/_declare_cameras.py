"""Lets plans of bluesky itself take a camera: whoever stores its frames hears of them in time."""

from typing import Any

from bluesky import Msg
from bluesky.utils import MsgGenerator, short_uid

from concertino.frames import FrameRequest
from concertino.plans import ClaimedCamera, outcome_of, passed_on

#: A camera says itself, and earlier, that it has not prepared in time.
_PREPARED_S = 600.0


def declare_cameras(plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
    """Prepare cameras that a plan only triggers, and declare the streams in which it reads them.

    A plan such as ``bluesky.plans.count`` describes a stream when it saves the first event, and collects
    its frames before: too early for those who store them. So when all is known that belongs to that event,
    the stream is declared, and what belongs to it is read once more, the camera for the first time.
    """
    declared: set[str] = set()
    reads: list[Msg] = []
    held = False
    stream = ""

    def look(message: Msg) -> MsgGenerator[Any] | None:
        nonlocal stream, held
        camera = message.obj if isinstance(message.obj, ClaimedCamera) else None
        if message.command == "open_run":
            declared.clear()
        elif message.command == "declare_stream":
            declared.add(message.kwargs["name"])
        elif message.command == "trigger" and camera is not None:
            return _prepared_and(message)
        elif message.command in ("create", "drop"):
            stream = message.kwargs.get("name", "")
            reads.clear()
            held = False
        elif message.command == "read" and stream and stream not in declared:
            reads.append(message)
            if camera is not None:
                held = True
                return _nothing_yet()
        elif message.command == "save":
            declared.add(stream)
            if held:
                held, read = False, list(reads)
                reads.clear()
                return _declared_and(stream, read, message)
        return None

    return passed_on(plan, look)


def _prepared_and(trigger: Msg) -> MsgGenerator[Any]:
    """Have a camera that nobody prepared take software triggers without end."""
    camera: Any = trigger.obj
    if not (yield from outcome_of(camera.frames.get_value)):
        group = short_uid("prepared")
        request = FrameRequest(None, kind="primary", trigger="software")
        yield Msg("prepare", camera, request, group=group)
        yield Msg("wait", None, group=group, timeout=_PREPARED_S)
    return (yield trigger)


def _nothing_yet() -> MsgGenerator[dict[str, Any]]:
    """Answer what a camera reads of itself: its frames are external."""
    yield from ()
    return {}


def _declared_and(stream: str, reads: list[Msg], save: Msg) -> MsgGenerator[Any]:
    yield Msg("drop")
    yield Msg("declare_stream", None, *(read.obj for read in reads), name=stream, collect=False)
    yield Msg("create", None, name=stream)
    for read in reads:  # noqa: UP028 a list does not take what is sent back
        yield read
    return (yield save)
