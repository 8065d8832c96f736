"""One imaging run: metadata, order of acquisitions, and a safe end."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import bluesky.plan_stubs as bps
from bluesky import Msg
from bluesky.utils import (
    FailedPause,
    FailedStatus,
    IllegalMessageSequence,
    InvalidCommand,
    MsgGenerator,
    RequestAbort,
    RequestStop,
)

from concertino import DeviceError, ParameterError

from ._cameras import CameraSet, camera_set, collect_ledgers, collect_streams, declare_ledgers
from ._checkpoints import checkpoints_afterwards, pardoned
from ._frames import observed_streams
from ._protocols import Beam, FrameCamera
from ._safety import INTERRUPTIONS, BeamGuard, Cleanup, beam_off, motor_off, run_safely

_ATTEMPTS = 3
_WITHIN_A_RUN = (
    "An imaging plan is a run of its own and was begun within a run that is still open; nothing has "
    "moved. Close that run first, or let the plan have a run key of its own: "
    "bluesky.preprocessors.set_run_key_wrapper(plan, 'imaging')."
)

T = TypeVar("T")
Block = Callable[[], MsgGenerator[Any]]


def ordered(blocks: Mapping[str, T], order: Sequence[str]) -> list[T]:
    """Return the acquisitions in the order asked for.

    Raises
    ------
    ParameterError
        If the order names one that there is not, or one twice, or none.
    """
    if isinstance(order, str):
        raise ParameterError(
            f"order: {order!r} was given; give a list such as ['darks', 'flats', 'projections']."
        )
    names = list(order)
    unknown = [name for name in names if name not in blocks]
    if unknown or len(set(names)) != len(names) or not names:
        raise ParameterError(
            f"order: {names} was given; name each of {', '.join(blocks)} at most once, "
            "and at least one."
        )
    return [blocks[name] for name in names]


@checkpoints_afterwards
def imaging_run(
    blocks: Iterable[Block],
    *,
    camera: FrameCamera | Sequence[FrameCamera] | CameraSet | None,
    beam: Beam | None,
    motors: Sequence[Any],
    restore: Sequence[Cleanup] = (),
    md: Mapping[str, Any],
) -> MsgGenerator[str]:
    """Run acquisitions as one run, and end it safely whatever happens.

    At every end the beam goes off first, then the motors stop, then the camera's stream ends and
    what is safe of it is documented, then settings return. The first error is raised.

    Parameters
    ----------
    blocks : iterable of callable
        Each returns the messages of one acquisition; the next is asked for when it has ended.
    camera : FrameCamera, sequence of FrameCamera, CameraSet or None
        The camera or cameras, if any.
    beam : Beam or None
        What switches the beam, if it does. Without camera and beam the plan may be paused at its
        checkpoints.
    motors : sequence of device
        What moves.
    restore : sequence of callable
        Each returns the messages that bring a setting back.
    md : mapping
        Metadata of the run.

    Returns
    -------
    str
        The run's uid.
    """
    guard = None if beam is None else BeamGuard(beam)
    cameras = None if camera is None else camera_set(camera)
    current: dict[str, Any] = {}
    uid = ""
    opened = False

    def body() -> MsgGenerator[None]:
        nonlocal uid, opened
        if guard is not None:
            yield from beam_off(guard)
        for each_camera in () if cameras is None else cameras.cameras:
            yield from bps.stage(each_camera.account)
        opened = True
        try:
            uid = yield from bps.open_run(md=dict(md))
        except IllegalMessageSequence as error:
            opened = False  # What is open is the run of somebody else.
            raise ParameterError(_WITHIN_A_RUN) from error
        if cameras is not None or guard is not None:
            yield from bps.clear_checkpoint()  # A pause would take frames twice: it ends the run.
        if cameras is not None:
            yield from declare_ledgers(cameras)
        for block in blocks:
            current.clear()
            yield from block()

    def end_streams() -> MsgGenerator[None]:
        # Only when all have stopped is the last frame that anybody stored known.
        if uid and cameras is not None:
            yield from bps.unstage_all(*cameras.cameras)

    def describe(one: FrameCamera) -> MsgGenerator[None]:
        if uid:
            yield from collect_streams({n: c for n, c in current.items() if c is one})

    def account() -> MsgGenerator[None]:
        if uid and cameras is not None:
            yield from collect_ledgers(cameras)

    error: BaseException | None = None
    try:
        yield from run_safely(
            observed_streams(body() if guard is None else guard.watching(body()), current),
            *(() if guard is None else (guard.begin_off,)),
            *(partial(motor_off, motor) for motor in motors),
            *(() if guard is None else (guard.end_off,)),
            end_streams,
            *(partial(describe, camera) for camera in (cameras.cameras if cameras else ())),
            account,
            *restore,
        )
    except GeneratorExit:
        if guard is not None:
            guard.abandon()  # Nothing may be yielded any more.
        raise
    except BaseException as caught:
        error = caught
        if guard is not None and guard.armed:
            error.add_note(guard.warning)
    if error is None:
        try:
            yield Msg("close_run", **_unstored(cameras))
        except GeneratorExit:
            raise
        except BaseException as caught:
            error = caught  # Others read devices once more before the run is closed.
        else:
            return uid
    lit = "" if guard is None or not guard.armed else guard.warning
    if opened:
        yield from _close(error, lit)
    yield from pardoned()
    if lit and isinstance(error, INTERRUPTIONS):
        # The RunEngine shows nobody what it was interrupted with.
        raise DeviceError(_reason(error, f"{lit} The plan was interrupted.")) from error
    raise error


def _close(error: BaseException, lit: str) -> MsgGenerator[None]:
    if isinstance(error, RequestAbort) and not lit:
        return  # The RunEngine closes the run: it knows the user's reason.
    if isinstance(error, RequestAbort):
        asked = yield from _reason_of_abort()
        status, reason = "abort", _reason(error, f"{lit} Aborted: {asked}")
    elif isinstance(error, RequestStop):
        status, reason = "success", "stopped on request before all frames were taken"
        if lit:
            status, reason = "fail", _reason(error, f"{lit} It was {reason}")
    elif isinstance(error, FailedPause):
        status, reason = "abort", "interrupted: a pause would have taken frames twice"
        reason = _reason(error, f"{lit} It was {reason}") if lit else reason
    else:
        status = "abort" if isinstance(error, INTERRUPTIONS) else "fail"
        reason = _reason(error)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            yield Msg("close_run", exit_status=status, reason=reason)
        except GeneratorExit:
            raise
        except IllegalMessageSequence:
            if not (yield from _dropped_reading()):
                return  # It did not come to be opened, or is closed.
        except BaseException as later:
            # A move that was stopped may fail only now.
            if attempt == _ATTEMPTS:
                error.add_note(f"While closing the run: {type(later).__name__}: {later}")
        else:
            return


def _unstored(cameras: CameraSet | None) -> dict[str, str]:
    """Return what the stop document says when all went well and frames were stored nowhere."""
    accounts = [camera.account for camera in (cameras.cameras if cameras is not None else ())]
    lost = [f"{stream}" for account in accounts for stream in getattr(account, "unstored", ())]
    if not lost:
        return {}
    shown = ", ".join(dict.fromkeys(lost))
    if any(account.stored for account in accounts):
        reason = f"the frames of {shown} were not stored"
    else:
        reason = f"nothing was stored: nobody subscribed who stores the frames of {shown}"
    return {"exit_status": "success", "reason": reason}


def _dropped_reading() -> MsgGenerator[bool]:
    """Give up a reading that was begun and not saved; tells whether there was one."""
    try:
        yield Msg("drop")
    except IllegalMessageSequence:
        return False
    return True


def _reason_of_abort() -> MsgGenerator[str]:
    """Return what the user gave as reason, as far as the RunEngine tells: that of a session does."""
    try:
        told = yield Msg("tell_reason")
    except InvalidCommand:
        told = ""
    return str(told or "on request")


def _reason(error: BaseException, said: str = "") -> str:
    # What the RunEngine wraps says less than what it wraps.
    cause = error.__cause__ if type(error) is FailedStatus else None
    said = said or str(cause or error) or type(error).__name__
    return " ".join([said, *(note for note in getattr(error, "__notes__", ()) if note not in said)])
