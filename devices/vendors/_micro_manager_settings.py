"""What can be set of a camera in a Micro-Manager core: its properties, those that all have by our names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from concertino import CameraError
from concertino.devices.camera._camera_setting import (
    CameraSetting,
    ChoiceSetting,
    IntegerSetting,
    NumberSetting,
    Region,
    RegionSetting,
    TextSetting,
    trigger_mode,
)
from concertino.devices.camera._frame_source import CameraSettings

if TYPE_CHECKING:
    from pymmcore_plus import CMMCorePlus

_TYPES: dict[int, np.dtype[Any]] = {size: np.dtype(f"u{size}") for size in (1, 2, 4)}
_BINNING, _GAIN, _BITS, _EXPOSURE = "Binning", "Gain", "BitDepth", "Exposure"
_MOST_BITS = 16


class CameraProperties:
    """The properties of a camera.

    Parameters
    ----------
    core : CMMCorePlus
        The core that it is loaded in.
    label : str
        Its label.
    names : sequence of str
        The device's own properties that shall be settable.
    pulsed : bool
        Whether it can be told to wait for pulses at its input.
    """

    def __init__(self, core: CMMCorePlus, label: str, names: Sequence[str], pulsed: bool) -> None:
        self._core, self._label, self._names, self._pulsed = core, label, tuple(names), pulsed
        for name in names:
            if not core.hasProperty(label, name) or core.isPropertyReadOnly(label, name):
                raise CameraError(
                    f"Camera {label} of Micro-Manager was asked for its property {name!r}, which it does not have or "
                    f"which cannot be set; it has {', '.join(core.getDevicePropertyNames(label))}. Give one of these."
                )
        self._sensor = self._whole()

    def _whole(self) -> tuple[int, int]:
        """Return height and width of the sensor in pixels: what a frame has without a region."""
        core = self._core
        region = core.getROI()
        core.clearROI()
        height, width = core.getImageHeight() * self.binning, core.getImageWidth() * self.binning
        if list(core.getROI()) != list(region):
            core.setROI(*region)
        return height, width

    @property
    def _binnings(self) -> dict[int, str]:
        """What the binning can be, and what the device calls it: ``2`` or ``2x2``."""
        if not self._settable(_BINNING):
            return {}
        return {
            _first(text): text
            for text in self._core.getAllowedPropertyValues(self._label, _BINNING)
        }

    @property
    def binning(self) -> int:
        """Pixels of the sensor that make one of a frame, along each side."""
        if not self._core.hasProperty(self._label, _BINNING):
            return 1
        return max(1, _first(self._core.getProperty(self._label, _BINNING)))

    def pixel_type(self) -> np.dtype[Any]:
        """Return the type of a pixel.

        Raises
        ------
        CameraError
            If frames have colours.
        """
        core = self._core
        components, size = core.getNumberOfComponents(), core.getBytesPerPixel()
        if components != 1 or size not in _TYPES:
            raise CameraError(
                f"Camera {self._label} of Micro-Manager gives {components} values of {size} bytes in all a pixel; frames "
                "are one grey value a pixel. Set its pixel type to one of grey values, such as 16bit."
            )
        return _TYPES[size]

    def describe(self) -> list[CameraSetting]:
        """Describe what can be set, and what it may be now."""
        core, label = self._core, self._label
        column, row, width, height = (self.binning * number for number in core.getROI())
        step = (self.binning, self.binning)
        region = Region(row, column, height, width)
        found: list[CameraSetting] = [
            RegionSetting(value=region, sensor=self._sensor, smallest=step, step=step)
        ]
        if binnings := self._binnings:
            found.append(
                IntegerSetting(name="binning", value=self.binning, choices=tuple(sorted(binnings)))
            )
        if self._settable(_GAIN) and core.hasPropertyLimits(label, _GAIN):
            found.append(self._number("gain", _GAIN))
        if depths := self._depths():
            found.append(
                IntegerSetting(
                    name="bit_depth", value=core.getImageBitDepth(), unit="bit", choices=depths
                )
            )
        lowest, highest = self._exposures_s()
        found.append(
            NumberSetting(
                name="exposure",
                value=core.getExposure(label) / 1e3,
                unit="s",
                lowest=lowest,
                highest=highest,
            )
        )
        found.append(trigger_mode(["internal", "software", *(["edge"] if self._pulsed else [])]))  # type: ignore[list-item]
        return [*found, *(self._own(name) for name in self._names)]

    def apply(self, settings: CameraSettings) -> None:
        """Have the device take its settings and its exposure time over.

        Raises
        ------
        CameraError
            If the exposure time is outside its limits.
        """
        core, label = self._core, self._label
        lowest, highest = self._exposures_s()
        if highest is not None and not (lowest or 0.0) <= settings.exposure_s <= highest:
            raise CameraError(
                f"Camera {label} of Micro-Manager was asked for an exposure time of {settings.exposure_s:g} s; it takes "
                f"{lowest or 0.0:g} to {highest:g} s. Set one of these."
            )
        values = settings.values
        if settings.bit_depth is not None and settings.bit_depth != core.getImageBitDepth():
            core.setProperty(label, _BITS, settings.bit_depth)
        if "binning" in values and settings.binning != self.binning:
            core.setProperty(label, _BINNING, self._binnings[settings.binning])
        if (region := settings.region) is not None:
            sides = (region.column, region.row, region.width, region.height)
            wanted = [side // self.binning for side in sides]
            if wanted != list(core.getROI()):
                core.setROI(*wanted)
        if (gain := settings.number("gain")) is not None:
            core.setProperty(
                label, _GAIN, values["gain"] if isinstance(values["gain"], int) else gain
            )
        for name in self._names:
            if name in values:
                core.setProperty(label, name, str(values[name]))
        core.setExposure(label, settings.exposure_s * 1e3)
        core.waitForDevice(label)

    def _exposures_s(self) -> tuple[float | None, float | None]:
        core, label = self._core, self._label
        if not core.hasProperty(label, _EXPOSURE) or not core.hasPropertyLimits(label, _EXPOSURE):
            return 0.0, None
        return (
            core.getPropertyLowerLimit(label, _EXPOSURE) / 1e3,
            core.getPropertyUpperLimit(label, _EXPOSURE) / 1e3,
        )

    def _depths(self) -> tuple[int, ...]:
        if not self._settable(_BITS):
            return ()
        texts = self._core.getAllowedPropertyValues(self._label, _BITS)
        depths = {int(text) for text in texts if text.isdigit() and int(text) <= _MOST_BITS}
        return tuple(sorted({*depths, self._core.getImageBitDepth()})) if depths else ()

    def _settable(self, name: str) -> bool:
        core, label = self._core, self._label
        return core.hasProperty(label, name) and not core.isPropertyReadOnly(label, name)

    def _own(self, name: str) -> CameraSetting:
        core, label = self._core, self._label
        if choices := core.getAllowedPropertyValues(label, name):
            return ChoiceSetting(
                name=name, value=core.getProperty(label, name), choices=tuple(choices)
            )
        return self._number(name, name)

    def _number(self, name: str, prop: str) -> CameraSetting:
        core, label = self._core, self._label
        kind, text = core.getPropertyType(label, prop).name, core.getProperty(label, prop)
        limits: tuple[float, float] | tuple[None, None] = (None, None)
        if core.hasPropertyLimits(label, prop):
            limits = (
                core.getPropertyLowerLimit(label, prop),
                core.getPropertyUpperLimit(label, prop),
            )
        if kind == "Integer":
            lowest, highest = (None if limit is None else int(limit) for limit in limits)
            return IntegerSetting(name=name, value=int(text), lowest=lowest, highest=highest)
        if kind == "Float":
            return NumberSetting(name=name, value=float(text), lowest=limits[0], highest=limits[1])
        return TextSetting(name=name, value=text)


def _first(text: str) -> int:
    """Return the number that a text begins with, as of ``2x2``."""
    digits = text.partition("x")[0].strip()
    return int(digits) if digits.isdigit() else 1
