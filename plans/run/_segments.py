"""A scan in pieces: what of it is to be taken, what was, and what was spoiled."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from bluesky.utils import MsgGenerator
from numpy.typing import NDArray

from concertino._clocks import HostTimes
from concertino.documents import free_segment

from ._pause_request import PauseRequest


@dataclass(frozen=True)
class AcquisitionSegment:
    """Frames of a scan that follow one another and are taken in one go.

    Parameters
    ----------
    base : str
        Name of the scan's stream: ``projections``.
    first : int
        Index in the scan of the first frame.
    count : int
        Number of frames.
    stream : str
        Name of the document stream: ``projections``, or ``projections_from_00057``.
    """

    base: str
    first: int
    count: int
    stream: str

    @classmethod
    def whole(cls, stream: str, count: int) -> "AcquisitionSegment":
        """Return all frames of a stream that is no scan's."""
        return cls(stream, 0, count, stream)

    @property
    def stop(self) -> int:
        """Index in the scan of the frame after the last one."""
        return self.first + self.count


@dataclass(frozen=True)
class Visit:
    """Frames of a stream that are taken before another stream is.

    Parameters
    ----------
    stream : str
        Name of the stream.
    first, stop : int
        Index of the first frame, and of the one after the last.
    """

    stream: str
    first: int
    stop: int


#: Takes a piece, until a switch asks for a pause, if there is one; tells whether all of it was taken.
Take = Callable[[AcquisitionSegment, PauseRequest | None], MsgGenerator[bool]]


@dataclass(frozen=True)
class Exposures:
    """When frames of a piece were exposed.

    Parameters
    ----------
    piece : AcquisitionSegment
        The piece.
    began, ended : HostTimes
        When taking it began and ended.
    indices : ndarray of int64, shape (n,)
        Indices in the scan of the frames of which more is known.
    times : HostTimes, shape (n,)
        The end of their exposures.
    """

    piece: AcquisitionSegment
    began: HostTimes
    ended: HostTimes
    indices: NDArray[np.int64]
    times: HostTimes

    def since(self, spoiled: HostTimes) -> NDArray[np.int64]:
        """Return the indices of the frames that were exposed at or after a time."""
        if spoiled > self.ended:
            return np.empty(0, np.int64)
        if spoiled <= self.began or not len(self.indices):
            return np.arange(self.piece.first, self.piece.stop)
        return self.indices[self.times >= spoiled]

    def before(self, spoiled: HostTimes) -> "Exposures":
        """Return what is left of it when what came at or after a time is taken again."""
        good = self.times < spoiled
        ended = spoiled if good.any() else self.began
        return replace(self, ended=ended, indices=self.indices[good], times=self.times[good])


class RemainingFrames:
    """What is still to be taken of a scan, in the order of its visits.

    Parameters
    ----------
    visits : sequence of Visit
        What is taken, in order.
    missing : mapping of str to sequence of range, optional
        Which of them are to be taken; all by default.
    names : iterable of str
        Names of document streams that the scan has already.
    whole : collection of str
        Streams that are taken as a whole or not at all.
    averaged : collection of str
        Streams of which spoiled frames cannot be told apart later: all are taken again then.
    """

    def __init__(
        self,
        visits: Sequence[Visit],
        missing: Mapping[str, Sequence[range]] | None = None,
        names: Iterable[str] = (),
        *,
        whole: Iterable[str] = (),
        averaged: Iterable[str] = (),
    ) -> None:
        self._names = set(names)
        self._whole, self._averaged = set(whole), set(averaged)
        self._visits = tuple(visits)
        counts = {visit.stream: visit.stop for visit in self._visits}
        self._missing = {base: np.ones(count, bool) for base, count in counts.items()}
        if missing is not None:
            for base, due in self._missing.items():
                due[:] = False
                for part in missing.get(base, ()):
                    due[part.start : part.stop] = True
        self._taken: list[Exposures] = []

    def next(self) -> AcquisitionSegment | None:
        """Return the next piece to be taken; None when there is none."""
        for visit in self._visits:
            for first, stop in _runs(self._missing[visit.stream], visit):
                stream = free_segment(visit.stream, first, self._names).name
                return AcquisitionSegment(visit.stream, first, stop - first, stream)
        return None

    def is_last(self, piece: AcquisitionSegment) -> bool:
        """Whether nothing is missing any more when a piece is taken."""
        missing = sum(int(due.sum()) for due in self._missing.values())
        return missing == piece.count

    def begin(self, piece: AcquisitionSegment) -> None:
        """Note that a piece begins: its stream has its name from now on."""
        self._names.add(piece.stream)

    def note(
        self,
        piece: AcquisitionSegment,
        complete: bool,
        began: HostTimes,
        numbers: NDArray[np.int64],
        times: HostTimes,
    ) -> None:
        """Note what was taken of a piece.

        Parameters
        ----------
        piece : AcquisitionSegment
            The piece.
        complete : bool
            Whether all of it was; a frame that was lost may be lost then.
        began : HostTimes
            When it began.
        numbers : ndarray of int64, shape (n,)
            Frames that were taken, counted in the piece.
        times : HostTimes, shape (n,)
            The end of their exposures.
        """
        reached = int(numbers.max()) + 1 if len(numbers) else 0
        stop = piece.stop if complete else piece.first + reached
        if complete or piece.base not in self._whole:
            self._missing[piece.base][piece.first : stop] = False
        taken = AcquisitionSegment(piece.base, piece.first, stop - piece.first, piece.stream)
        self._taken.append(
            Exposures(taken, began, HostTimes(time.time_ns()), piece.first + numbers, times)
        )

    def spoil(self, since_s: float | None) -> bool:
        """Have frames taken again that were exposed at or after a time, in seconds since the epoch.

        Returns
        -------
        bool
            Whether there are any.
        """
        if since_s is None:
            return False
        since = HostTimes.of_seconds(since_s)
        kept, some = [], False
        for taken in self._taken:
            base, spoiled = taken.piece.base, taken.since(since)
            if len(spoiled):
                some = True
                if base in self._averaged or base in self._whole:
                    spoiled = np.arange(len(self._missing[base]))
                self._missing[base][spoiled] = True
                taken = taken.before(since)
            if taken.ended > taken.began:
                kept.append(taken)
        self._taken = kept
        return some

    def missing(self) -> dict[str, list[list[int]]]:
        """Return the first index of what is missing, and the one after the last, by stream."""
        found = {
            base: [[first, stop] for first, stop in _runs(due, Visit(base, 0, len(due)))]
            for base, due in self._missing.items()
        }
        return {base: pairs for base, pairs in found.items() if pairs}

    def announced(self) -> dict[str, int]:
        """Return the frames of each stream that is to come, if nothing comes between."""
        found: dict[str, int] = {}
        for visit in self._visits:
            for first, stop in _runs(self._missing[visit.stream], visit):
                found[free_segment(visit.stream, first, self._names).name] = stop - first
        return found


def _runs(due: NDArray[np.bool_], visit: Visit) -> list[tuple[int, int]]:
    """Return the first index of what is due in a visit, and the one after the last, run by run."""
    inside = np.concatenate([[False], due[visit.first : visit.stop], [False]]).astype(int)
    edges = (np.flatnonzero(np.diff(inside)) + visit.first).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))
