"""A camera that a Tango server runs elsewhere: the session steers, the frames go past it."""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, cast

import numpy as np
from bluesky.protocols import Reading
from numpy.typing import NDArray

from concertino import CameraError, ConcertinoError
from concertino._tango_client import TangoClient, error_of
from concertino.frames import Claim, FrameRequest, FrameStream, Ledger, SubscriberLedger

from ._acquisition import Acquisition, happened
from ._acquisition_failures import started_twice
from ._camera import Camera
from ._frame_source import CameraSettings, Grab

_LOOK_S = 0.02
_LOOK_TRIGGERED_S = 0.003
_GONE_S = 6.0


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
        cast(TangoSource, self.source).take_over(described)
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

    async def _acquire(self, request: FrameRequest, wake: Callable[[], None]) -> Acquisition:
        settings = await self._settings(request)
        made = await asyncio.to_thread(
            self._client.ask,
            "Prepare",
            name=self.name,
            request=asdict(request),
            settings=asdict(settings),
            subscriber_timeout_s=self._subscriber_timeout_s,
        )
        cast(TangoSource, self.source).take_over(made)
        # The same to the plan; the thread that carries the frames is elsewhere.
        return cast(Acquisition, RemoteAcquisition(self._client, self.name, request, made, wake))

    async def stored_by(self) -> int:
        """Return how many subscribers store the frames of the present stream; asks the server."""
        self._prepared("tell who stores its frames")
        said = await asyncio.to_thread(self._client.call, "Progress")
        return len(said["claims"])

    async def _start(self, acquisition: Acquisition) -> None:
        # Not in the RunEngine's loop: a server that is gone answers late.
        await asyncio.to_thread(acquisition.start)

    async def _fire(self) -> None:
        await asyncio.to_thread(cast(TangoSource, self.source).trigger)

    async def exposures(self, since: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return when the frames of the present stream were exposed; as `Camera.exposures`."""
        self._prepared("tell its exposures")
        told = await asyncio.to_thread(self._client.call, "Exposures", since=since)
        numbers, times_ns = (np.array(told[key], np.int64) for key in ("numbers", "times_ns"))
        return numbers, times_ns

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
        raise CameraError(f"Camera {self._name} records at its server.")

    def grab(self, out: NDArray[Any]) -> Grab:
        """Refuse: the frames never come here."""
        raise CameraError(
            f"The frames of camera {self._name} go from its server to the subscribers."
        )


class RemoteStream:
    """The counters of a frame stream that is published elsewhere; as those of a `FrameStream`."""

    def __init__(self, name: str, made: dict[str, Any]) -> None:
        height, width = made["shape"]
        self.name = name
        self.address: str = made["address"]
        self.shape: tuple[int, int] = (height, width)
        self.dtype: np.dtype[Any] = np.dtype(made["dtype"])
        self.recorded = 0
        self.published = 0
        self.acknowledged = 0
        self.dropped: tuple[int, ...] = ()
        self.claims: tuple[Claim, ...] = ()
        self.error: BaseException | None = None

    def ledger(self) -> Ledger:
        """Return what is known when the server gave no account."""
        reason = "" if self.error is None else str(self.error)
        exposed = max(self.published + len(self.dropped), self.recorded)
        return Ledger(
            self.address, self.name, 0, exposed, self.published, self.dropped, "", (), reason,
            recorded=self.recorded,
        )  # fmt: skip


class RemoteAcquisition:
    """An acquisition at the server, followed from here; as an `Acquisition` to the camera.

    Parameters
    ----------
    client : TangoClient
        The server.
    camera : str
        Name of the camera in messages.
    request : FrameRequest
        What was asked.
    made : dict
        The server's answer to ``Prepare``.
    wake : callable
        Called in any thread whenever a counter changed.
    """

    def __init__(
        self,
        client: TangoClient,
        camera: str,
        request: FrameRequest,
        made: dict[str, Any],
        wake: Callable[[], None],
    ) -> None:
        self.request = request
        self.wanted = request.count
        self._remote = RemoteStream(f"{camera}/{request.kind}", made)
        self.stream = cast(FrameStream, self._remote)
        self.error: BaseException | None = None
        self.ledger: Ledger | None = None
        self.start_s = 0.0
        self.started = threading.Event()
        self.done = threading.Event()
        self._client = client
        self._camera = camera
        self._wake = wake
        self._asked_to_start = False
        self._ending = threading.Event()
        self._stopping = threading.Event()
        self._idle = threading.Event()
        threading.Thread(target=self._follow, name=f"{camera} progress", daemon=True).start()

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._asked_to_start and not self.done.is_set()

    @property
    def exposed(self) -> int:
        """Frames that the camera has exposed, be they on the stream already or not."""
        return max(self._remote.published + len(self._remote.dropped), self._remote.recorded)

    @property
    def ended_early(self) -> bool:
        """Whether it was ended before all frames of its request were exposed."""
        return self._ending.is_set() and self.exposed < (self.request.count or 0)

    def start(self) -> None:
        """Start exposing."""
        if self._asked_to_start:
            raise CameraError(started_twice(self._camera, self.request))
        self._asked_to_start = True
        self._client.call("Start")

    def request_stop(self) -> None:
        """Stop exposing; the stream ends soon."""
        if not self._stopping.is_set() and not self.done.is_set():
            self._stopping.set()
            # Not in the RunEngine's loop: a server that is gone answers late.
            threading.Thread(target=self._stop_server, name=f"{self._camera} stop").start()

    async def stop(self) -> None:
        """Stop exposing, and wait until the subscribers are done with the stream."""
        self.request_stop()
        # The server gives up a source that hangs, and `_follow` a server that does.
        while not await happened(self.done, _GONE_S):
            self._wake()

    #: Its server knows of sources that hang.
    hangs = False
    hanging = ""

    def note_trigger(self) -> None:
        """Do nothing: the server watches its source."""

    def check_silence(self) -> None:
        """Do nothing: the server's `Progress` tells."""

    def end(self) -> None:
        """Expose no more frames: those until now are all that the request is for."""
        self._ending.set()
        threading.Thread(target=self._end_at_server, name=f"{self._camera} end").start()

    async def ended(self) -> None:
        """Wait until nothing is exposed any more; frames may still become safe."""
        while not (self._idle.is_set() or self.done.is_set()):
            await asyncio.sleep(_LOOK_S)

    def check(self) -> None:
        """Raise what went wrong: the camera's failure, a subscriber's, or lost frames."""
        if self.error is not None:
            raise self.error
        if self.ledger is not None and self.request.on_lost == "fail":
            self.ledger.check()

    def _stop_server(self) -> None:
        try:
            self._client.call("Stop")
        except ConcertinoError as error:
            self.error = self.error or error

    def _end_at_server(self) -> None:
        try:
            self._client.call("End")
        except ConcertinoError as error:
            self.error = self.error or error
            self.request_stop()

    def _follow(self) -> None:
        heard_s = time.monotonic()
        pause_s = _LOOK_TRIGGERED_S if self.request.trigger == "software" else _LOOK_S
        while not self.done.is_set():
            try:
                self._note(self._client.call("Progress"))
                heard_s = time.monotonic()
            except ConcertinoError as error:
                gone = time.monotonic() - heard_s > _GONE_S
                if gone or "is not prepared for this session" in str(error):
                    self._lost(error)
            self._wake()
            self.done.wait(pause_s)

    def _lost(self, error: ConcertinoError) -> None:
        published = self._remote.published
        self.error = self._remote.error = CameraError(
            f"Camera {self._camera} was lost after {published} frames of {self.request.kind}, "
            f"{self._remote.acknowledged} of them safe: {error}"
        )
        self.started.set()
        self.done.set()

    def _note(self, said: dict[str, Any]) -> None:
        stream = self._remote
        stream.claims = tuple(Claim(**claim) for claim in said["claims"])
        stream.published, stream.acknowledged = said["published"], said["acknowledged"]
        stream.recorded = said["recorded"]
        stream.dropped = tuple(said["dropped"])
        if said["error"] is not None:
            self.error = stream.error = error_of(*said["error"])
        if said["ledger"] is not None:
            parties = tuple(SubscriberLedger(**party) for party in said["ledger"]["subscribers"])
            dropped = tuple(said["ledger"]["dropped"])
            self.ledger = Ledger(**{**said["ledger"], "subscribers": parties, "dropped": dropped})
        self.start_s = said["start_s"]
        if said["idle"]:
            self._idle.set()
        if said["started"]:
            self.started.set()
        if said["done"]:
            self.done.set()
