"""The angles of a run that goes on, between the thread of its documents and those of its frames."""

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from concertino.documents import (
    UNKNOWN_NUMBER,
    AngleRecord,
    TomoBlock,
    first_number,
    frame_places,
)
from concertino.frames import FrameBatch
from concertino.reconstruction import Reconstructor, TomogramSeries


class MeasuredAngles:
    """Notes angles as documents tell them, and passes them on to a reconstruction.

    Parameters
    ----------
    tomo : TomoBlock
        Of the run.
    """

    def __init__(self, tomo: TomoBlock) -> None:
        self._tomo = tomo
        self._record = AngleRecord(tomo)
        self._came = np.zeros(tomo.num_projections, np.int64)
        self._lock = threading.Lock()
        self._telling = threading.Lock()  # what is older must not be told later
        self._news = False

    def take(self, name: str, document: Mapping[str, Any]) -> bool:
        """Take a document of any run; return whether it told an angle of this one. Takes no time."""
        with self._lock:
            told = len(self._record.take(name, document)) > 0
            self._news |= told or name == "descriptor"
        return told

    def came(self, start: int, count: int) -> None:
        """Note that projections came."""
        with self._lock:
            self._came[start : start + count] += 1

    @property
    def received(self) -> int:
        """Number of projections that came."""
        return int((self._came > 0).sum())

    @property
    def all_came(self) -> bool:
        """Whether the angle is known of every projection that came, or none is told in this run."""
        with self._lock:
            return not self._record.expected or bool((self._record.told >= self._came).all())

    def tell(self, reconstructor: Reconstructor | TomogramSeries) -> None:
        """Tell a reconstruction what is new."""
        with self._telling:
            with self._lock:
                if not (self._news and self._record.expected):
                    return
                self._news = False
                angles = self._record.all_rad()
                known = self._record.told >= np.maximum(self._came, 1)
            reconstructor.set_angles(angles, known)


class FramePlaces:
    """Tells which projections the frames of a stream are; those that the camera lost are left out.

    Parameters
    ----------
    descriptor : mapping
        Of the stream.
    camera : str
        Data key of the frames.
    first : int
        Projection of the scan that the stream begins with.
    count : int
        Number of projections of the scan.
    """

    def __init__(self, descriptor: Mapping[str, Any], camera: str, first: int, count: int) -> None:
        self._first, self._count = first, count
        self._base = first_number(descriptor, camera)

    def of(self, batch: FrameBatch) -> list[tuple[slice, int]]:
        """Return parts of a batch whose frames follow one another, and the projection of each's first."""
        if self._base == UNKNOWN_NUMBER:  # Then it is the first that came.
            self._base = int(batch.numbers[0]) - batch.start
        return frame_places(batch.numbers, self._base - self._first, self._count)
