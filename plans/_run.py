"""One imaging run: metadata, order of acquisitions, and a safe end."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import bluesky.plan_stubs as bps
from bluesky import Msg
from bluesky.utils import MsgGenerator

from concertino import ParameterError

from ._frames import finish_stream, observed_streams
from ._protocols import Beam, FrameCamera
from ._safety import BeamGuard, Cleanup, beam_off, motors_off, run_safely

Block = Callable[[], MsgGenerator[Any]]


def ordered(blocks: Mapping[str, Block], order: Sequence[str]) -> list[Block]:
    """Return the acquisitions in the order asked for.

    Raises
    ------
    ParameterError
        If the order names one that there is not, or one twice, or none.
    """
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
) -> MsgGenerator[Any]:
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
    run: dict[str, Any] = {"uid": None}

    def body() -> MsgGenerator[None]:
        yield from bps.stage(guard, wait=True)
        run["uid"] = yield from bps.open_run(md=dict(md))
        yield from bps.clear_checkpoint()  # A pause would take frames twice: it ends the run.
        yield from bps.declare_stream(camera.account, name="ledger", collect=True)
        yield from bps.stage(camera, wait=True)
        for block in blocks:
            current[0] = None
            yield from block()

    def end_stream() -> MsgGenerator[None]:
        if run["uid"] is not None:
            yield from finish_stream(camera, current[0])

    def safe_end() -> MsgGenerator[None]:
        yield from run_safely(
            observed_streams(body(), current),
            lambda: beam_off(beam),
            lambda: motors_off(motors),
            end_stream,
            *restore,
            lambda: bps.unstage(guard, wait=True),
        )

    error: BaseException | None = None
    try:
        yield from safe_end()
    except GeneratorExit:
        raise
    except BaseException as caught:
        error = caught
    if run["uid"] is not None:
        yield from _close(error)
    if error is not None:
        raise error
    return run["uid"]


def _close(error: BaseException | None) -> MsgGenerator[None]:
    if error is None:
        yield Msg("close_run")
        return
    aborted = type(error).__name__ in ("RequestAbort", "FailedPause", "CancelledError")
    try:
        yield Msg("close_run", exit_status="abort" if aborted else "fail", reason=_reason(error))
    except GeneratorExit:
        raise
    except BaseException as later:
        error.add_note(f"While closing the run: {type(later).__name__}: {later}")


def _reason(error: BaseException) -> str:
    # What the RunEngine wraps says less than what it wraps.
    cause = error.__cause__ if type(error).__name__ == "FailedStatus" else None
    return str(cause or error) or type(error).__name__
