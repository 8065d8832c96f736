"""What a camera can be asked for."""

from typing import Literal

from ophyd_async.core import DetectorTrigger, TriggerInfo

from concertino import CameraError
from concertino.frames import FrameRequest

Trigger = Literal["internal", "software", "edge"]

_TRIGGERS: dict[DetectorTrigger, Trigger] = {
    DetectorTrigger.INTERNAL: "internal",
    DetectorTrigger.EXTERNAL_EDGE: "edge",
}


def trigger_of(camera: str, info: TriggerInfo) -> Trigger:
    """Return our name for the trigger that ophyd-async asks for.

    Raises
    ------
    CameraError
        If cameras have no such trigger, or frames are to be summed or grouped.
    """
    if info.exposures_per_collection > 1 or info.collections_per_event > 1:
        raise CameraError(
            f"Camera {camera} was asked for {info.exposures_per_collection} exposures per collection "
            f"and {info.collections_per_event} collections per event; it neither sums nor groups "
            "frames, so give 1 of each."
        )
    if info.trigger not in _TRIGGERS:
        known = ", ".join(trigger.name for trigger in _TRIGGERS)
        raise CameraError(
            f"Camera {camera} was asked for trigger {info.trigger.name}; it knows {known}, and "
            "'software' by FrameRequest."
        )
    return _TRIGGERS[info.trigger]


def check_timing(camera: str, request: FrameRequest, exposure_s: float, rate_hz: float) -> None:
    """Check that a camera can expose so long so often.

    Raises
    ------
    CameraError
        If it cannot.
    """
    if exposure_s < 0 or rate_hz < 0:
        raise CameraError(
            f"Camera {camera} has an exposure of {exposure_s:g} s and a frame rate of {rate_hz:g} Hz; "
            "neither may be negative."
        )
    if request.trigger == "internal" and rate_hz and exposure_s * rate_hz > 1 + 1e-9:
        raise CameraError(
            f"Camera {camera} cannot take {rate_hz:g} frames/s with an exposure of {exposure_s:g} s; "
            f"that exposure allows at most {1 / exposure_s:g} frames/s. Lower the frame rate or "
            "the exposure."
        )
