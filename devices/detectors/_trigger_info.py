"""What a detector of ophyd-async is prepared for, or that it cannot be."""

from ophyd_async.core import DetectorTrigger, StandardDetector, TriggerInfo

from concertino import CameraError
from concertino.devices.camera._frame_source import CameraSettings
from concertino.frames import FrameRequest

_NEEDED = {
    "internal": DetectorTrigger.INTERNAL,
    "software": DetectorTrigger.INTERNAL,
    "edge": DetectorTrigger.EXTERNAL_EDGE,
}


def check_keeps_none(camera: str, request: FrameRequest) -> None:
    """Check that frames are wanted as they are exposed.

    Raises
    ------
    CameraError
        If the detector would have to keep them for later.
    """
    if request.retrospective is not None or request.readout == "later":
        what = (
            "keep frames from before a trigger"
            if request.retrospective
            else "read frames out later"
        )
        raise CameraError(
            f"Camera {camera} was asked to {what}; it writes {request.kind} to its own files as they are "
            "exposed, and keeps none. Use readout='direct' and a plan that is not retrospective, or a camera with a "
            "memory."
        )


async def trigger_info(
    detector: StandardDetector, request: FrameRequest, settings: CameraSettings, patience_s: float
) -> TriggerInfo:
    """Return what a detector is to be prepared for.

    With software triggers that is one event, which `StandardDetector.trigger` takes as often as it is called.

    Parameters
    ----------
    detector : StandardDetector
        The detector.
    request : FrameRequest
        What is asked.
    settings : CameraSettings
        How it shall expose.
    patience_s : float
        How much later than expected a frame may come, in s.

    Raises
    ------
    CameraError
        If its trigger logic has no such trigger.
    """
    found, _ = await detector.get_trigger_deadtime()
    needed = _NEEDED[request.trigger]
    if needed not in found:
        names = ", ".join(sorted(trigger.name for trigger in found)) or "none"
        raise CameraError(
            f"Camera {detector.name} was asked for {request.kind} by {request.trigger} triggers, for which its trigger "
            f"logic needs {needed.name}; it has {names}. {_instead(request)}"
        )
    period_s = 1 / settings.frame_rate_hz if settings.frame_rate_hz else 0.0
    paced = request.trigger == "internal"
    return TriggerInfo(
        trigger=needed,
        number_of_events=1 if request.trigger == "software" else request.count or 0,
        livetime=settings.exposure_s,
        deadtime=max(0.0, period_s - settings.exposure_s) if paced else 0.0,
        # The camera notices silence itself, and says more of it.
        exposure_timeout=2 * max(settings.exposure_s, period_s) + 4 * patience_s,
    )


def _instead(request: FrameRequest) -> str:
    if request.trigger == "edge":
        return "Leave the trigger device out, so that the detector goes on at its own pace."
    return "Give it pulses: trigger=DEVICE, of a device such as a PandaTrigger."
