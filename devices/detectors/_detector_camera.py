"""Detectors of ophyd-async that write files of their own, in every imaging plan."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from bluesky.protocols import Reading
from event_model import DataKey
from ophyd_async.core import (
    DEFAULT_TIMEOUT,
    LazyMock,
    SignalR,
    StandardDetector,
    soft_signal_r_and_setter,
)

from concertino.devices.camera._acquisition import PATIENCE_S
from concertino.devices.camera._camera import Camera
from concertino.devices.camera._camera_setting import SettingValue
from concertino.devices.camera._frame_source import CameraSettings
from concertino.frames import FrameRequest

from ._detector_source import DetectorSource
from ._exposure_counter import exposure_counter
from ._trigger_info import check_keeps_none


class DetectorCamera(Camera):
    """A camera over a detector that writes its own files: any `StandardDetector` of ophyd-async.

    What the detector writes is the run's data, described by its own documents; nothing is stored again. Frames are
    read from the growing file, for who reconstructs, shows or watches, and the ledger compares what the detector
    exposed with what its file holds. Software triggers need a trigger logic with internal triggers; frames cannot
    be kept for later.

    Parameters
    ----------
    detector : StandardDetector
        The detector. It is staged, prepared and unstaged here; `connect` and the name are passed on to it.
    exposed : SignalR, optional
        Counts its exposures, whatever becomes of them; of an areaDetector by default its driver's array counter.
        Without one, exposed is what the detector counts as written.
    data_key : str
        Which images are the frames, when it has several writers: the name in its documents, or what follows the
        detector's name there. With one writer nothing needs to be said.
    pixel_size_um : float
        Effective pixel size in um; 0 when unknown.
    exposure, frame_rate
        As of `Camera`; given to the detector as live time and dead time.
    ring_bytes, subscriber_timeout_s, stream_address
        As of `Camera`.
    frame_timeout_s : float
        As of `Camera`. A frame that was exposed is lost when the file has not grown for half of it.
    name : str
        Name of the device, and of the detector; the detector's own by default.

    Notes
    -----
    `frame_shape` is what an areaDetector's driver tells when it is connected, and what it describes whenever a plan
    asks whether it can take frames. Of other detectors it is unknown before the first plan, (0, 0). The times of
    frames are the stamps that an areaDetector keeps in its HDF5 file, of the end of each exposure, less half of it. In
    other files there are none, and a clock that is off by a second is not believed: then the times are when the frames had
    been counted as written, some hundredths of a second late.
    """

    #: Nobody else needs to.
    stores_frames = True

    def __init__(
        self,
        detector: StandardDetector,
        *,
        exposed: SignalR[int] | None = None,
        data_key: str = "",
        pixel_size_um: float = 0.0,
        exposure: float = 0.01,
        frame_rate: float = 0.0,
        ring_bytes: int = 256 * 2**20,
        subscriber_timeout_s: float = 30.0,
        frame_timeout_s: float = PATIENCE_S,
        stream_address: str = "tcp://127.0.0.1:0",
        name: str = "",
    ) -> None:
        counter = exposure_counter(detector) if exposed is None else exposed
        self._own = DetectorSource(
            detector,
            counter,
            pixel_size_um=pixel_size_um,
            patience_s=frame_timeout_s,
            data_key=data_key,
        )
        self.own_files, _ = soft_signal_r_and_setter(bool, True)
        super().__init__(
            self._own,
            exposure=exposure,
            frame_rate=frame_rate,
            ring_bytes=ring_bytes,
            subscriber_timeout_s=subscriber_timeout_s,
            frame_timeout_s=frame_timeout_s,
            stream_address=stream_address,
            name=name or detector.name,
        )
        self.ledger.self_stored = True

    @property
    def address(self) -> str:
        """Where its exposures are counted, such as ``ca://SIM:cam1:ArrayCounter_RBV``; empty when nothing counts them."""
        return self._own.address

    @property
    def detector(self) -> StandardDetector:
        """The detector."""
        return self._own.detector

    def set_name(self, name: str, *, child_name_separator: str | None = None) -> None:
        """Name the camera, and the detector, whose name its documents have."""
        super().set_name(name, child_name_separator=child_name_separator)
        if name and self.detector.name != name:
            self.detector.set_name(name, child_name_separator=child_name_separator)

    async def connect(
        self,
        mock: bool | LazyMock[Any] = False,
        timeout: float = DEFAULT_TIMEOUT,
        force_reconnect: bool = False,
    ) -> None:
        """Connect the detector, too."""
        await super().connect(mock, timeout, force_reconnect)
        await self.detector.connect(mock, timeout, force_reconnect)
        if not mock:
            await self._own.know_shape()

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Shape (height, width) of a frame in pixels; (0, 0) while it is unknown."""
        return self._own.shape

    @property
    def frame_bytes(self) -> int:
        """Size of a frame in bytes; 0 while it is unknown."""
        height, width = self._own.shape
        return height * width * self._own.dtype.itemsize

    async def describe(self) -> dict[str, DataKey]:
        """Describe what the detector writes: its frames, and numbers of each frame if it has some."""
        await self._be_prepared()
        return dict(self._own.data_keys)

    async def read_configuration(self) -> dict[str, Reading[Any]]:
        """Return the camera's configuration, and the detector's."""
        own = await super().read_configuration()
        return {**await self.detector.read_configuration(), **own}

    async def describe_configuration(self) -> dict[str, DataKey]:
        """Describe what `read_configuration` returns."""
        own = await super().describe_configuration()
        return {**await self.detector.describe_configuration(), **own}

    async def _checked(
        self, request: FrameRequest, values: Mapping[str, SettingValue]
    ) -> tuple[FrameRequest, CameraSettings]:
        check_keeps_none(self.name, request)
        return await super()._checked(request, values)

    async def stored_by(self) -> int:
        """Return how many store the frames of the present stream: the detector does."""
        return 1 + await super().stored_by()

    async def get_index(self) -> int:
        """Return how many frames are safe: in the file, and taken by all who must have them."""
        return 0 if self._acquisition is None else self._acquisition.stream.acknowledged

    async def _documents(self, index: int | None) -> AsyncIterator[tuple[str, Any]]:
        safe = await self.get_index()
        async for document in self._own.described(safe if index is None else min(index, safe)):
            yield document

    @property
    def _configuration(self) -> tuple[SignalR[Any], ...]:
        return (*super()._configuration, self.own_files)
