"""What alarms watch: each check is a value, and examines a run with an examiner of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from concertino.documents import ImageKind, TomoBlock, is_ledger

from ._alarm import Alarm, Level, check_level, check_positive


@dataclass(frozen=True)
class SeenFrame:
    """A frame that is looked at.

    Parameters
    ----------
    kind : {"dark", "flat", "projection"}
        What it shows.
    stream : str
        Name of its document stream.
    index : int
        In the scan, from 0.
    image : ndarray, shape (height, width)
        Read-only; gone when the next frame is looked at.
    """

    kind: ImageKind
    stream: str
    index: int
    image: NDArray[Any]


#: Pixels pile up at the most that a camera can tell: there are so many times as many as have up to
#: `_LITTLE` counts less.
_PILED, _LITTLE = 2.0, 3
#: A camera tells more than this, as 8 bits do.
_LEAST_TOP = 255

#: Work that takes long, done in a thread that holds nobody up, in the order in which it was given.
Later: TypeAlias = Callable[[], Iterable[Alarm]]


class Examiner(Protocol):
    """Looks at one run for one check."""

    def wants(self, kind: ImageKind, index: int) -> bool:
        """Whether it wants a frame besides those that are looked at anyway."""

    def frame(self, frame: SeenFrame) -> Iterator[Alarm | Later]:
        """Look at a frame."""

    def exposures(
        self, stream: str, first: int, numbers: NDArray[np.int64], times_ns: NDArray[np.int64]
    ) -> Iterator[Alarm]:
        """Look at the camera's numbers and the times of all frames from an index on."""

    def document(self, name: str, document: Mapping[str, Any]) -> Iterator[Alarm]:
        """Look at a document that tells no frame."""

    def end(self) -> Iterator[Alarm]:
        """Look back at a run that has ended."""


class Check(Protocol):
    """Something that is watched."""

    @property
    def level(self) -> Level:
        """What its alarms do."""

    def examiner(self, start: Mapping[str, Any], tomo: TomoBlock) -> Examiner:
        """Return what examines a run."""


class Idle:
    """An examiner that wants nothing."""

    def wants(self, kind: ImageKind, index: int) -> bool:
        """Want no frame besides those that are looked at anyway."""
        return False

    def frame(self, frame: SeenFrame) -> Iterator[Alarm | Later]:
        """See nothing in a frame."""
        yield from ()

    def exposures(
        self, stream: str, first: int, numbers: NDArray[np.int64], times_ns: NDArray[np.int64]
    ) -> Iterator[Alarm]:
        """See nothing in numbers and times."""
        yield from ()

    def document(self, name: str, document: Mapping[str, Any]) -> Iterator[Alarm]:
        """See nothing in a document."""
        yield from ()

    def end(self) -> Iterator[Alarm]:
        """See nothing when looking back."""
        yield from ()


@dataclass(frozen=True)
class Saturation:
    """Watches for pixels that are as bright as the camera can tell.

    Parameters
    ----------
    share : float
        Share of a frame's pixels that may be saturated, 0 to 1.
    value : float, optional
        From which value on a pixel is. By default the largest of the frames' type, and the value at
        which a camera of fewer bits, or one whose pixels are full, stops: the largest of a frame when
        far more pixels have it than have a little less, and it is 255, 511, … 32767 or was the
        largest in another such frame of the stream. Darks, and frames of real numbers, are then
        only looked at if a value is given.
    level : {"note", "warn", "pause", "fail"}
        What the alarm does.
    """

    share: float = 0.001
    value: float | None = None
    level: Level = "warn"

    def __post_init__(self) -> None:
        check_level(self.level)
        check_positive("share", self.share, "the share of the pixels that may be saturated")

    def examiner(self, start: Mapping[str, Any], tomo: TomoBlock) -> Examiner:
        """Return what examines a run."""
        return _Brightness(self)


