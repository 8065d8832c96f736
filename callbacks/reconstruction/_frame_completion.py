"""Which frames of a run are still to come, when its streams may come in segments."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino.documents import TomoBlock


class FrameCompletion:
    """Keeps account of the frames that a start document announced.

    Parameters
    ----------
    start : mapping
        The start document; without ``frames`` in it a stream has come when it has ended.
    tomo : TomoBlock
        The run's.
    """

    def __init__(self, start: Mapping[str, Any], tomo: TomoBlock) -> None:
        self._tomo = tomo
        announced = start.get("frames")
        self._unknown = set(tomo.image_kinds) if announced is None else set()
        self._due: dict[str, NDArray[np.bool_]] = {}
        for stream, count in (announced or {}).items():
            segment = tomo.segment(stream)
            if segment.base in tomo.image_kinds:  # Not those of another camera.
                self._mark(segment.base, segment.first, segment.first + count, True)

    def came(self, stream: str, start: int, stop: int) -> None:
        """Note that frames of a stream came, counted in this stream."""
        segment = self._tomo.segment(stream)
        self._mark(segment.base, segment.first + start, segment.first + stop, False)

    def expect(self, stream: str) -> None:
        """Note that a stream begins; what it brings is waited for until it has ended."""
        self._unknown.add(stream)

    def ended(self, stream: str) -> None:
        """Note that a stream has ended, whatever it brought."""
        self._unknown.discard(stream)

    @property
    def nothing(self) -> bool:
        """Whether all has come."""
        return not self._unknown and not any(due.any() for due in self._due.values())

    def _mark(self, base: str, start: int, stop: int, due: bool) -> None:
        known = self._due.get(base, np.zeros(0, bool))
        if due and stop > len(known):
            known = np.concatenate([known, np.zeros(stop - len(known), bool)])
        known[start:stop] = due
        self._due[base] = known
