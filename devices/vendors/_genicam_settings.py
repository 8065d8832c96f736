"""What can be set of a GenICam camera, and how it is set."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from concertino import CameraError
from concertino.devices.camera._camera_setting import (
    CameraSetting,
    ChoiceSetting,
    IntegerSetting,
    NumberSetting,
    Region,
    RegionSetting,
    SettingValue,
    SwitchSetting,
    TextSetting,
    trigger_mode,
)
from concertino.devices.camera._frame_source import CameraSettings

from ._genicam_device import GenicamDevice
from ._packed_pixels import PACKINGS, Packing

_US = 1e-6
#: Formats of pixels that are one grey value each, by their bits; those without gaps where there is no other.
_FORMATS = {
    8: ("Mono8",),
    10: ("Mono10", "Mono10p", "Mono10Packed"),
    12: ("Mono12", "Mono12p", "Mono12Packed"),
    14: ("Mono14",),
    16: ("Mono16",),
}
_BITS = {name: bits for bits, names in _FORMATS.items() for name in names}


def pixel_type(device: GenicamDevice) -> np.dtype[np.uint8] | np.dtype[np.uint16]:
    """Return the type of a pixel in the present format.

    Raises
    ------
    CameraError
        If the format is not one grey value a pixel.
    """
    now = device.pixel_format
    if now not in _BITS:
        raise CameraError(
            f"GenICam camera {device.name} gives pixels as {now}; frames are one grey value a pixel, as "
            f"{', '.join(_BITS)}. Set its bit_depth to one that it has: {_depths(device) or 'none'}."
        )
    return np.dtype(np.uint8) if _BITS[now] == 8 else np.dtype(np.uint16)


def packing_of(device: GenicamDevice) -> Packing | None:
    """Return how pixels of the present format are packed; None if they are not."""
    return PACKINGS.get(device.pixel_format)


def _formats(device: GenicamDevice) -> dict[int, str]:
    """Return the format that gives so many bits, of those that a camera has."""
    has = device.words("pixel_formats_as_strings")
    found = {bits: next((n for n in names if n in has), "") for bits, names in _FORMATS.items()}
    return {bits: name for bits, name in found.items() if name}


def _depths(device: GenicamDevice) -> tuple[int, ...]:
    return tuple(_formats(device))


def binning_of(device: GenicamDevice) -> int:
    """Return how many pixels of the sensor make one of a frame, along each side."""
    return max(1, *device.numbers("binning")) if device.has("binning") else 1


def describe(device: GenicamDevice, line: str, names: Sequence[str]) -> list[CameraSetting]:
    """Describe the settings that a camera has.

    Parameters
    ----------
    device : GenicamDevice
        The camera.
    line : str
        Its trigger input; empty for none.
    names : sequence of str
        The vendor's own settings, by their names in GenICam.
    """
    found: list[CameraSetting] = [_region(device)]
    if device.has("binning"):
        lowest, highest = device.bounds("x_binning")
        found.append(
            IntegerSetting(
                name="binning", value=binning_of(device), lowest=int(lowest), highest=int(highest)
            )
        )
    if device.has("gain"):
        lowest, highest = device.bounds("gain")
        found.append(
            NumberSetting(name="gain", value=device.get("gain"), lowest=lowest, highest=highest)
        )
    if depths := _depths(device):
        value = _BITS.get(device.pixel_format, depths[0])
        found.append(IntegerSetting(name="bit_depth", value=value, unit="bit", choices=depths))
    if device.has("exposure_time"):
        lowest, highest = (limit * _US for limit in device.bounds("exposure_time"))
        value_s = device.get("exposure_time") * _US
        found.append(
            NumberSetting(name="exposure", value=value_s, unit="s", lowest=lowest, highest=highest)
        )
    if device.has("frame_rate"):
        # The greatest follows from an exposure time that may be another by then: `set_timing` asks for it.
        found.append(NumberSetting(name="frame_rate", value=0.0, unit="Hz", lowest=0.0))
    modes: list[Literal["internal", "software", "edge", "level"]] = ["internal", "software"]
    if line:
        modes += ["edge", "level"] if device.exposes_while_level else ["edge"]
    found.append(trigger_mode(modes))
    return [*found, *(_own(device, name) for name in names)]


def _region(device: GenicamDevice) -> RegionSetting:
    binning = binning_of(device)
    column, row, width, height = (binning * number for number in device.numbers("region"))
    sensor_width, sensor_height = device.numbers("sensor_size")
    steps = [int(device.get(f"{side}_increment")) * binning for side in ("height", "width")]
    fewest = [int(device.bounds(side)[0]) * binning for side in ("height", "width")]
    return RegionSetting(
        value=Region(row, column, height, width),
        sensor=(sensor_height, sensor_width),
        smallest=(fewest[0], fewest[1]),
        step=(max(1, steps[0]), max(1, steps[1])),
    )


def _own(device: GenicamDevice, name: str) -> CameraSetting:
    """Describe a setting of the vendor's, of whatever type it is: the first that reads it."""
    aravis, camera, feature = device.aravis, device.camera, name.encode()
    if not aravis.ask("arv_camera_is_feature_available", camera, feature):
        raise CameraError(
            f"GenICam camera {device.name} was asked for its feature {name!r}, and has none of that name. "
            "Look up its name in the vendor's manual or viewer."
        )
    try:
        words = aravis.words("arv_camera_dup_available_enumerations_as_strings", camera, feature)
        value = aravis.text("arv_camera_get_string", camera, feature)
        return ChoiceSetting(name=name, value=value, choices=tuple(words))
    except CameraError:  # It is no enumeration.
        pass
    try:
        return SwitchSetting(
            name=name, value=bool(aravis.ask("arv_camera_get_boolean", camera, feature))
        )
    except CameraError:
        pass
    try:
        whole = aravis.ask("arv_camera_get_integer", camera, feature)
        lowest, highest = aravis.limits("arv_camera_get_integer_bounds", camera, feature)
        return IntegerSetting(name=name, value=whole, lowest=lowest, highest=highest)
    except CameraError:
        pass
    try:
        number = aravis.ask("arv_camera_get_float", camera, feature)
        lowest, highest = aravis.limits("arv_camera_get_float_bounds", camera, feature)
        return NumberSetting(name=name, value=number, lowest=lowest, highest=highest)
    except CameraError:
        return TextSetting(name=name, value=aravis.text("arv_camera_get_string", camera, feature))


