"""What devices tell of themselves that decides how long things take."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from concertino import ParameterError
from concertino.units import convert

from ._device_queries import number
from ._motor_facts import ramp_s, unit_of
from ._offers import (
    HasExposure,
    HasFrameRate,
    HasVelocity,
    SetOtherwise,
    StoresFrames,
    TellsFrameSize,
)


@dataclass(frozen=True)
class AxisFacts:
    """An axis, as far as it tells.

    Parameters
    ----------
    unit : str
        Of its position.
    position : float or None
        Where it is, in `unit`; None for what cannot be asked.
    speed : float or None
        Speed of its moves, in unit/s; None for a device that tells none.
    ramp_s : float
        Time in which it reaches that speed, in seconds.
    """

    unit: str
    position: float | None
    speed: float | None
    ramp_s: float


@dataclass(frozen=True)
class CameraFacts:
    """A camera, as far as it tells.

    Parameters
    ----------
    exposure_s, readout_s : float
        Exposure time, and time after it until the next exposure may begin, in seconds.
    rate_hz : float
        Frames per second at its own pace; 0 for as fast as it can.
    shape : tuple of int
        Frame shape (height, width) in pixels.
    frame_bytes : int
        Size of a frame in bytes.
    pixel_size_um : float
        Size of a pixel in the plane of the sample, in um; 0 when unknown.
    ring_bytes, ring_held_bytes : int
        Memory that it takes for frames on their way, and how much of it it has already, in bytes.
    memory_rate_hz : float
        Frames per second that it reads out of a memory of its own; 0 for as fast as it can.
    self_storing : bool
        Whether it writes its frames to files of its own.
    """

    exposure_s: float
    readout_s: float
    rate_hz: float
    shape: tuple[int, int]
    frame_bytes: int
    pixel_size_um: float
    ring_bytes: int
    ring_held_bytes: int
    memory_rate_hz: float = 0.0
    self_storing: bool = False

    @property
    def period_s(self) -> float:
        """Time from frame to frame at its own pace, in seconds."""
        return 1 / self.rate_hz if self.rate_hz else self.exposure_s + self.readout_s


async def axis_facts(device: Any) -> AxisFacts:
    """Ask an axis; what it does not tell is left open."""
    speed = await number(device.velocity) if isinstance(device, HasVelocity) else None
    gains_s = 0.0 if speed is None else await ramp_s(device, speed)
    return AxisFacts(await unit_of(device), await number(device), speed, gains_s)


async def camera_facts(camera: Any, settings: Mapping[str, Any] | None = None) -> CameraFacts:
    """Ask a camera; what it does not tell counts as nothing.

    Parameters
    ----------
    camera : device
        Which.
    settings : mapping, optional
        Settings that count instead of the present ones, by their names; what follows from them it has to tell itself.
    """
    asked = settings or {}

    async def told(attribute: str) -> float:
        if attribute in asked:
            return float(asked[attribute])
        signal = getattr(camera, attribute, None)
        if isinstance(signal, int | float):
            return float(signal)
        return (await number(signal) or 0.0) if signal is not None else 0.0

    height, width, frame_bytes = 0, 0, 0
    if isinstance(camera, TellsFrameSize):
        height, width = camera.frame_shape
        frame_bytes = int(camera.frame_bytes)
    pixel_size_um, ring_bytes = await told("pixel_size"), int(await told("ring_bytes"))
    if asked and isinstance(camera, SetOtherwise):
        frames = camera.frames_if(asked)
        (height, width), frame_bytes = frames.frame_shape, frames.frame_bytes
        pixel_size_um, ring_bytes = frames.pixel_size_um, frames.ring_bytes
    return CameraFacts(
        await told("exposure"),
        await told("readout_s"),
        await told("frame_rate"),
        (height, width),
        frame_bytes,
        pixel_size_um,
        ring_bytes,
        int(await told("ring_held_bytes")),
        await told("memory_rate_hz"),
        isinstance(camera, StoresFrames) and camera.stores_frames is True,
    )


def settings_of(camera: object) -> Mapping[str, Any]:
    """Return the settings of a camera that a plan can set, by their names."""
    if isinstance(camera, SetOtherwise):
        return camera.settings
    found = {"exposure": camera.exposure} if isinstance(camera, HasExposure) else {}
    return {
        **found,
        **({"frame_rate": camera.frame_rate} if isinstance(camera, HasFrameRate) else {}),
    }


def move_s(distance: float, speed: float, ramp_s: float) -> float:
    """Return how long a move from rest to rest takes, in seconds.

    The speed rises and falls steadily; on a short way it does not become `speed`.

    Parameters
    ----------
    distance : float
        Length of the way, in the axis' unit.
    speed : float
        In unit/s.
    ramp_s : float
        Time in which the axis reaches it, in seconds.
    """
    distance, speed = abs(distance), abs(speed)
    if not distance or not speed:
        return 0.0
    if distance >= speed * ramp_s:
        return distance / speed + ramp_s
    return 2 * math.sqrt(distance * ramp_s / speed)


def pixels_per_second(axis: AxisFacts, speed: float, camera: CameraFacts, lever_px: float) -> float:
    """Return how fast an axis moves the image, in px/s; a turn at `lever_px` from its axis."""
    try:
        return abs(convert({"value": speed, "unit": axis.unit}, "rad", parameter="")) * lever_px
    except ParameterError:
        pass
    try:
        length = convert({"value": speed, "unit": axis.unit}, "um", parameter="")
    except ParameterError:
        return 0.0
    return abs(length) / camera.pixel_size_um if camera.pixel_size_um else 0.0
