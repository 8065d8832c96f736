"""What a camera says in a run's documents: which frames there are, and how they were taken."""

import asyncio
import logging
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from bluesky.protocols import (
    Collectable,
    Hints,
    Readable,
    Reading,
    StreamAsset,
    WritesStreamAssets,
)
from event_model import DataKey
from ophyd_async.core import Device, SignalR, SignalRW, merge_gathered_dicts

from concertino import CameraError
from concertino.frames import StreamAssets

from ._remote_acquisition import AnyAcquisition

LOG = logging.getLogger(__name__)

_LOOK_S = 0.5


class CameraSettingsReadout(Readable[Any]):
    """Reads a camera's settings; takes no frames.

    Parameters
    ----------
    name : str
        Of the camera.
    signals : sequence of SignalR
        What is read.
    """

    parent = None

    def __init__(self, name: str, signals: Sequence[SignalR[Any]]) -> None:
        self._name = f"{name}-settings"
        self._signals = signals

    @property
    def name(self) -> str:
        """Name of the camera, and ``-settings``."""
        return self._name

    @property
    def hints(self) -> Hints:
        """Nothing that could be plotted."""
        return {}

    async def read(self) -> dict[str, Reading[Any]]:
        """Read the settings."""
        return await merge_gathered_dicts(signal.read() for signal in self._signals)

    async def describe(self) -> dict[str, DataKey]:
        """Describe the settings."""
        return await merge_gathered_dicts(signal.describe() for signal in self._signals)


class CameraDocuments(Device, Readable[Any], Collectable, WritesStreamAssets):
    """The part of `Camera` that describes frames; they stand in the documents when they are safe."""

    exposure: SignalRW[float]
    frame_rate: SignalRW[float]
    frames: SignalR[str]
    preview: SignalR[str]
    pixel_size: SignalR[float]
    first_number: SignalR[int]
    _acquisition: AnyAcquisition | None
    _assets: StreamAssets | None
    _changed: asyncio.Event
    _stepping = False
    #: Whether nobody has looked yet who stores the frames.
    _unasked = False

    @abstractmethod
    async def _be_prepared(self) -> None:
        """Prepare an endless stream when nothing is, for plans of bluesky."""

    @property
    def hints(self) -> Hints:
        """Nothing that could be plotted."""
        return {}

    async def read(self) -> dict[str, Reading[Any]]:
        """Return nothing: the frames are external."""
        return {}

    async def describe(self) -> dict[str, DataKey]:
        """Describe the frames; prepares an endless stream of software triggers when none is."""
        await self._be_prepared()
        stream = self._prepared("describe").stream
        return {
            self.name: DataKey(
                source=stream.address,
                shape=[1, *stream.shape],
                dtype="array",
                dtype_numpy=stream.dtype.str,
                external="STREAM:",
            )
        }

    async def describe_collect(self) -> dict[str, DataKey]:
        """Describe the frames."""
        return await self.describe()

    async def read_configuration(self) -> dict[str, Reading[Any]]:
        """Return exposure, frame rate, pixel size, first number and address of the frame stream."""
        await self._be_prepared()
        return await merge_gathered_dicts(signal.read() for signal in self._configuration)

    async def describe_configuration(self) -> dict[str, DataKey]:
        """Describe what `read_configuration` returns."""
        return await merge_gathered_dicts(signal.describe() for signal in self._configuration)

    @property
    def settings_readout(self) -> "CameraSettingsReadout":
        """What can be read of the camera without taking frames, as for a baseline."""
        return CameraSettingsReadout(self.name, (*self._settings_read, self.first_number))

    async def stored_by(self) -> int:
        """Return how many subscribers store the frames of the present stream."""
        return len(self._prepared("tell who stores its frames").stream.claims)

    async def warn_unless_stored(self) -> None:
        """Log a warning when nobody stores the frames that are about to be exposed."""
        acquisition = self._prepared("expose")
        if not await self.stored_by():
            LOG.warning(
                "Camera %s is about to expose %s, and nobody stores the frames: they will be lost. "
                "Subscribe an ImageWriter() before, if they are to be kept.",
                self.name, acquisition.request.kind,
            )  # fmt: skip

    async def get_index(self) -> int:
        """Return how many frames are safe."""
        return 0 if self._assets is None else self._assets.safe

    async def collect_asset_docs(self, index: int | None = None) -> AsyncIterator[StreamAsset]:
        """Yield documents for the frames that became safe.

        With software triggers, waits until the frame triggered last is.
        """
        if self._assets is None or self._acquisition is None:
            return
        acquisition = self._acquisition
        if self._unasked:
            self._unasked = False
            await self.warn_unless_stored()
        if self._stepping and acquisition.running:
            await self._until(
                lambda: (
                    acquisition.stream.acknowledged == acquisition.stream.published
                    or acquisition.stream.error is not None
                    or acquisition.done
                )
            )
            if acquisition.error or acquisition.stream.error:
                acquisition.check()
        async for name, document in self._documents(index):
            yield name, document  # type: ignore[misc]

    async def _documents(self, index: int | None) -> AsyncIterator[tuple[str, Any]]:
        """Yield the documents of what has become safe, up to a frame."""
        if self._assets is not None:
            for document in self._assets.documents(index):
                yield document

    @property
    def _configuration(self) -> tuple[SignalR[Any], ...]:
        retrospective = self._acquisition is not None and self._acquisition.request.retrospective
        preview = (self.preview,) if retrospective else ()
        return (*self._settings_read, self.frames, self.first_number, *preview)

    @property
    def _settings_read(self) -> tuple[SignalR[Any], ...]:
        return (self.exposure, self.frame_rate, self.pixel_size)

    def _prepared(self, what: str) -> AnyAcquisition:
        if self._acquisition is None:
            raise CameraError(
                f"Camera {self.name} was asked to {what} before it was prepared; yield "
                "bps.prepare(camera, FrameRequest(…)) and bps.declare_stream(camera, name=…) first. "
                "A session does so for plans of bluesky itself; elsewhere set BLUESKY_PREDECLARE=1."
            )
        return self._acquisition

    async def _wait_for_change(self) -> None:
        if self._acquisition is not None:
            self._acquisition.check_silence()
        try:
            await asyncio.wait_for(self._changed.wait(), _LOOK_S)
        except TimeoutError:
            return  # Nothing signals that frames stay away: look again.

    async def _until(self, condition: Callable[[], bool]) -> None:
        while True:
            self._changed.clear()
            if condition():
                return
            await self._wait_for_change()
