"""A camera that a Tango server runs elsewhere: the session steers, the frames go past it."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

import numpy as np
from bluesky.protocols import Reading
from numpy.typing import NDArray

from concertino import CameraError, ConcertinoError
from concertino._tango_client import TangoClient
from concertino.devices.camera._acquisition import PATIENCE_S, PREPARES
from concertino.devices.camera._camera import Camera
from concertino.devices.camera._camera_setting import SETTINGS, CameraSetting, SettingValue
from concertino.devices.camera._frame_source import CameraSettings, FrameSource, Grab
from concertino.devices.camera._held_settings import HeldSettings, held_of
from concertino.devices.camera._remote_acquisition import AnyAcquisition, RemoteAcquisition
from concertino.frames import FrameRequest

T = TypeVar("T")
#: What a server said of its settings counts as the present for so long, in s.
_PRESENT_S = 0.2


class TangoCamera(Camera):
    """A camera behind ``concertino tango camera``, for the same plans as one in this process.

    The settings of the server's source are signals here as of a camera in this process. They are held at the server, which
    shows them to other clients of Tango, too, and lets these set them while no session uses the camera.

    Parameters
    ----------
    address : str
        ``host:port`` of the server, or a whole Tango address.
    exposure : float
        Initial exposure time in seconds.
    frame_rate : float
        Initial frame rate in Hz; 0 for as fast as possible.
    subscriber_timeout_s : float
        How long a subscriber may be silent, in seconds.
    frame_timeout_s : float
        As for `Camera`, in seconds; its server watches over that. A server that does not answer for 6 s is lost.
    name : str
        Name of the device.

    Raises
    ------
    DeviceError
        If the server does not answer.
    ConcertinoError
        If PyTango is not installed.
    """

    source: "TangoSource"

    def __init__(
        self,
        address: str,
        *,
        exposure: float = 0.01,
        frame_rate: float = 0.0,
        subscriber_timeout_s: float = 30.0,
        frame_timeout_s: float = PATIENCE_S,
        name: str = "camera",
    ) -> None:
        self._client = TangoClient(address, "camera")
        super().__init__(
            TangoSource(self._client, name),
            exposure=exposure,
            frame_rate=frame_rate,
            subscriber_timeout_s=subscriber_timeout_s,
            frame_timeout_s=frame_timeout_s,
            name=name,
        )

    @property
    def address(self) -> str:
        """Where its server is, such as ``tango://host:port/concertino/camera/1#dbase=no``."""
        return self._client.address

    def _settings_of(self, source: FrameSource) -> HeldSettings:
        return ServedSettings(self.source)

    async def _get(self, name: str) -> SettingValue:
        return await asyncio.to_thread(self._held.get, name)

    async def read_settings(self) -> dict[str, Reading[Any]]:
        """Return what the frames depend on; pixel size and shape are asked of the server."""
        await asyncio.to_thread(self._held.ask)
        return await super().read_settings()

    async def _checked(
        self, request: FrameRequest, values: Mapping[str, SettingValue]
    ) -> tuple[FrameRequest, CameraSettings]:
        if request.retrospective is not None:
            raise CameraError(
                f"Camera {self.name} was asked to keep frames from before a trigger; its frames wait at "
                "its server, which hears of no trigger. Use a camera of this process."
            )
        return await super()._checked(request, values)

    async def _acquire(self, request: FrameRequest, wake: Callable[[], None]) -> RemoteAcquisition:
        settings = await self._settings(request)
        made = await asyncio.to_thread(
            self._client.ask,
            "Prepare",
            PREPARES * self._frame_timeout_s,
            name=self.name,
            addressed=self._addressed,
            request=asdict(request),
            settings=asdict(settings),
            subscriber_timeout_s=self._subscriber_timeout_s,
            frame_timeout_s=self._frame_timeout_s,
        )
        self.source.take_over(made)
        return RemoteAcquisition(self._client, self.name, request, made, wake)

    async def stored_by(self) -> int:
        """Return how many subscribers store the frames of the present stream; asks the server."""
        self._prepared("tell who stores its frames")
        said = await asyncio.to_thread(self._client.call, "Progress")
        return len(said["claims"])

    async def _start(self, acquisition: AnyAcquisition) -> None:
        # Not in the RunEngine's loop: a server that is gone answers late.
        await asyncio.to_thread(acquisition.start)

    async def _fire(self) -> None:
        await self._answer(self.source.trigger)

    async def _answer(self, ask: Callable[[], T]) -> T:
        """Return what the server answers, unless it is lost meanwhile."""
        acquisition = self._prepared("ask its server")
        assert isinstance(acquisition, RemoteAcquisition)
        return await acquisition.answer(ask)

    async def exposures(self, since: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return when the frames of the present stream were exposed; as `Camera.exposures`."""
        acquisition = self._prepared("tell its exposures")
        return await self._answer(partial(acquisition.exposures, since))

    async def clock(self) -> float:
        """Return what the clock of the server's time stamps shows now, in s since the epoch."""
        return float(await asyncio.to_thread(self._client.call, "Clock"))

    async def _stop(self) -> None:
        await super()._stop()
        try:
            await asyncio.to_thread(self._client.call, "Release")
        except ConcertinoError:
            return  # A server that is gone serves nobody.


class ServedSettings(HeldSettings):
    """The settings that a server holds.

    Parameters
    ----------
    source : TangoSource
        What is known here of its source.
    """

    def __init__(self, source: "TangoSource") -> None:
        self._served = source
        self._asked_s = -math.inf
        super().__init__(source)

    def ask(self) -> None:
        """Ask the server what can be set, and what is."""
        self._served.refresh()
        self._note()

    def get(self, name: str) -> SettingValue:
        """Return what a setting is at the server."""
        if time.monotonic() - self._asked_s > _PRESENT_S:
            self.ask()
        return super().get(name)

    def put(self, camera: str, name: str, value: object) -> SettingValue:
        """Have the server note what a setting shall be."""
        checked = self.check(camera, name, value)
        self._served.set(camera, name, checked)
        self._note()
        return self.values[name]

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (height, width) of the next request's frames, in pixels, as the server says."""
        return self._served.shape

    def _note(self) -> None:
        super().ask()
        self.values = held_of(self.described)
        self._asked_s = time.monotonic()


class TangoSource:
    """What is known here of the server's frame source.

    Parameters
    ----------
    client : TangoClient
        The server.
    name : str
        Name of the camera in messages.
    """

    def __init__(self, client: TangoClient, name: str) -> None:
        self._client = client
        self._name = name
        self.take_over(client.call("Describe"))

    def take_over(self, described: dict[str, Any]) -> None:
        """Note shape, pixel type and size."""
        height, width = described["shape"]
        self.shape: tuple[int, int] = (height, width)
        self.dtype: np.dtype[Any] = np.dtype(described["dtype"])
        self.pixel_size_um: float = described["pixel_size_um"]
        self.first_number: int | None = described.get("first_number")
        self.memory_bytes: int = described.get("memory_bytes", 0)
        self._settings = SETTINGS.validate_python(described.get("settings", ()))

    def refresh(self) -> None:
        """Ask the server what its frames are, and what can be set."""
        self.take_over(self._client.call("Describe"))

    def settings(self) -> tuple[CameraSetting, ...]:
        """Return what the server said last of its settings."""
        return self._settings

    def set(self, camera: str, name: str, value: SettingValue) -> None:
        """Have the server set something."""
        self.take_over(self._client.call("Set", camera=camera, name=name, value=value))

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        """Have the server check a request."""
        self._client.ask(
            "Check", name=self._name, request=asdict(request), settings=asdict(settings)
        )

    def start(self) -> None:
        """Start exposing."""
        self._client.call("Start")

    def trigger(self) -> None:
        """Take one frame."""
        self._client.call("Trigger")

    def stop(self) -> None:
        """Stop exposing."""
        self._client.call("Stop")

    def record(self) -> int:
        """Refuse: recording is the server's, too."""
        raise CameraError(
            f"Camera {self._name} records at its server; use it through a TangoCamera."
        )

    def grab(self, out: NDArray[Any]) -> Grab:
        """Refuse: the frames never come here."""
        raise CameraError(
            f"The frames of camera {self._name} go from its server to the subscribers; subscribe to "
            "its stream to read them."
        )
