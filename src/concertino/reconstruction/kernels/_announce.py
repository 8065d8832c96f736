"""Says that code is being compiled, so that nobody wonders why the first slices take seconds."""

import logging
from collections.abc import Sequence
from typing import Any

from numba.core import event

LOG = logging.getLogger("concertino.reconstruction")
_KIND = "numba:compile"
_said_of_ufo: set[str] = set()


class _Announcer(event.Listener):
    """Hears numba begin to compile, which it does not when it finds compiled code on disk."""

    def __init__(self) -> None:
        self._said = False

    def on_start(self, event: Any) -> None:
        function = event.data["dispatcher"].py_func
        if not self._said and function.__module__.startswith("concertino."):
            self._said = True
            LOG.warning(
                "Compiling the reconstruction for this processor. That takes some seconds, and is "
                "kept on disk for the next time."
            )

    def on_end(self, event: Any) -> None:
        """Nothing more to say."""


def announce_compiling() -> None:
    """Log a warning when this process compiles for the first time; call it once."""
    event.register(_KIND, _Announcer())  # type: ignore[no-untyped-call]


def announce_ufo(devices: Sequence[str]) -> None:
    """Log a warning when this process lets UFO compute for the first time."""
    name = ", ".join(devices)
    if name not in _said_of_ufo:
        _said_of_ufo.add(name)
        LOG.warning(
            "Compiling UFO's kernels for %s. That takes some seconds for each new size of slices.",
            name,
        )
