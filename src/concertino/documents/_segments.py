"""A kind of image may come in several streams: segments of one scan, told by their names."""

import re
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

_SEGMENT = re.compile(r"(?P<base>.+)_from_(?P<first>\d{5,})(?:_(?P<take>[2-9]|[1-9]\d+))?")


@dataclass(frozen=True)
class StreamSegment:
    """What the name of a stream of images says.

    Parameters
    ----------
    base : str
        Name of the stream that it is a part of: ``projections``.
    first : int
        Index in the scan of its first frame; 0 for the stream itself.
    take : int
        2 for the second stream that begins there, and so on.

    Examples
    --------
    >>> from concertino.documents import StreamSegment
    >>> StreamSegment("projections", 57).name
    'projections_from_00057'
    >>> StreamSegment.of("projections_from_00057_2")
    StreamSegment(base='projections', first=57, take=2)
    >>> StreamSegment.of("flats")
    StreamSegment(base='flats', first=0, take=1)
    """

    base: str
    first: int = 0
    take: int = 1

    @property
    def name(self) -> str:
        """Name of the stream."""
        if not self.first and self.take == 1:
            return self.base
        again = "" if self.take == 1 else f"_{self.take}"
        return f"{self.base}_from_{self.first:05d}{again}"

    @classmethod
    def of(cls, stream: str) -> "StreamSegment":
        """Read the name of a stream; one of another form is a whole stream."""
        found = _SEGMENT.fullmatch(stream)
        if found is None:
            return cls(stream)
        return cls(found["base"], int(found["first"]), int(found["take"] or 1))


def free_segment(base: str, first: int, taken: Collection[str]) -> StreamSegment:
    """Return the segment from a frame on whose name no stream has yet.

    Parameters
    ----------
    base : str
        Name of the stream that it is a part of.
    first : int
        Index in the scan of its first frame.
    taken : collection of str
        Names of the streams that there are.

    Examples
    --------
    >>> from concertino.documents import free_segment
    >>> free_segment("flats", 3, ["flats", "flats_from_00003"]).name
    'flats_from_00003_2'
    """
    take = 1
    while (segment := StreamSegment(base, first, take)).name in taken:
        take += 1
    return segment


def index_ranges(indices: ArrayLike) -> tuple[range, ...]:
    """Return indices as ranges of those that follow one another.

    Parameters
    ----------
    indices : array_like of int, shape (n,)
        The indices.

    Examples
    --------
    >>> from concertino.documents import index_ranges
    >>> index_ranges([3, 4, 5, 9])
    (range(3, 6), range(9, 10))
    """
    values = np.asarray(indices, np.int64)
    parts = np.split(values, np.flatnonzero(np.diff(values) != 1) + 1)
    return tuple(range(int(part[0]), int(part[-1]) + 1) for part in parts if len(part))
