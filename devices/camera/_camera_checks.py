"""What a camera can be asked for."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from ophyd_async.core import DetectorTrigger, TriggerInfo

from concertino import CameraError
from concertino.frames import FrameRequest

from ._camera_setting import ChoiceSetting, is_number
from ._frame_source import FrameSource, TriggeredFrameSource, memory_bytes_of

#: Slots of the ring that are not kept from before a trigger, so that there is room for what follows.
HELD_SPARE = 4

Trigger = Literal["internal", "software", "edge", "level"]

_TRIGGERS: dict[DetectorTrigger, Trigger] = {
    DetectorTrigger.INTERNAL: "internal",
    DetectorTrigger.EXTERNAL_EDGE: "edge",
    DetectorTrigger.EXTERNAL_LEVEL: "level",
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


def check_software_trigger(camera: str, request: FrameRequest, source: FrameSource) -> None:
    """Check that a camera takes software triggers, if it is to be given some.

    Raises
    ------
    CameraError
        If it does not.
    """
    if request.trigger == "software" and not isinstance(source, TriggeredFrameSource):
        raise CameraError(
            f"Camera {camera} was asked for {request.kind} by software triggers, and takes none: its "
            f"{type(source).__name__} has no method 'trigger'. Use a plan in which the camera goes on at its "
            "own pace, such as continuous_tomography, or give it pulses: trigger=DEVICE."
        )


def check_described(source: FrameSource) -> None:
    """Check what a source says of its frames.

    Raises
    ------
    CameraError
        If that is no shape, no type of grey values, or no size of a pixel.
    """
    kind, shape, dtype, size_um = (
        type(source).__name__, source.shape, source.dtype, source.pixel_size_um,
    )  # fmt: skip
    if not is_pixels(shape):
        raise CameraError(
            f"{kind} says that its frames have the shape {shape!r}. Give it shape = (height, width), in pixels."
        )
    if not isinstance(dtype, np.dtype) or dtype.kind not in "uif":
        raise CameraError(
            f"{kind} says that its pixels are {dtype!r}. Give it a dtype of grey values, such as "
            "numpy.dtype(numpy.uint16)."
        )
    if not (is_number(size_um) and size_um >= 0):
        raise CameraError(
            f"{kind} says that its pixel_size_um is {size_um!r}. Give it a number in um, or 0 if it is unknown."
        )


def is_pixels(shape: object) -> bool:
    """Whether something is a height and a width; (0, 0) before a source has been prepared."""
    if not isinstance(shape, Sequence | np.ndarray) or len(shape) != 2:
        return False
    return all(is_number(size) and size >= 0 and int(size) == size for size in shape)


def as_the_mode_says(
    camera: str, request: FrameRequest, setting: ChoiceSetting | None, mode: str
) -> FrameRequest:
    """Return a request with the trigger that a camera's setting ``trigger_mode`` makes of the plan's.

    A camera that goes on at its own pace may be left to pulses of somebody else's, and pulses may be as long as the
    exposures.

    Parameters
    ----------
    camera : str
        Name of the camera.
    request : FrameRequest
        What the plan asks.
    setting : ChoiceSetting or None
        What ``trigger_mode`` may be; None for a camera without, which has no level.
    mode : str
        What it is.

    Raises
    ------
    CameraError
        If they do not fit together, or the camera has no such trigger.
    """
    modes = ("internal", "software", "edge") if setting is None else setting.choices
    asked = request.trigger
    trigger: Trigger = asked
    if (mode in ("edge", "level") and asked == "internal") or (asked, mode) == ("edge", "level"):
        trigger = "level" if mode == "level" else "edge"
    elif mode not in ("plan", asked):
        raise CameraError(
            f"Camera {camera} was asked for {request.kind} by {asked} triggers, and its trigger_mode is "
            f"{mode!r}. Set trigger_mode to 'plan', or use a plan in which the camera is triggered so."
        )
    if trigger not in modes:
        takes = " or ".join(repr(mode) for mode in modes if mode != "plan")
        raise CameraError(
            f"Camera {camera} was asked for {request.kind} by {trigger} triggers; it takes {takes}. Ask for "
            "one of these."
        )
    return request if trigger == asked else replace(request, trigger=trigger)


def check_timing(camera: str, request: FrameRequest, exposure_s: float, rate_hz: float) -> None:
    """Check that a camera can expose so long so often.

    Raises
    ------
    CameraError
        If it cannot.
    """
    if not (0 <= exposure_s < math.inf and 0 <= rate_hz < math.inf):
        raise CameraError(
            f"Camera {camera} has an exposure of {exposure_s:g} s and a frame rate of {rate_hz:g} "
            "Hz; set both to 0 or more."
        )
    if request.trigger == "internal" and rate_hz and exposure_s * rate_hz > 1 + 1e-9:
        raise CameraError(
            f"Camera {camera} cannot take {rate_hz:g} frames/s with an exposure of {exposure_s:g} s; "
            f"that exposure allows at most {1 / exposure_s:g} frames/s. Lower the frame rate or "
            "the exposure."
        )


def check_retrospective(
    camera: str, request: FrameRequest, frame_bytes: int, ring_bytes: int
) -> None:
    """Check that the frames before a trigger fit into a camera's ring.

    Raises
    ------
    CameraError
        If they do not, or the request is none that can be waited for.
    """
    asked = request.retrospective
    if asked is None:
        return
    if not frame_bytes:
        raise CameraError(unknown_size(camera, request))
    if request.trigger != "internal":
        raise CameraError(
            f"Camera {camera} was asked to wait for a trigger of the recording with "
            f"{request.trigger} triggers of each frame; let it expose at its own frame rate: "
            "trigger='internal'."
        )
    if asked.before < 1 or asked.after < 1 or request.count != asked.before + asked.after:
        raise CameraError(
            f"Camera {camera} was asked for {request.count} frames, {asked.before} from before and "
            f"{asked.after} from after a trigger; ask for at least one of each, and for their sum."
        )
    capacity = max(2, ring_bytes // frame_bytes)
    # The camera writes into some of the ring while the rest is kept.
    if asked.before + HELD_SPARE > capacity:
        needed = (asked.before + HELD_SPARE) * frame_bytes
        raise CameraError(
            f"Camera {camera} was asked to keep {asked.before} frames from before a trigger; its ring "
            f"of {ring_bytes / 2**20:.4g} MiB holds {capacity} frames of {frame_bytes / 2**20:.4g} MiB, "
            f"{HELD_SPARE} of which the camera needs. Ask for at most {max(0, capacity - HELD_SPARE)}, "
            f"or give the camera ring_bytes={needed}."
        )


def unknown_size(camera: str, request: FrameRequest) -> str:
    """Return the sentence that a camera does not know yet how large its frames are."""
    return (
        f"Camera {camera} was asked to keep {request.count} frames of {request.kind} in a memory, and does not know "
        "how large its frames are. Take a frame first, or set its region, so that its source tells its shape when it "
        "is prepared."
    )


def check_count(camera: str, request: FrameRequest) -> None:
    """Check that a request is for some frames.

    Raises
    ------
    CameraError
        If it is for none.
    """
    if request.count is not None and request.count < 1:
        raise CameraError(
            f"Camera {camera} was asked for {request.count} frames of {request.kind}; ask for at least one."
        )


def check_memory(camera: str, request: FrameRequest, source: FrameSource, frame_bytes: int) -> None:
    """Check that the frames of a request fit into the camera's own memory, if they are to go there.

    Raises
    ------
    CameraError
        If they do not, or the camera has no memory, or nobody said how many there will be.
    """
    if request.readout == "direct":
        return
    memory = memory_bytes_of(source)
    if not memory:
        raise CameraError(
            f"Camera {camera} was asked to record {request.kind} and read them out later; it has no "
            "memory of its own. Use readout='direct'."
        )
    if not frame_bytes:
        raise CameraError(unknown_size(camera, request))
    holds = memory // frame_bytes
    if request.count is None or request.count > holds:
        count = "frames without end" if request.count is None else f"{request.count} frames"
        needed = "" if request.count is None else f", {request.count * frame_bytes / 1e6:.3g} MB"
        raise CameraError(
            f"Camera {camera} was asked to record {count} of {request.kind}{needed}; its memory of "
            f"{memory / 1e6:.3g} MB holds {holds}. Ask for at most so many, or use readout='direct'."
        )
