"""Building block: keep the frames around a trigger."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import bluesky.plan_stubs as bps
from bluesky import Msg
from bluesky.utils import MsgGenerator

from concertino import DeviceError
from concertino.frames import FrameRequest, RecordingTrigger
from concertino.plans.core._cameras import CameraSet, camera_set
from concertino.plans.core._device_queries import query, rehearsing
from concertino.plans.core._protocols import Beam, FrameCamera
from concertino.plans.run._computed_readings import ComputedReadings, number

from ._taking import Taking

RECORDING = "recording"
#: When the trigger fired and why; the frames from before, from after, and let go; by what it is too late.
_COLUMNS: Mapping[str, Mapping[str, Any]] = {
    "time": number("s"),
    "reason": {"dtype": "string"},
    "value": number(),
    "before": {"dtype": "integer"},
    "after": {"dtype": "integer"},
    "discarded": {"dtype": "integer"},
    "late": number("s"),
}

_LOOK_S = 0.02


@dataclass(frozen=True)
class WatchedSignal:
    """A signal that fires a trigger when its value is beyond a limit.

    Parameters
    ----------
    signal : Readable
        Its first reading is the value.
    above, below : float or None
        In the signal's unit.
    """

    signal: Any
    above: float | None
    below: float | None

    def look(self, trigger: RecordingTrigger) -> MsgGenerator[None]:
        """Read the signal, and fire if it is time."""
        reading: Mapping[str, Any] = yield from query(
            self.signal.read, f"{self.signal.name} was asked for its value"
        )
        name, found = next(iter(reading.items()))
        value = float(found["value"])
        for limit, word, beyond in (
            (self.above, "above", self.above is not None and value > self.above),
            (self.below, "below", self.below is not None and value < self.below),
        ):
            if beyond:
                trigger.fire(f"{name} was {value:g}, {word} {limit:g}", value=value)


def take_retrospective_frames(
    camera: FrameCamera | CameraSet,
    request: FrameRequest,
    *,
    watched: WatchedSignal | None = None,
    max_wait_s: float,
    on_timeout: Literal["fail", "keep"] = "fail",
    beam: Beam | None = None,
) -> MsgGenerator[None]:
    """Expose until a trigger fires, and keep the frames around it.

    Must be an acquisition of `imaging_run`, which ends the stream when this fails.

    Parameters
    ----------
    camera : FrameCamera, or CameraSet of one
        The camera.
    request : FrameRequest
        A retrospective one.
    watched : WatchedSignal, optional
        Fires the trigger.
    max_wait_s : float
        How long to wait for the trigger, in seconds.
    on_timeout : {"fail", "keep"}
        What to do then.
    beam : Beam, optional
        Switched on when all is prepared and described, and off as soon as nothing is exposed any more.

    Raises
    ------
    DeviceError
        If it did not fire, or was heard of so late that the frames around it are gone: those that are
        left are kept, and the run fails.
    """
    assert request.retrospective is not None
    trigger, stream = request.retrospective.trigger, request.kind
    cameras = camera_set(camera)
    camera = cameras.first
    yield from bps.stage(camera, wait=True)
    yield from bps.prepare(camera, request, wait=True)
    yield from bps.declare_stream(camera, name=stream)
    taking = Taking(cameras, request.count or 0, stream, request.on_lost, beam=beam)
    yield from taking.tell_values()
    yield from taking.light()
    rehearsal = yield from rehearsing()
    if rehearsal is None:
        trigger.disarm()
        trigger.arm()
    yield from taking.start()
    # A camera that fails while it waits fails the plan at once.
    yield from taking.complete()
    if rehearsal is None:
        yield from _until_fired(camera.name, trigger, watched, max_wait_s, on_timeout)
    else:
        rehearsal.end_here(f"it waits for its trigger, up to {max_wait_s:g} s")
    while (yield from taking.flush()):
        pass
    yield from taking.finish()
    if rehearsal is None:
        yield from _note_recording(camera.name, trigger)


def _until_fired(
    camera: str,
    trigger: RecordingTrigger,
    watched: WatchedSignal | None,
    max_wait_s: float,
    on_timeout: str,
) -> MsgGenerator[None]:
    deadline_s = time.monotonic() + max_wait_s
    while trigger.event is None:
        if time.monotonic() > deadline_s:
            _too_late(camera, trigger, watched, max_wait_s, on_timeout)
            break
        if watched is not None:
            yield from watched.look(trigger)
        yield Msg("sleep", None, _LOOK_S)


def _note_recording(camera: str, trigger: RecordingTrigger) -> MsgGenerator[None]:
    event, recording = trigger.event, trigger.recordings.get(camera)
    assert event is not None
    yield from ComputedReadings(RECORDING, _COLUMNS).note(
        time=event.time_ns * 1e-9,
        reason=event.reason,
        value=float("nan") if event.value is None else event.value,
        before=0 if recording is None else recording.before,
        after=0 if recording is None else recording.after,
        discarded=0 if recording is None else recording.discarded,
        late=0.0 if recording is None else recording.late_s,
    )
    if recording is not None and recording.late_s:
        raise DeviceError(
            f"The trigger of camera {camera} ({recording.event.reason}) is dated "
            f"{recording.late_s:.3g} s before the first frame that was still there: what it tells of is "
            "not in the frames, which are stored as they are. Fire it sooner, or give the camera a larger "
            "ring_bytes."
        )


def _too_late(
    camera: str,
    trigger: RecordingTrigger,
    watched: WatchedSignal | None,
    max_wait_s: float,
    on_timeout: str,
) -> None:
    who = (
        "Nobody fired the trigger" if watched is None else f"{watched.signal.name} fired no trigger"
    )
    said = f"{who} within {max_wait_s:g} s"
    if on_timeout == "keep":
        trigger.fire(said)
        return
    raise DeviceError(
        f"{said}; camera {camera} kept no frame. Give a longer max_wait, another limit, or "
        "on_timeout='keep'."
    )
