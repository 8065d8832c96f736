"""What a plan has found, as an event of its run."""

import time
from collections.abc import Mapping
from typing import Any

from bluesky import Msg
from bluesky.utils import MsgGenerator


class Figures:
    """Numbers that a plan computed, as a device that can be read.

    Parameters
    ----------
    name : str
        Of the device and of the stream.
    units : mapping of str to str
        The numbers' names and units; an empty one for a pure number.
    """

    parent = None

    def __init__(self, name: str, units: Mapping[str, str]) -> None:
        self.name = name
        self._units = units
        self._values: Mapping[str, float] = {}

    async def describe(self) -> dict[str, Any]:
        """Describe the numbers."""
        return {
            f"{self.name}-{key}": {
                "source": "plan",
                "dtype": "number",
                "shape": [],
                **({"units": unit} if unit else {}),
            }
            for key, unit in self._units.items()
        }

    async def read(self) -> dict[str, Any]:
        """Return the numbers noted last."""
        now = time.time()
        return {
            f"{self.name}-{key}": {"value": value, "timestamp": now}
            for key, value in self._values.items()
        }

    def note(self, **values: float) -> MsgGenerator[None]:
        """Put all numbers into the run as one event."""
        self._values = {key: float(values[key]) for key in self._units}
        yield Msg("create", None, name=self.name)
        yield Msg("read", self)
        yield Msg("save")
