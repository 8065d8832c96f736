"""Whether an acquisition takes what it says that it takes: one that does not would leave a scan short without a word."""

from collections.abc import Iterable
from typing import Any

from bluesky import Msg
from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino.frames import FrameRequest
from concertino.plans.core._passed_on import passed_on
from concertino.plans.run._pause_request import PauseRequest
from concertino.plans.run._segments import AcquisitionSegment, Take

from ._acquisition import Acquisition


def checked_take(
    acquisition: Acquisition,
    take: Take,
    piece: AcquisitionSegment,
    hold: PauseRequest | None,
) -> MsgGenerator[bool]:
    """Take a piece, and refuse an acquisition that asks its cameras for more or fewer frames than these.

    A rehearsal tells it before anything moves.

    Parameters
    ----------
    acquisition : Acquisition
        What takes.
    take : callable
        How it takes a piece.
    piece : AcquisitionSegment
        Which frames.
    hold : PauseRequest or None
        Asks for pauses.

    Raises
    ------
    ParameterError
        If it asks for another number of frames, or does not tell whether it took them.
    """
    kind, asked = type(acquisition).__name__, dict[int, int]()

    def count(message: Msg) -> None:
        request = message.args[0] if message.command == "prepare" and message.args else None
        if isinstance(request, FrameRequest):
            camera = id(message.obj)
            asked[camera] = asked.get(camera, 0) + (request.count or 0)

    messages: Any = take(piece, hold)
    is_plan: bool = isinstance(messages, Iterable)
    if not is_plan:
        raise ParameterError(
            f"acquisitions: the take of {kind} returned {messages!r}. Have it return or yield messages, as plans do."
        )
    whole = yield from passed_on(messages, count)
    if not isinstance(whole, bool):
        raise ParameterError(
            f"acquisitions: the take of {kind} returned {whole!r} in the end. Have it return whether all its frames were "
            "taken, which setup.steps and setup.frames_at return."
        )
    taken = max(asked.values(), default=0)
    if whole and taken != piece.count and acquisition.PAUSES:
        raise ParameterError(
            f"acquisitions: the take of {kind} asked for {taken} frames of {piece.stream}, and the piece has "
            f"{piece.count}: {piece.first} to {piece.stop - 1} of the {acquisition.count}. Have it take these."
        )
    return whole
