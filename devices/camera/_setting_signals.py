"""The settings of a camera as signals."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
from bluesky.protocols import Checkable
from ophyd_async.core import (
    DEFAULT_TIMEOUT,
    Array1D,
    SignalDatatypeT,
    SignalRW,
    SoftSignalBackend,
)

from concertino import CameraError

from ._camera_setting import CameraSetting, IntegerSetting, NumberSetting, in_unit

_DATATYPES: dict[str, type[Any]] = {
    "number": float,
    "integer": int,
    "choice": str,
    "text": str,
    "switch": bool,
    "region": Array1D[np.int64],
}

Get: TypeAlias = Callable[[], Awaitable[Any]]
Put: TypeAlias = Callable[[object], Awaitable[Any]]


class _SettingBackend(SoftSignalBackend[SignalDatatypeT]):
    """Shows what is held, and holds what was checked."""

    def __init__(
        self,
        datatype: type[SignalDatatypeT],
        value: Any,
        units: str | None,
        get: Get | None,
        put: Put,
    ) -> None:
        super().__init__(datatype, value, units, getter=get)
        self._put = put

    async def put(self, value: Any) -> None:
        await super().put(await self._put(value))


class SettingSignal(SignalRW[SignalDatatypeT], Checkable[Any]):
    """A setting of a camera: it can be set to what the camera takes, and to nothing else.

    Parameters
    ----------
    setting : CameraSetting
        Which.
    check : callable
        Returns a value as the setting would be, or raises `CameraError` if it cannot be that.
    get : callable, optional
        Gives what the setting shall be; awaitable. By default that is what it was set to last.
    put : callable
        Has the camera note a value, when it can be that; awaitable.
    """

    def __init__(
        self,
        setting: CameraSetting,
        check: Callable[[object], object],
        get: Get | None,
        put: Put,
    ) -> None:
        units = setting.unit if isinstance(setting, NumberSetting | IntegerSetting) else ""
        self._check = check
        backend = _SettingBackend(_DATATYPES[setting.kind], setting.value, units or None, get, put)
        super().__init__(backend, DEFAULT_TIMEOUT)

    def set_name(self, name: str, *, child_name_separator: str | None = None) -> None:
        """Name the signal; documents take no dots and slashes in names, as some vendors have them."""
        super().set_name(re.sub("[./]", "_", name), child_name_separator=child_name_separator)

    async def check_value(self, value: object) -> None:
        """Raise if the setting cannot be that.

        Raises
        ------
        CameraError
            With what it can be.
        """
        await self.as_set(value)

    async def as_set(self, value: object) -> object:
        """Return what the setting would be, were it set to that: a number in its own unit, a whole `Region`.

        Raises
        ------
        CameraError
            As `check_value`.
        """
        return await asyncio.to_thread(self._check, value)


def timing_signal(
    camera: Callable[[], str], name: str, value: object, unit: str
) -> SettingSignal[float]:
    """Return the signal for the exposure time or the frame rate, which every camera has.

    What it may be is looked at when frames are asked for: it depends on the other, and on who starts the exposures.

    Parameters
    ----------
    camera : callable
        Gives the name of the camera, for messages.
    name : str
        Of the setting.
    value : quantity
        What it is at first, in `unit` or with a unit of its own.
    unit : str
        In which it counts.
    """

    def check(asked: object) -> float:
        number = in_unit(camera(), name, asked, unit)
        if isinstance(number, bool) or not isinstance(number, Real):
            shown = asked.tolist() if isinstance(asked, np.ndarray | np.generic) else asked
            raise CameraError(
                f"Camera {camera()} was asked for {name} {shown!r}, which is no number. Give one in {unit}, or with "
                f"its unit, such as '10 {unit}'."
            )
        return float(number)

    async def put(asked: object) -> float:
        # To read a unit for the first time takes a while, in which the loop has other things to do.
        return await asyncio.to_thread(check, asked)

    return SettingSignal(NumberSetting(name=name, value=check(value), unit=unit), check, None, put)
