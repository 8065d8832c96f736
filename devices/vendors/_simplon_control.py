"""A DECTRIS detector is configured, armed, triggered and disarmed for one frame stream after the other."""

import logging
import queue
import threading
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from concertino import CameraError
from concertino.devices.camera._frame_source import CameraSettings
from concertino.frames import FrameRequest

from ._simplon import Simplon

LOG = logging.getLogger(__name__)

#: Arming sets thresholds and may take so long, in seconds.
_ARMS_S = 30.0
#: A series without end is given up by the thread that triggered it after so many seconds.
_LONGEST_S = 86400.0
_WITHOUT_END = 1_000_000
_LOOK_S = 0.5


@dataclass(frozen=True)
class DetectorFrame:
    """What the images of a detector are: shape (height, width), type, and pixel size in um (0: unknown)."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    pixel_size_um: float


class SimplonControl:
    """Has a detector do what a request asks for.

    Parameters
    ----------
    simplon : Simplon
        Its server.
    stream_format : {"cbor", "legacy"}
        Which messages it shall stream: V2 or V1.
    edge : {"exts", "exte"}
        What a pulse does in a request for pulses: start an exposure, or last as long as one.
    """

    def __init__(
        self,
        simplon: Simplon,
        stream_format: Literal["cbor", "legacy"],
        edge: Literal["exts", "exte"],
    ) -> None:
        self._simplon = simplon
        self._format = stream_format
        self._edge = edge
        self._lock = threading.Lock()
        self._triggers: _Triggers | None = None
        self._modes: dict[str, tuple[str, bool]] = {
            "internal": ("ints", True), "software": ("ints", False), "edge": (edge, False),
        }  # fmt: skip

    @property
    def error(self) -> CameraError | None:
        """Why a trigger was not taken, or None."""
        return None if self._triggers is None else self._triggers.error

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        """Configure the detector; may be done again and again.

        Raises
        ------
        CameraError
            If it is busy, or cannot do what is asked.
        """
        self._be_idle()
        simplon = self._simplon
        simplon.set("mode", "enabled", "stream")
        simplon.set("format", self._format, "stream")
        if settings.exposure_s > 0:
            self._set_time("count_time", settings.exposure_s, request)
        exposure_s = simplon.value("count_time")
        readout_s = simplon.value("detector_readout_time")
        own_pace = request.trigger == "internal" and settings.frame_rate_hz > 0
        period_s = exposure_s + readout_s
        if own_pace:
            # The rate that an exposure just allows is meant to be its rate.
            period_s = max(1 / settings.frame_rate_hz, period_s)
        self._set_time("frame_time", period_s, request)
        mode, at_once = self._modes[request.trigger]
        many, one = ("nimages", "ntrigger") if at_once else ("ntrigger", "nimages")
        most = int(simplon.entry(many).get("max", _WITHOUT_END))
        count = most if request.count is None else request.count
        if count > most:
            raise CameraError(
                f"The detector at {simplon.url} was asked for {count} frames of {request.kind}; it takes at most {most} a series. "
                "Ask for fewer."
            )
        simplon.set("trigger_mode", mode)
        simplon.set(one, 1)
        simplon.set(many, count)
        self._fires = 1 if at_once else count if request.trigger == "software" else 0
        self._at_once = at_once
        self._takes_s = min(_LONGEST_S, period_s * (count if at_once else 1))

    def frame(self) -> DetectorFrame:
        """Return what its images are."""
        value = self._simplon.value
        height, width = (int(value(f"{axis}_pixels_in_detector")) for axis in "yx")
        bits = int(value("bit_depth_image"))
        return DetectorFrame(
            (height, width), np.dtype(f"u{bits // 8}"), 1e6 * value("x_pixel_size")
        )

    def arm(self) -> int:
        """Arm the detector, and return the number of its series.

        Raises
        ------
        CameraError
            If it refuses.
        """
        with self._lock:
            answer = self._simplon.command("arm", takes_s=_ARMS_S)
            try:
                series = int(answer["sequence id"])
            except (KeyError, TypeError, ValueError) as error:
                raise CameraError(
                    f"The detector's control at {self._simplon.url} was asked to arm and answered {dict(answer)}, which "
                    "has no 'sequence id'. Check that a SIMPLON API is there."
                ) from error
            self._triggers = _Triggers(self._simplon, self._fires, self._takes_s)
            return series

    def begin(self) -> None:
        """Have it expose, if it does so at its own pace."""
        if self._at_once:
            self.trigger()

    def trigger(self) -> None:
        """Start one exposure; returns at once."""
        if self._triggers is not None:
            self._triggers.fire()

    def end(self, *, complete: bool) -> None:
        """Disarm the detector, if it is armed: in good order if all images came, at once if not."""
        with self._lock:
            triggers, self._triggers = self._triggers, None
            if triggers is None:
                return
            ended = complete and triggers.finish()
            try:
                if not ended:
                    self._simplon.command("disarm" if complete else "abort")
            except CameraError as error:
                LOG.warning("The detector could not be disarmed. %s", error)
            triggers.close()

    def _be_idle(self) -> None:
        state = self._simplon.state
        if state == "ready":  # armed by somebody who is gone
            self._simplon.command("disarm")
        elif state != "idle":
            raise CameraError(
                f"The detector at {self._simplon.url} is in state {state!r}, and it must be 'idle' to be configured. "
                "Wait for what it does, or initialize it or abort its series with its own program."
            )

    def _set_time(self, key: str, value_s: float, request: FrameRequest) -> None:
        """Set a time, and check that the detector took it."""
        entry = self._simplon.entry(key)
        least, most = (float(entry.get(name, value_s)) for name in ("min", "max"))
        if least <= value_s <= most:
            self._simplon.set(key, value_s)
            got = self._simplon.value(key)
            if abs(got - value_s) <= 0.01 * value_s:
                return
            found = f"it took {got:g} s"
        else:
            found = f"it takes {least:g} s to {most:g} s"
        raise CameraError(
            f"The detector at {self._simplon.url} was asked for a {key} of {value_s:g} s for {request.kind}; {found}. "
            "Set the camera's exposure and frame_rate to what it can do."
        )


class _Triggers:
    """Gives a detector its triggers in a thread of its own: the server answers when the exposures are done.

    After the last one it disarms, so that the series ends and what is lost is known.
    """

    def __init__(self, simplon: Simplon, count: int, takes_s: float) -> None:
        self._simplon = simplon
        self._count = count
        self._takes_s = takes_s
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._disarmed = False
        self.error: CameraError | None = None
        self._thread = threading.Thread(target=self._run, name="detector triggers", daemon=True)
        self._thread.start()

    def fire(self) -> None:
        """Ask for a trigger."""
        self._asked.put(True)

    def finish(self) -> bool:
        """Wait until all triggers are done; return whether the detector was disarmed."""
        if self._count:
            self._thread.join(timeout=self._takes_s + 1)
        return self._disarmed

    def close(self) -> None:
        """Give no more triggers."""
        self._closed.set()
        self._thread.join(timeout=2 * _LOOK_S)

    def _run(self) -> None:
        try:
            for _ in range(self._count):
                if not self._wait():
                    return
                self._simplon.command("trigger", takes_s=self._takes_s)
            if self._count and not self._closed.is_set():
                self._simplon.command("disarm")
                self._disarmed = True
        except CameraError as error:
            if not self._closed.is_set():
                self.error = error

    def _wait(self) -> bool:
        """Wait for a trigger to be asked for; return False when there will be none."""
        while not self._closed.is_set():
            try:
                return self._asked.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
        return False
