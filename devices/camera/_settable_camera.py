"""What can be set of a camera, as its signals, and what follows from it for its frames."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from bluesky.protocols import Reading
from ophyd_async.core import Array1D, DeviceMap, SignalR, SignalRW, merge_gathered_dicts

from concertino import CameraError
from concertino.frames import FrameRequest

from ._camera_checks import check_timing
from ._camera_documents import CameraDocuments
from ._camera_setting import STANDARD_SETTINGS, TIMING, SettingValue
from ._frame_source import CameraSettings, FrameSource
from ._held_settings import FramesIf, HeldSettings, no_setting
from ._setting_signals import SettingSignal


class SettableCamera(CameraDocuments):
    """The part of `Camera` that has the settings of its source.

    Those of `STANDARD_SETTINGS` that the source has are attributes; all others are in `vendor`, by the vendor's names.
    """

    source: FrameSource
    region: SignalRW[Array1D[np.int64]]
    binning: SignalRW[int]
    gain: SignalRW[Any]
    bit_depth: SignalRW[int]
    mirror: SignalRW[str]
    rotate: SignalRW[int]
    trigger_mode: SignalRW[str]
    #: The settings with names of the vendor's own.
    vendor: DeviceMap[SettingSignal[Any]]
    _set_pixel_size: Callable[[float], None]
    _ring_bytes: int

    def _have_settings(self, held: HeldSettings) -> None:
        """Make the signals of what the source describes."""
        self._held = held
        made: dict[str, SettingSignal[Any]] = {
            name: SettingSignal(
                held.described[name],
                partial(self._check, name),
                partial(self._get, name),
                partial(self._put, name),
            )
            for name in held.values
        }
        for name in STANDARD_SETTINGS:
            if name in made:
                setattr(self, name, made[name])
        self.vendor = DeviceMap(
            {name: signal for name, signal in made.items() if name not in STANDARD_SETTINGS}
        )
        self._setting_signals = made

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Say which settings there are, when one is asked for that its source does not have."""
            if name in STANDARD_SETTINGS:
                raise no_setting(self.name, name, self.settings)
            return super().__getattribute__(
                name
            )  # what Python says, or what a property of the camera raised

    @property
    def settings(self) -> Mapping[str, SignalRW[Any]]:
        """All that can be set, by name: exposure time, frame rate, and what the source describes."""
        timing = dict(zip(TIMING, (self.exposure, self.frame_rate), strict=True))
        return MappingProxyType({**timing, **self._setting_signals})

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Shape (height, width) of a frame in pixels."""
        return self._held.shape

    @property
    def frame_bytes(self) -> int:
        """Size of a frame in bytes."""
        height, width = self.frame_shape
        return height * width * self.source.dtype.itemsize

    def frames_if(self, values: Mapping[str, SettingValue]) -> FramesIf:
        """Return what the frames would be like, were some settings others; the camera is not told of them.

        Parameters
        ----------
        values : mapping of str to value
            What settings would be, by their names, as their signals' ``as_set`` returns it.

        Returns
        -------
        FramesIf
            As region, binning, rotation and bit depth make them; else as they are.
        """
        if self._held.with_these(values) == self._held.values:
            shape, frame_bytes = self.frame_shape, self.frame_bytes
            pixel_size_um = self.source.pixel_size_um
        else:
            shape, pixel_bytes, pixel_size_um = self._held.pictured(values)
            frame_bytes = shape[0] * shape[1] * pixel_bytes
        return FramesIf(shape, frame_bytes, pixel_size_um, self._ring_of(frame_bytes))

    def _ring_of(self, frame_bytes: int) -> int:
        return max(self._ring_bytes, 2 * frame_bytes)

    async def read_settings(self) -> dict[str, Reading[Any]]:
        """Return what the frames depend on: the configuration but for what a request makes of it."""
        self._set_pixel_size(self.source.pixel_size_um)
        passing = (self.frames, self.preview, self.first_number)
        signals = [signal for signal in self._configuration if signal not in passing]
        return await merge_gathered_dicts(signal.read() for signal in signals)

    @property
    def _settings_read(self) -> tuple[SignalR[Any], ...]:
        return (*super()._settings_read, *self._setting_signals.values())

    def _check(self, name: str, value: object) -> SettingValue:
        return self._held.check(self.name, name, value)

    async def _get(self, name: str) -> SettingValue:
        return self._held.get(name)

    async def _put(self, name: str, value: object) -> SettingValue:
        acquisition = self._acquisition
        if acquisition is not None and acquisition.running:
            raise CameraError(
                f"Camera {self.name} was asked to set {name} while it takes {acquisition.request.kind}. Wait until "
                "it has them, and set it then."
            )
        return await asyncio.to_thread(self._held.put, self.name, name, value)

    async def _settings(
        self, request: FrameRequest, values: Mapping[str, SettingValue] | None = None
    ) -> CameraSettings:
        signals = (self.exposure, self.frame_rate)
        present = await asyncio.gather(*(signal.get_value() for signal in signals))
        asked = {**dict(zip(TIMING, present, strict=True)), **(values or {})}
        exposure, rate = (float(cast(float, asked[name])) for name in TIMING)
        check_timing(self.name, request, exposure, rate)
        return CameraSettings(exposure, rate, self._held.checked(self.name, exposure, rate, values))

    def _as_the_mode_says(
        self, request: FrameRequest, values: Mapping[str, SettingValue] | None = None
    ) -> FrameRequest:
        return self._held.as_the_mode_says(self.name, request, values)
