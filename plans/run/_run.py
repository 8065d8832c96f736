"""One imaging run: metadata, order of acquisitions, and a safe end."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

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
from concertino._errors import notes_of
from concertino.plans.core._cameras import (
    CameraSet,
    camera_set,
    collect_ledgers,
    collect_streams,
    declare_ledgers,
)
from concertino.plans.core._offers import TellsUnstored
from concertino.plans.core._passed_on import passed_on
from concertino.plans.core._protocols import Beam, FrameCamera
from concertino.plans.safety._safety import (
    INTERRUPTIONS,
    BeamGuard,
    Cleanup,
    beam_off,
    end_safely,
    motor_off,
)

from ._checkpoints import checkpoints_found, pardoned

_WITHIN_A_RUN = (
    "An imaging plan is a run of its own and was begun within a run that is still open; nothing has "
    "moved. Close that run first, or let the plan have a run key of its own: "
    "bluesky.preprocessors.set_run_key_wrapper(plan, 'imaging')."
)

Block = Callable[[], MsgGenerator[Any]]


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
    run = _ImagingRun(blocks, None if camera is None else camera_set(camera), beam, md)
    cameras = () if run.cameras is None else run.cameras.cameras
    guards = () if run.guard is None else (run.guard,)
    ends: list[tuple[str, Cleanup]] = [
        *(("switching the beam off", guard.begin_off) for guard in guards),
        *((f"stopping {motor.name}", partial(motor_off, motor)) for motor in motors),
        *(("waiting for the beam to be off", guard.end_off) for guard in guards),
        ("ending the streams", run.end_streams),
        *((f"describing frames of {each.name}", partial(run.describe, each)) for each in cameras),
        ("collecting the ledgers", run.collect_ledgers),
        *(("bringing back what was set", each) for each in restore),
        ("closing the run", run.close),
        ("allowing checkpoints again", (yield from checkpoints_found())),
    ]
    try:
        yield from end_safely(run.go(), ends, run.failed)
    except GeneratorExit:
        for guard in guards:
            guard.abandon()  # Nothing may be yielded any more.
        raise
    except INTERRUPTIONS as error:
        if run.lit:
            # The RunEngine shows nobody what it was interrupted with.
            said = _reason(error, f"{run.lit} The plan was interrupted.")
            raise DeviceError(said) from error
        raise
    return run.uid


class _ImagingRun:
    """A run from its opening to its closing, and what is known of it when it ends."""

    def __init__(
        self,
        blocks: Iterable[Block],
        cameras: CameraSet | None,
        beam: Beam | None,
        md: Mapping[str, Any],
    ) -> None:
        self._blocks, self._md = blocks, md
        self.cameras = cameras
        self.guard = None if beam is None else BeamGuard(beam)
        self.uid = ""
        #: The first error, if there is one; later ones are its notes.
        self.failed: list[BaseException] = []
        self._opened = False
        self._current: dict[str, Any] = {}

    def go(self) -> MsgGenerator[None]:
        """Open it, and take what is to be taken."""
        return passed_on(self._go(), self._do)

    def _do(self, message: Msg) -> MsgGenerator[Any]:
        """Pass a message on; note which streams there are, and what the beam answers."""
        if message.command == "declare_stream":
            self._current = {n: c for n, c in self._current.items() if c not in message.args}
            if len(message.args) == 1:
                self._current[message.kwargs["name"]] = message.args[0]
        response = yield message
        if self.guard is not None:
            self.guard.hear(message, response)
        return response

    def _go(self) -> MsgGenerator[None]:
        if self.guard is not None:
            yield from beam_off(self.guard)
        for each_camera in () if self.cameras is None else self.cameras.cameras:
            yield from bps.stage(each_camera.ledger)
        self._opened = True
        try:
            self.uid = yield from bps.open_run(md=dict(self._md))
        except IllegalMessageSequence as error:
            self._opened = False  # What is open is the run of somebody else.
            raise ParameterError(_WITHIN_A_RUN) from error
        if self.cameras is not None or self.guard is not None:
            yield from bps.clear_checkpoint()  # A pause would take frames twice: it ends the run.
        if self.cameras is not None:
            yield from declare_ledgers(self.cameras)
        for block in self._blocks:
            self._current.clear()
            yield from block()

    def end_streams(self) -> MsgGenerator[None]:
        # Only when all have stopped is the last frame that anybody stored known.
        if self.uid and self.cameras is not None:
            yield from bps.unstage_all(*self.cameras.cameras)

    def describe(self, camera: FrameCamera) -> MsgGenerator[None]:
        if self.uid:
            yield from collect_streams({n: c for n, c in self._current.items() if c is camera})

    def collect_ledgers(self) -> MsgGenerator[None]:
        if self.uid and self.cameras is not None:
            yield from collect_ledgers(self.cameras)

    @property
    def lit(self) -> str:
        """What to say of a beam that could not be switched off; nothing if it is."""
        return self.guard.warning if self.guard is not None and self.guard.armed else ""

    def close(self) -> MsgGenerator[None]:
        """Close it, as what became of it; nothing that it has begun fails the plan around it later."""
        if not self.failed:
            try:
                yield Msg("close_run", **_unstored(self.cameras))
                return
            except GeneratorExit:
                raise
            except BaseException as caught:
                self.failed.append(caught)  # Others read devices once more before it is closed.
        (error,) = self.failed
        if self.lit and self.lit not in notes_of(error):
            error.add_note(self.lit)
        if self._opened:
            yield from _close(error, self.lit)
        yield from pardoned()


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
    for _ in range(2):
        try:
            yield Msg("close_run", exit_status=status, reason=reason)
            return
        except IllegalMessageSequence:
            if not (yield from _dropped_reading()):
                return  # It did not come to be opened, or is closed.


def _unstored(cameras: CameraSet | None) -> dict[str, str]:
    """Return what the stop document says when all went well, and frames were stored nowhere or lack their values."""
    ledgers = [camera.ledger for camera in (cameras.cameras if cameras is not None else ())]
    telling = [ledger for ledger in ledgers if isinstance(ledger, TellsUnstored)]
    lost = [f"{stream}" for ledger in telling for stream in ledger.unstored]
    values = None if cameras is None else cameras.values
    unknown = "" if values is None else values.warning
    if not lost:
        return {"exit_status": "success", "reason": unknown} if unknown else {}
    shown = ", ".join(dict.fromkeys(lost))
    if any(ledger.stored for ledger in ledgers):
        reason = f"the frames of {shown} were not stored"
    else:
        reason = f"nothing was stored: nobody subscribed who stores the frames of {shown}"
    return {"exit_status": "success", "reason": "; ".join(filter(None, (reason, unknown)))}


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
    return " ".join([said, *(note for note in notes_of(error) if note not in said)])
