"""A device that is read when it answers, and does not fail a run when it does not."""

import asyncio
import logging
import math
import time
from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

from bluesky.protocols import Movable, Readable
from bluesky.utils import maybe_await

from concertino.devices import SetpointAndLimits

LOG = logging.getLogger(__name__)

_PATIENCE_S = 5.0
_NOTHING: Mapping[str, Any] = {"number": math.nan, "integer": -1, "string": "", "boolean": False}


@runtime_checkable
class HasSettingsReadout(Protocol):
    """A device, such as a camera, of which a baseline reads the settings, and not what it measures."""

    @property
    def settings_readout(self) -> Readable[Any]:
        """What reads them."""


class OptionalDevice:
    """Stands before a device of the baseline.

    A device that cannot be described is left out of the run. One that stops answering later is
    noted with NaN, -1, ``""`` or False and an alarm severity of 3, as EPICS marks an invalid value.

    Parameters
    ----------
    device : Readable
        The device.
    """

    parent = None

    def __init__(self, device: Readable[Any]) -> None:
        self.device = device
        self.name = str(device.name)
        self._keys: Mapping[str, Any] = {}

    async def describe(self) -> Mapping[str, Any]:
        """Describe the device; nothing when it does not answer."""
        self._keys = await self._answer("describe")
        return self._keys

    async def read(self) -> Mapping[str, Any]:
        """Read what was described."""
        if not self._keys:
            return {}
        reading = await self._answer("read")
        if set(reading) == set(self._keys):
            return reading
        return {
            key: {
                "value": _NOTHING.get(described["dtype"], []),
                "timestamp": time.time(),
                "alarm_severity": 3,
            }
            for key, described in self._keys.items()
        }

    async def describe_configuration(self) -> Mapping[str, Any]:
        """Describe the device's configuration."""
        return await self._answer("describe_configuration") if self._keys else {}

    async def read_configuration(self) -> Mapping[str, Any]:
        """Read the device's configuration."""
        return await self._answer("read_configuration") if self._keys else {}

    async def _answer(self, method: str) -> Mapping[str, Any]:
        async def ask() -> Mapping[str, Any]:
            answer = getattr(self.device, method)()
            result: Mapping[str, Any] = await maybe_await(answer)
            return result

        if not hasattr(self.device, method):
            return {}
        try:
            return await asyncio.wait_for(ask(), _PATIENCE_S)
        except Exception as error:
            LOG.warning(
                "Optional device %s did not answer %s: %s: %s",
                self.name, method, type(error).__name__, error,
            )  # fmt: skip
            return {}


#: What can stand in a baseline.
OfBaseline: TypeAlias = Readable[Any] | HasSettingsReadout


def readable(device: OfBaseline) -> Readable[Any]:
    """Return what a baseline reads of a device: of a camera its settings, and of what moves its set point and limits."""
    if isinstance(device, HasSettingsReadout):
        return device.settings_readout
    return SetpointAndLimits(device) if isinstance(device, Movable) else device
