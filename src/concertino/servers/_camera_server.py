"""A Tango server that publishes a camera's frames where it is."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, cast

import numpy as np
from tango import AttrWriteType, DevState
from tango.server import attribute, device_property

from concertino import CameraError, SessionError
from concertino.devices import (
    Acquisition,
    AcquisitionProgress,
    CameraSettings,
    FrameSource,
    HeldSettings,
    TellsClock,
    TellsFirstNumber,
    TellsMemory,
    TriggeredFrameSource,
    check_software_trigger,
)
from concertino.frames import FrameRequest, FrameStream

from ._served import Served, json_command
from ._served_source import served_source
from ._setting_attributes import attribute_names, setting_attribute


class CameraServer(Served):
    """Publishes the frames of a camera on frame streams, steered by a session elsewhere."""

    KIND = "camera"
    make_source: ClassVar[Callable[[], FrameSource]]
    host = device_property(
        dtype=str, default_value="127.0.0.1", doc="Network address at which frames are published."
    )
    stream_address = device_property(
        dtype=str,
        default_value="",
        doc="Instead: where frames are published, such as tcp://host:5555/*.",
    )
    ring_bytes = device_property(
        dtype=int, default_value=256 * 2**20, doc="Memory for frames on their way, in bytes."
    )

    def init_device(self) -> None:
        """Open the camera."""
        super().init_device()
        self._source = served_source(type(self).make_source())
        self._held = HeldSettings(self._source)
        self._acquisition: Acquisition | None = None
        self._prepared_for = ""
        self._ring: Any = None

    @attribute(dtype=int, access=AttrWriteType.READ, unit="px", doc="Height of a frame.")
    def height(self) -> int:
        """Height of a frame."""
        return int(self._source.shape[0])

    @attribute(dtype=int, access=AttrWriteType.READ, unit="px", doc="Width of a frame.")
    def width(self) -> int:
        """Width of a frame."""
        return int(self._source.shape[1])

    @attribute(dtype=float, access=AttrWriteType.READ, unit="um", doc="Effective pixel size.")
    def pixel_size(self) -> float:
        """Effective pixel size."""
        return float(self._source.pixel_size_um)

    @attribute(dtype=int, access=AttrWriteType.READ, unit="frame", doc="Frames published.")
    def published(self) -> int:
        """Frames published on the present stream."""
        return 0 if self._acquisition is None else self._acquisition.stream.published

    @json_command
    def Describe(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return shape, pixel type and pixel size."""
        return self._described()

    def initialize_dynamic_attributes(self) -> None:
        """Show each setting of the camera as an attribute, which can be written while no session uses it."""
        described = self._held.described
        shown = self.get_device_attr()
        own = {shown.get_attr_by_ind(n).get_name().lower() for n in range(shown.get_attr_nb())}
        settings = {name: described[name] for name in self._held.values}
        for name, setting in attribute_names(settings, own).items():
            self.add_attribute(
                setting_attribute(name, described[setting], self._held.get, partial(self._put, ""))
            )

    @json_command
    def Set(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Note what a setting shall be; answers as ``Describe``."""
        self._put(asked["session"], asked["name"], asked["value"], asked["camera"])
        return self._described()

    @json_command
    def Prepare(self, asked: dict[str, Any]) -> Any:
        """Prepare a stream of frames; the answer has its address."""
        self.take_lease(asked["session"])
        return self.submit(lambda: self._prepare(asked))

    @json_command
    def Check(self, asked: dict[str, Any]) -> Any:
        """Check whether the camera can do what is asked."""
        self.take_lease(asked["session"])
        return self.submit(lambda: self._prepare_source(asked))

    @json_command
    def Start(self, asked: dict[str, Any]) -> None:
        """Start exposing."""
        self._mine(asked).start()
        self.set_state(DevState.RUNNING)

    @json_command
    def Exposures(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return numbers and times in ns of the frames from ``since`` on."""
        # A plan asks for them also when its stream has ended and the camera was let go.
        own = self._acquisition if self._prepared_for == asked["session"] else None
        numbers, times_ns = (own or self._mine(asked)).exposures(asked["since"])
        return {"numbers": numbers.tolist(), "times_ns": times_ns.tolist()}

    @json_command
    def Clock(self, asked: dict[str, Any]) -> float:
        """Return what the clock of the time stamps shows now, in seconds."""
        return float(self._source.clock()) if isinstance(self._source, TellsClock) else time.time()

    @json_command
    def Trigger(self, asked: dict[str, Any]) -> None:
        """Take one frame."""
        self._mine(asked).note_trigger()
        cast(TriggeredFrameSource, self._source).trigger()  # as was checked

    @json_command
    def Stop(self, asked: dict[str, Any]) -> None:
        """Stop exposing; the stream ends soon."""
        if self._acquisition is not None and self.lease.holder == asked["session"]:
            self._acquisition.request_stop()

    @json_command
    def End(self, asked: dict[str, Any]) -> None:
        """Expose no more; what was exposed is all that is wanted."""
        self._mine(asked).end()

    @json_command
    def Progress(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return the counters of the stream; the session shows with it that it lives."""
        acquisition = self._mine(asked)
        acquisition.check_silence()
        progress = AcquisitionProgress.of(acquisition)
        if progress.done and self.get_state() == DevState.RUNNING:
            self.set_state(DevState.STANDBY)
        return progress.to_json()

    def session_lost(self, session: str) -> None:
        """Stop exposing and fail the stream."""
        self.ended(f"the session was not heard of for {self.lease_seconds:g} s: {session}")

    def ended(self, reason: str) -> None:
        """Stop exposing and fail the stream."""
        acquisition = self._acquisition
        if acquisition is not None and not acquisition.done:
            acquisition.stream.fail(SessionError(reason))
            asyncio.run(acquisition.stop())
        self.set_state(DevState.STANDBY)

    def _put(self, session: str, name: str, value: object, camera: str = "") -> None:
        """Note what a setting shall be, for a session, or for a client of Tango that has none."""
        holder = self.lease.holder
        if holder not in ("", session):
            raise SessionError(
                f"The camera server was asked to set {name}, and serves a session: {holder}. Wait until its run is "
                "over, or set it there."
            )
        acquisition = self._acquisition
        if acquisition is not None and acquisition.running:
            raise CameraError(
                f"The camera server was asked to set {name} while it takes {acquisition.request.kind}. Wait until "
                "it has them, and set it then."
            )
        self._held.put(camera or self.get_name(), name, value)

    def _prepare_source(self, asked: dict[str, Any]) -> None:
        camera = asked["name"]
        request, settings = _request_of(asked)
        check_software_trigger(camera, request, self._source)
        if self._acquisition is None or not self._acquisition.running:
            self._held.ask()
        values = {
            name: self._held.check(camera, name, value) for name, value in settings.values.items()
        }
        self._held.values = {**self._held.values, **values}
        settings = replace(
            settings,
            values=self._held.checked(camera, settings.exposure_s, settings.frame_rate_hz),
        )
        self._source.prepare(self._held.as_the_mode_says(camera, request), settings)
        self._held.taken(settings.values)

    def _prepare(self, asked: dict[str, Any]) -> dict[str, Any]:
        request, settings = _request_of(asked)
        if self._acquisition is not None:
            self._acquisition.check_free(asked["name"], request)
            asyncio.run(self._acquisition.stop())
        self._prepare_source(asked)
        stream = FrameStream(
            self.stream_address or f"tcp://{self.host}:0",
            shape=self._source.shape,
            dtype=self._source.dtype,
            name=f"{asked['name']}/{request.kind}",
            ring_bytes=self.ring_bytes,
            timeout_s=asked["subscriber_timeout_s"],
            patience_s=settings.patience_s(request),
            ring=self._ring,
        )
        self._ring = stream.ring
        self._prepared_for = asked["session"]
        told = {"patience_s": asked["frame_timeout_s"]} if "frame_timeout_s" in asked else {}
        self._acquisition = Acquisition(
            asked.get("addressed", asked["name"]), self._source, stream, request, lambda: None,
            expected_s=settings.expected_s(request.trigger), **told,
            trigger=self._held.as_the_mode_says(asked["name"], request).trigger,
        )  # fmt: skip
        return {"address": stream.address, **self._described()}

    def _described(self) -> dict[str, Any]:
        return {
            "shape": list(self._held.shape),
            "dtype": np.dtype(self._source.dtype).str,
            "pixel_size_um": float(self._source.pixel_size_um),
            "first_number": (
                self._source.first_number if isinstance(self._source, TellsFirstNumber) else None
            ),
            "memory_bytes": (
                int(self._source.memory_bytes) if isinstance(self._source, TellsMemory) else 0
            ),
            "settings": self._held.to_json(),
        }

    def _mine(self, asked: dict[str, Any]) -> Acquisition:
        if self.lease.holder != asked["session"] or self._acquisition is None:
            raise SessionError(
                f"The camera server is not prepared for this session; it serves "
                f"{self.lease.holder or 'nobody'}. Prepare it again."
            )
        self.lease.renew(asked["session"])
        return self._acquisition


def _request_of(asked: dict[str, Any]) -> tuple[FrameRequest, CameraSettings]:
    return FrameRequest(**asked["request"]), CameraSettings(**asked["settings"])
