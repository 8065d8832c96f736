"""A camera that a Tango server runs elsewhere: the session steers, the frames go past it."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from bluesky.protocols import Reading
from numpy.typing import NDArray

from concertino import CameraError, ConcertinoError
from concertino._tango_client import TangoClient
from concertino.devices.camera._camera import Camera
from concertino.devices.camera._frame_source import CameraSettings, Grab
from concertino.devices.camera._remote_acquisition import AnyAcquisition, RemoteAcquisition
from concertino.frames import FrameRequest


class TangoCamera(Camera):
    """A camera behind ``concertino tango camera``, for the same plans as one in this process.

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
        name: str = "camera",
    ) -> None:
        self._client = TangoClient(address, "camera")
        super().__init__(
            TangoSource(self._client, name),
            exposure=exposure,
            frame_rate=frame_rate,
            subscriber_timeout_s=subscriber_timeout_s,
            name=name,
        )

    async def read_settings(self) -> dict[str, Reading[Any]]:
        """Return what the frames depend on; pixel size and shape are asked of the server."""
        described = await asyncio.to_thread(self._client.call, "Describe")
        self.source.take_over(described)
        return await super().read_settings()

    async def check_request(self, request: FrameRequest) -> None:
        """Check whether the server's camera can do what is asked.

        Raises
        ------
        CameraError
            If it cannot.
        """
        if request.retrospective is not None:
            raise CameraError(
                f"Camera {self.name} was asked to keep frames from before a trigger; its frames wait at "
                "its server, which hears of no trigger. Use a camera of this process."
            )
        await super().check_request(request)

    async def _acquire(self, request: FrameRequest, wake: Callable[[], None]) -> RemoteAcquisition:
        settings = await self._settings(request)
        made = await asyncio.to_thread(
            self._client.ask,
            "Prepare",
            name=self.name,
            request=asdict(request),
            settings=asdict(settings),
            subscriber_timeout_s=self._subscriber_timeout_s,
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
        await asyncio.to_thread(self.source.trigger)

    async def exposures(self, since: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return when the frames of the present stream were exposed; as `Camera.exposures`."""
        return await asyncio.to_thread(self._prepared("tell its exposures").exposures, since)

    async def clock(self) -> float:
        """Return what the clock of the server's time stamps shows now, in s since the epoch."""
        return float(await asyncio.to_thread(self._client.call, "Clock"))

    async def _stop(self) -> None:
        await super()._stop()
        try:
            await asyncio.to_thread(self._client.call, "Release")
        except ConcertinoError:
            return  # A server that is gone serves nobody.


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