class _Brightness(Idle):
    def __init__(self, asked: Saturation) -> None:
        self._asked = asked
        self._said: set[str] = set()
        self._tops: dict[str, int] = {}

    def frame(self, frame: SeenFrame) -> Iterator[Alarm]:
        asked = self._asked
        if frame.stream in self._said:
            return
        limit = asked.value if asked.value is not None else self._most(frame)
        if limit is None:
            return
        share = float(np.count_nonzero(frame.image >= limit)) / frame.image.size
        if share > asked.share:
            self._said.add(frame.stream)
            yield Alarm(
                "saturation", asked.level, frame.stream, frame.index, share, asked.share, "",
                f"{100 * share:.3g} % of the pixels of frame {frame.index} of {frame.stream} are "
                f"saturated (at {limit:g} or above); {100 * asked.share:.3g} % may be. Lower the "
                "exposure or the beam.",
            )  # fmt: skip

    def _most(self, frame: SeenFrame) -> float | None:
        """Return the value that no pixel can exceed, as far as it shows."""
        image = frame.image
        if image.dtype.kind not in "ui":
            return None
        largest = int(np.iinfo(image.dtype).max)
        if frame.kind == "dark":
            return largest
        top = int(image.max())
        at_top = np.count_nonzero(image == top)
        if at_top <= self._asked.share * image.size:
            return largest
        little_less = np.count_nonzero(image >= max(top - _LITTLE, 0)) - at_top
        if at_top < _PILED * little_less:
            return largest
        if top < _LEAST_TOP:
            return largest
        again = top == self._tops.get(frame.stream)
        self._tops[frame.stream] = top
        return top if again or (top + 1) & top == 0 else largest


@dataclass(frozen=True)
class LostFrames:
    """Watches the camera's frame numbers and the ledger for frames that were lost, in any run with frames.

    Parameters
    ----------
    first : int, optional
        Number that the first frame of a stream must have, such as 1; any by default.
    level : {"note", "warn", "pause", "fail"}
        What the alarm does.
    """

    first: int | None = None
    level: Level = "warn"

    def __post_init__(self) -> None:
        check_level(self.level)

    def examiner(self, start: Mapping[str, Any], tomo: TomoBlock | None = None) -> Examiner:
        """Return what examines a run, which need be no scan."""
        return _Gaps(self)


class _Gaps(Idle):
    def __init__(self, asked: LostFrames) -> None:
        self._asked = asked
        self._due: dict[str, int] = {}
        self._missing: dict[str, int] = {}
        self._ledgers: dict[str, str] = {}

    def exposures(
        self, stream: str, first: int, numbers: NDArray[np.int64], times_ns: NDArray[np.int64]
    ) -> Iterator[Alarm]:
        begin = int(numbers[0]) if self._asked.first is None else self._asked.first
        before = self._due.get(stream, begin)
        expected = np.concatenate([[before], numbers[:-1] + 1])
        self._due[stream] = int(numbers[-1]) + 1
        for place in np.flatnonzero(expected != numbers):
            missing = int(numbers[place] - expected[place])
            index = first + int(place)
            self._missing[stream] = self._missing.get(stream, 0) + max(0, missing)
            yield self._alarm(
                stream, index, missing,
                f"{missing} frames are missing before frame {index} of {stream}: the camera's number is "
                f"{numbers[place]}, and {expected[place]} was due."
                if missing > 0
                else f"Frame {index} of {stream} has the camera's number {numbers[place]}, and "
                f"{expected[place]} was due: frames were repeated or swapped.",
            )  # fmt: skip

    def document(self, name: str, document: Mapping[str, Any]) -> Iterator[Alarm]:
        if name == "descriptor" and is_ledger(document["name"]):
            for key in document["data_keys"]:
                if key.endswith("-dropped"):
                    self._ledgers[document["uid"]] = key.removesuffix("-dropped")
        elif name == "event" and document["descriptor"] in self._ledgers:
            prefix, data = self._ledgers[document["descriptor"]], document["data"]
            stream, lost = data[f"{prefix}-stream"], int(data[f"{prefix}-dropped"])
            # Those that the numbers tell of are told, with their place; not those at the end.
            if data[f"{prefix}-role"] == "publisher" and lost > self._missing.get(stream, 0):
                told = f"The ledger tells that the camera lost {lost} frames of {stream}."
                yield self._alarm(stream, -1, lost, told)

    def _alarm(self, stream: str, index: int, count: int, message: str) -> Alarm:
        return Alarm(
            "lost frames", self._asked.level, stream, index, float(count), 0.0, "frame", message
        )
