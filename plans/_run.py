"""One imaging run: metadata, order of acquisitions, and a safe end."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import bluesky.plan_stubs as bps
from bluesky import Msg
from bluesky.utils import (
    FailedPause,
    FailedStatus,
    IllegalMessageSequence,
    MsgGenerator,
    RequestAbort,
    RequestStop,
)

from concertino import ParameterError

from ._frames import finish_stream, observed_streams
from ._protocols import Beam, FrameCamera
from ._safety import INTERRUPTIONS, BeamGuard, Cleanup, beam_off, motor_off, run_safely

_ATTEMPTS = 3

Block = Callable[[], MsgGenerator[Any]]


def ordered(blocks: Mapping[str, Block], order: Sequence[str]) -> list[Block]:
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


def imaging_run(
    blocks: Sequence[Block],
    *,
    camera: FrameCamera,
    beam: Beam,
    motors: Sequence[Any],
    restore: Sequence[Cleanup] = (),
    md: Mapping[str, Any],
) -> MsgGenerator[str]:
    """Run acquisitions as one run, and end it safely whatever happens.

    At every end the beam goes off first, then the motors stop, then the camera's stream ends and
    what is safe of it is documented, then settings return. The first error is raised.

    Parameters
    ----------
    blocks : sequence of callable
        Each returns the messages of one acquisition.
    camera, beam : device
        What is used throughout.
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
    guard = BeamGuard(beam)
    current: list[str | None] = [None]
    uid = ""
    opened = False

    def body() -> MsgGenerator[None]:
        nonlocal uid, opened
        yield from bps.clear_checkpoint()  # A pause would take frames twice: it ends the run.
        yield from beam_off(guard)
        yield from bps.stage(camera.account)
        opened = True
        uid = yield from bps.open_run(md=dict(md))
        yield from bps.declare_stream(camera.account, name="ledger", collect=True)
        for block in blocks:
            current[0] = None
            yield from block()

    def end_stream() -> MsgGenerator[None]:
        if uid:
            yield from finish_stream(camera, current[0])

    def switch_off() -> MsgGenerator[None]:
        yield from beam_off(beam)
        guard.disarm()

    error: BaseException | None = None
    try:
        yield from run_safely(
            observed_streams(body(), current),
            switch_off,
            *(partial(motor_off, motor) for motor in motors),
            end_stream,
            *restore,
        )
    except GeneratorExit:
        guard.abandon()  # Nothing may be yielded any more.
        raise
    except BaseException as caught:
        error = caught
        if guard.armed:
            error.add_note(guard.warning)
    if error is None:
        yield Msg("close_run")
        return uid
    if opened:
        yield from _close(error)
    raise error


def _close(error: BaseException) -> MsgGenerator[None]:
    if isinstance(error, RequestAbort):
        return  # The RunEngine closes the run: it knows the user's reason, and the plan does not.
    if isinstance(error, RequestStop):
        status, reason = "success", "stopped on request before all frames were taken"
    elif isinstance(error, FailedPause):
        status, reason = "abort", "interrupted: a pause would have taken frames twice"
    else:
        status = "abort" if isinstance(error, INTERRUPTIONS) else "fail"
        reason = _reason(error)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            yield Msg("close_run", exit_status=status, reason=reason)
        except GeneratorExit:
            raise
        except IllegalMessageSequence:
            return  # It did not come to be opened, or is closed.
        except BaseException as later:
            # A move that was stopped may fail only now.
            if attempt == _ATTEMPTS:
                error.add_note(f"While closing the run: {type(later).__name__}: {later}")
        else:
            return


def _reason(error: BaseException) -> str:
    # What the RunEngine wraps says less than what it wraps.
    cause = error.__cause__ if isinstance(error, FailedStatus) else None
    said = str(cause or error) or type(error).__name__
    return " ".join([said, *getattr(error, "__notes__", ())])
