"""What a plan has found, as an event of its run."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from bluesky import Msg
from bluesky.utils import MsgGenerator


def number(unit: str = "") -> dict[str, Any]:
    """Return how a column of numbers is described."""
    return {"dtype": "number", **({"units": unit} if unit else {})}


class ComputedReadings:
    """What a plan has to say in its run, as a device that can be read.

    Parameters
    ----------
    name : str
        Of the device.
    columns : mapping of str to mapping
        Their names, and what the descriptor says of each: ``dtype``, ``units`` and such.
    stream : str
        Name of the stream; that of the device by default.
    """

    parent = None

    def __init__(
        self, name: str, columns: Mapping[str, Mapping[str, Any]], stream: str = ""
    ) -> None:
        self.name = name
        self._columns = columns
        self._stream = stream or name
        self._values: Mapping[str, Any] = {}

    async def describe(self) -> dict[str, Any]:
        """Describe the columns."""
        return {
            f"{self.name}-{key}": {"source": "plan", "shape": [], **about}
            for key, about in self._columns.items()
        }

    async def read(self) -> dict[str, Any]:
        """Return what was noted last."""
        now = time.time()
        return {
            f"{self.name}-{key}": {"value": self._values[key], "timestamp": now}
            for key in self._columns
        }

    def note(self, **values: Any) -> MsgGenerator[None]:
        """Put a value of each column into the run as one event."""
        self._values = {k: v.item() if isinstance(v, np.generic) else v for k, v in values.items()}
        yield Msg("create", None, name=self._stream)
        yield Msg("read", self)
        yield Msg("save")
