"""Streams of frames in a rehearsal, and how far the image moves in their exposures."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from concertino.frames import PulseTrain
from concertino.plans.core._device_facts import AxisFacts, CameraFacts, pixels_per_second


@dataclass
class Motion:
    """A move in the rehearsal: from when to when, at which speed, in the unit of the axis."""

    axis: Any
    facts: AxisFacts
    speed: float
    begin_s: float
    end_s: float


@dataclass
class Taken:
    """A stream of frames in the rehearsal."""

    name: str
    camera: str
    facts: CameraFacts
    trigger: str
    count: int
    begin_s: float
    end_s: float = 0.0
    later: bool = False
    exposed: int = 0
    blur_px: float = 0.0
    sweeps: dict[str, Motion] = field(default_factory=dict)
    under_way: bool = False

    @property
    def period_s(self) -> float:
        """Time from frame to frame, in seconds."""
        if self.trigger == "internal" or self.exposed < 2:
            return self.facts.period_s
        return (self.end_s - self.begin_s) / self.exposed

    @property
    def frame_bytes(self) -> int:
        """Size of all frames, in bytes."""
        return self.exposed * self.facts.frame_bytes

    def note_blur(self, motions: Iterable[Motion], now_s: float, tomo: Mapping[str, Any]) -> None:
        """Learn how far the image moves in an exposure, by all that moves now.

        Parameters
        ----------
        motions : iterable of Motion
            The latest of each axis.
        now_s : float
            By the rehearsal's clock, in s.
        tomo : mapping
            What the run says of itself as a tomography; empty if it is none.
        """
        lever_px = _lever_px(tomo, self)
        camera = replace(self.facts, pixel_size_um=_pixel_size_um(tomo, self))
        squares = 0.0
        for motion in motions:
            if motion.end_s > now_s:
                self.sweeps[motion.axis.name] = motion
                speed = pixels_per_second(motion.facts, motion.speed, camera, lever_px)
                squares += (speed * self.facts.exposure_s) ** 2
        self.blur_px = max(self.blur_px, squares**0.5)


@dataclass
class AsItWouldBe:
    """A device by now, as far as the messages have told."""

    device: Any  # It must live: it is known by its id.
    facts: Any = None
    value: Any = None
    reading: Mapping[str, Any] | None = None
    motion: Motion | None = None
    stream: Taken | None = None
    train: PulseTrain | None = None
    pulsing: bool = False
    is_beam: bool = False
    #: What the plan had set of it when it told its facts, and when it was asked whether it can take frames.
    facts_by: Mapping[str, Any] = field(default_factory=dict)
    asked_by: Mapping[str, Any] = field(default_factory=dict)


def _pixel_size_um(tomo: Mapping[str, Any], stream: Taken) -> float:
    """Return the pixel in the plane of the sample, as the run tells it, or else the camera."""
    told = tomo if stream.camera == tomo.get("camera") else (tomo.get("more_cameras") or {})
    if told is not tomo:
        told = told.get(stream.camera, {})
    return float(told.get("pixel_size_um") or stream.facts.pixel_size_um)


def _lever_px(tomo: Mapping[str, Any], stream: Taken) -> float:
    """Return how far from the rotation axis a sample is seen, in px: to the farther edge if it is known."""
    width = stream.facts.shape[1]
    axis_px = tomo.get("rotation_axis_px")
    if axis_px is not None and stream.camera == tomo.get("camera", stream.camera):
        return float(max(axis_px, width - 1 - axis_px))
    return width * (1.0 if tomo.get("half_acquisition") else 0.5)
