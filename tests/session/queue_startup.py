"""The stock start-up module, and what tests ask of its devices besides; its worker writes what the beam does."""

import os
from typing import Any

from concertino.devices import _beam
from concertino.queueserver import *  # noqa: F403
from concertino.queueserver import camera
from concertino.simulation import Faults

_log = os.open(
    os.path.join(os.environ["CONCERTINO_DIRECTORY"], "beam.log"),
    os.O_WRONLY | os.O_CREAT | os.O_APPEND,
)
_note = _beam._History.note


def _noted(history: Any, on: bool) -> None:
    _note(history, on)
    os.write(_log, b"on\n" if on else b"off\n")


_beam._History.note = _noted  # type: ignore[method-assign, assignment]


def camera_dies_at(index: int) -> None:
    """Have the camera die at a frame of each stream; never, if it is less than 0."""
    source: Any = camera.source
    source.faults = Faults(die_at=None if index < 0 else index)
