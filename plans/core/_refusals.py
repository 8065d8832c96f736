"""What a device of any library refuses or fails, in a sentence that names the device."""

from bluesky import Msg
from bluesky.utils import FailedPause, FailedStatus, RunEngineControlException

from concertino import ConcertinoError, DeviceError, OverdueError
from concertino._errors import notes_of
from concertino.frames import FrameRequest

from ._offers import OfDevice, OfObject, name_of

_ASKS = ("read", "locate", "describe", "stop")
_LONGEST = 60


class DeviceFailedError(DeviceError, FailedStatus):
    """A device did not do what it was told; also for those who know bluesky's error only.

    Its ``__cause__`` is what the device itself raised.
    """


class DeviceOverdueError(DeviceFailedError, OverdueError):
    """A device did not do in time what it was told, as it says itself."""


def told(command: str, value: object) -> str:
    """Return what a message tells a device to do, as the end of a sentence that begins with its name."""
    match command, value:
        case "set", bool():
            return f"was to switch {'on' if value else 'off'}"
        case "set", int() | float():
            return f"was to move to {value:.6g}"
        case "set", _:
            return f"was to be set to {_short(value)}"
        case "prepare", _:
            return f"was to prepare for {value.kind if isinstance(value, FrameRequest) else _short(value)}"
        case "trigger", _:
            return "was triggered"
        case "kickoff", _:
            return "was told to start"
        case "complete", _:
            frames = value.kind if isinstance(value, FrameRequest) else "what it had started"
            return f"was told to complete {frames}"
    return f"was told to {command}"


def failed(error: FailedStatus, name: str, what: str) -> DeviceFailedError:
    """Return the error that says what bluesky's says by the status's representation only.

    Parameters
    ----------
    error : FailedStatus
        As the RunEngine raises it.
    name : str
        Name of the device; empty when nobody knows.
    what : str
        What it was told, as `told` says it.
    """
    cause = error.__cause__
    if isinstance(cause, ConcertinoError):
        sentence = str(cause)  # It names all that itself.
    else:
        why = " ".join(str(cause or "").split()).rstrip(".")
        kind = type(cause).__name__ if cause is not None else "it gives no reason"
        if (
            type(cause).__name__ == "UnknownStatusFailure"
        ):  # Its text is about the code of its driver.
            kind, why = "it gives no reason", ""
        advice = "Check it."
        if "was to move" in what:
            advice = "Check its limit switches and its controller."
        elif what == told("set", False):
            advice = (
                "THE BEAM MAY BE ON if that is what it switches. Look, and switch it off by hand"
            )
            lost = "; then check that its IOC or device server runs, and the network."
            advice += lost if "://" in name else "."
        sentence = (
            f"{name or _who(error)} {what} and failed: {kind}{f': {why}' if why else ''}. {advice}"
        )
    late = isinstance(cause, OverdueError | TimeoutError)
    kind_of = DeviceOverdueError if late else DeviceFailedError
    new = kind_of(sentence)
    for note in notes_of(error):
        new.add_note(note)
    new.__cause__ = cause or error
    return new


def note_what_was_asked(error: BaseException, message: Msg, commands: tuple[str, ...]) -> None:
    """Have what a device raised at once say which device it was, and what it was told."""
    command, device = message.command, message.obj
    name = name_of(device, "")
    if command not in (*commands, *_ASKS) or not name or not isinstance(error, Exception):
        return
    if isinstance(error, (ConcertinoError, FailedStatus, RunEngineControlException, FailedPause)):
        return
    if any(name in note for note in notes_of(error)):
        return
    what = told(command, message.args[0] if message.args else None)
    error.add_note(f"{name} {what} and refused: {type(error).__name__}.")


def _who(error: FailedStatus) -> str:
    """Return the name of a status's device, as far as it tells."""
    status = error.args[0] if error.args else None
    device = status.device if isinstance(status, OfDevice) else None
    if device is None and isinstance(status, OfObject):
        device = status.obj
    return name_of(device, "") or "A device"


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