def apply(device: GenicamDevice, settings: CameraSettings) -> None:
    """Have a camera take its settings over, those that are given; the exposure time and rate come later.

    Raises
    ------
    CameraError
        If it does not.
    """
    values = dict(settings.values)
    for name in ("trigger_mode", "exposure", "frame_rate"):
        values.pop(name, None)  # They come with the request.
    bits, binning = values.pop("bit_depth", None), values.pop("binning", None)
    region, gain = values.pop("region", None), values.pop("gain", None)
    if bits is not None:
        name = _formats(device).get(int(settings.bit_depth or 8), f"Mono{bits}")
        if _BITS.get(device.pixel_format) != settings.bit_depth:
            device.do("set_pixel_format_from_string", name.encode())
    if binning is not None and device.has("binning"):
        device.do("set_binning", settings.binning, settings.binning)
    if isinstance(region, Region):
        by = binning_of(device)
        sides = (region.column, region.row, region.width, region.height)
        device.do("set_region", *(side // by for side in sides))
    if gain is not None:
        device.do("set_gain", float(settings.number("gain") or 0.0))
    for name, value in values.items():
        _set_own(device, name, value)


def _set_own(device: GenicamDevice, name: str, value: SettingValue) -> None:
    feature = name.encode()
    if isinstance(value, bool):
        device.do("set_boolean", feature, value)
    elif isinstance(value, int):
        device.do("set_integer", feature, value)
    elif isinstance(value, float):
        device.do("set_float", feature, value)
    else:
        device.do("set_string", feature, str(value).encode())


def set_timing(device: GenicamDevice, settings: CameraSettings, own_pace: bool) -> float:
    """Have a camera take over exposure time and frame rate.

    Parameters
    ----------
    device : GenicamDevice
        The camera; it waits for no trigger.
    settings : CameraSettings
        Both.
    own_pace : bool
        Whether it shall trigger itself.

    Returns
    -------
    float
        The exposure time that it has now, in s.

    Raises
    ------
    CameraError
        If one is outside the camera's limits; with these.
    """
    exposure_s = settings.exposure_s
    if device.has("exposure_time"):
        lowest, highest = (limit * _US for limit in device.bounds("exposure_time"))
        _check(device, "an exposure time", exposure_s, lowest, highest, "s")
        device.do("set_exposure_time", exposure_s / _US)
        exposure_s = device.get("exposure_time") * _US
    if own_pace and device.has("frame_rate"):
        lowest, highest = device.bounds("frame_rate")
        rate = settings.frame_rate_hz
        if rate:
            _check(device, "a frame rate", rate, lowest, highest, "Hz")
        device.do("set_frame_rate", rate or min(highest, 1 / max(exposure_s, 1e-9)))
    return exposure_s


def _check(
    device: GenicamDevice, what: str, value: float, lowest: float, highest: float, unit: str
) -> None:
    if not lowest * (1 - 1e-9) <= value <= highest * (1 + 1e-9):
        raise CameraError(
            f"GenICam camera {device.name} was asked for {what} of {value:g} {unit}; it takes {lowest:g} to "
            f"{highest:g} {unit} with its present settings. Set one of these."
        )
