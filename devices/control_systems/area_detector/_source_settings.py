"""What can be set of an areaDetector, by the records that its driver has."""

import math
from collections.abc import Mapping

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

from ._driver import Driver

#: What drivers call the mode in which a pulse is as long as the exposure; of two the first.
_LEVEL_WORDS = (
    "Level", "Bulb", "Ext. Bulb", "External Exposure", "External Enable", "Ext. Enable", "Exp. Gate", "Ext. Gate",
    "External Gate",
)  # fmt: skip
_REGION = ("MinX", "MinY", "SizeX", "SizeY")


def trigger_words(driver: Driver, given: Mapping[str, str]) -> dict[str, str]:
    """Return the driver's words for our trigger modes.

    Parameters
    ----------
    driver : Driver
        The driver.
    given : mapping of str to str
        Those that the user knows better.

    References
    ----------
    The enumerations TriggerMode of ADBase, ADPilatus, ADEiger, ADAndor3, ADPointGrey and ADKinetix.
    """
    found = {"internal": "Internal", "software": "Internal", "edge": "External"}
    words = driver.choices("TriggerMode")
    if level := next((word for word in _LEVEL_WORDS if word in words), ""):
        found["level"] = level
    return found | dict(given)


def describe(driver: Driver, trigger_modes: Mapping[str, str]) -> tuple[CameraSetting, ...]:
    """Return what can be set, with what it is now.

    Parameters
    ----------
    driver : Driver
        The driver.
    trigger_modes : mapping of str to str
        The driver's words for our trigger modes.
    """
    found: list[CameraSetting] = []
    if has_region(driver):
        column, row, width, height, most_width, most_height = (
            driver.number(f"{name}_RBV") for name in (*_REGION, "MaxSizeX", "MaxSizeY")
        )
        found.append(
            RegionSetting(
                value=Region(row, column, height, width), sensor=(most_height, most_width)
            )
        )
    if driver.has("BinX", "BinY"):
        most = [int(high) for _, high in driver.limits("BinX", "BinY") if high is not None]
        found.append(
            IntegerSetting(
                name="binning",
                value=driver.number("BinX_RBV"),
                lowest=1,
                highest=min(most, default=None),
            )
        )
    if driver.has("Gain"):
        found.append(_number(driver, "gain", "Gain"))
    found += _timing(driver)
    words = driver.choices("TriggerMode")
    has = [ours for ours, theirs in trigger_modes.items() if theirs in words]
    found.append(trigger_mode(has))  # type: ignore[arg-type]
    return (*found, *(_own(driver, name) for name in driver.own))


def _timing(driver: Driver) -> list[CameraSetting]:
    """Return the limits of exposure time and frame rate, as far as the driver tells."""
    (shortest, longest), (period, _) = driver.limits("AcquireTime", "AcquirePeriod")
    exposure_s = float(driver.read_back("AcquireTime"))
    found: list[CameraSetting] = [
        NumberSetting(name="exposure", value=exposure_s, unit="s", lowest=shortest, highest=longest)
    ]
    if period:
        rate = NumberSetting(
            name="frame_rate", value=0.0, unit="Hz", lowest=0.0, highest=1 / period
        )
        found.append(rate)
    return found


def _number(driver: Driver, name: str, record: str) -> NumberSetting:
    ((lowest, highest),) = driver.limits(record)
    value = float(driver.read_back(record))
    return NumberSetting(name=name, value=value, lowest=lowest, highest=highest)


def _own(driver: Driver, name: str) -> CameraSetting:
    """Describe a record of the driver's own, by its type."""
    value = driver.read_back(name)
    if words := driver.choices(name):
        return ChoiceSetting(name=name, value=words[int(value)], choices=words)
    if isinstance(value, str):
        return TextSetting(name=name, value=value)
    if isinstance(value, float):
        return _number(driver, name, name)
    ((lowest, highest),) = driver.limits(name)
    return IntegerSetting(
        name=name,
        value=value,
        lowest=None if lowest is None else math.ceil(lowest),
        highest=None if highest is None else math.floor(highest),
    )


def take_over(driver: Driver, settings: CameraSettings) -> None:
    """Set what is asked for; what is not asked for stays as the driver has it.

    Raises
    ------
    CameraError
        If the driver does not take it.
    """
    if "binning" in settings.values:
        driver.put("BinX", settings.binning)
        driver.put("BinY", settings.binning)
    region = settings.region
    if region is not None:
        for axis, first, size in (
            ("X", region.column, region.width),
            ("Y", region.row, region.height),
        ):
            # In an order in which the region never leaves the sensor.
            for name, value in ((f"Min{axis}", 0), (f"Size{axis}", size), (f"Min{axis}", first)):
                driver.put(name, value)
    gain = settings.number("gain")
    if gain is not None:
        driver.put("Gain", float(gain))
    for name in driver.own:
        own = settings.values.get(name)
        if isinstance(own, str) and driver.choices(name):
            driver.choose(name, own)
        elif isinstance(own, int | float | str):
            driver.put(name, own)


def has_region(driver: Driver) -> bool:
    """Whether a driver reads out a part of its sensor."""
    return driver.has(*_REGION) and all(
        driver.has_readback(name) for name in ("MaxSizeX", "MaxSizeY")
    )
