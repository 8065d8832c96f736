"""The settings of a camera as attributes of its Tango device."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from tango import Attribute, AttrWriteType, Except, WAttribute
from tango.server import attribute

from concertino import ConcertinoError
from concertino.devices import (
    CameraSetting,
    IntegerSetting,
    NumberSetting,
    RegionSetting,
    SettingValue,
)

_DTYPES: dict[str, Any] = {
    "number": float,
    "integer": int,
    "choice": str,
    "text": str,
    "switch": bool,
    "region": (int,),
}


def attribute_names(settings: Mapping[str, CameraSetting], taken: set[str]) -> dict[str, str]:
    """Return the setting of each attribute, by the attribute's name.

    Parameters
    ----------
    settings : mapping of str to CameraSetting
        By their names, which may have signs that Tango does not take in a name.
    taken : set of str
        Names of the device's own attributes, in small letters.
    """
    names: dict[str, str] = {}
    for setting in settings:
        plain = re.sub(r"\W", "_", setting, flags=re.ASCII)
        while plain.lower() in taken | {name.lower() for name in names}:
            plain += "_"
        names[plain] = setting
    return names


def setting_attribute(
    name: str,
    setting: CameraSetting,
    get: Callable[[str], SettingValue],
    put: Callable[[str, object], None],
) -> attribute:
    """Return what shows a setting, and sets it.

    Parameters
    ----------
    name : str
        Of the attribute.
    setting : CameraSetting
        Which.
    get, put : callable
        Called with the setting's name, and the value; their errors cross as our own.
    """

    def read(_: Any, shown: Attribute) -> Any:
        value = _told(lambda: get(setting.name), "read")
        return list(value) if isinstance(setting, RegionSetting) else value

    def write(_: Any, asked: WAttribute) -> None:
        value = asked.get_write_value()
        _told(lambda: put(setting.name, value), "write")

    unit = setting.unit if isinstance(setting, NumberSetting | IntegerSetting) else ""
    return attribute(
        name=name,
        dtype=_DTYPES[setting.kind],
        access=AttrWriteType.READ_WRITE,
        unit=unit,
        doc=f"Setting {setting.name} of the camera, for its next request.",
        fget=read,
        fset=write,
        **({"max_dim_x": 4} if isinstance(setting, RegionSetting) else {}),
    )


def _told(work: Callable[[], Any], what: str) -> Any:
    try:
        return work()
    except ConcertinoError as error:
        Except.throw_exception(f"concertino.{type(error).__name__}", str(error), what)
        raise
