"""What a source says of its frames must be true of them: as many numbers as times, and numbers that go up."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino import CameraError

from ._frame_source import Grab

#: How far the times of a source that has no clock of its own may be from the computer's, in s.
_CLOCKS_S = 10.0
#: More frames than these are not lost at once: such numbers are none of frames.
_MOST_SKIPPED = 1_000_000


class GrabChecks:
    """Checks what a source says of its frames, grab by grab, and completes what it says of the lost ones.

    A number that is skipped is that of a frame that was exposed and lost, be it in ``dropped`` or not.

    Parameters
    ----------
    source : str
        Name of the source's class, for messages.
    has_clock : bool
        Whether the times are by a clock of its own.
    """

    def __init__(self, source: str, has_clock: bool) -> None:
        self._source = source
        self._has_clock = has_clock
        self._began_s = time.time()
        self._stamped = has_clock  # whether the times are known to be good
        self._next: int | None = None
        self._skipped: set[int] = set()

    def begin(self, first: int | None) -> None:
        """Note that the source exposes from now on.

        Parameters
        ----------
        first : int or None
            Number of its first frame; None when it does not tell.
        """
        self._began_s, self._next = time.time(), first

    def checked(self, grab: Grab, slots: int) -> Grab:
        """Return a grab that says of each frame that was skipped that it is lost.

        Parameters
        ----------
        grab : Grab
            What the source returned.
        slots : int
            How many frames it may have written.

        Raises
        ------
        CameraError
            If it is no account of frames.
        """
        if not isinstance(grab, Grab):
            raise self._error(
                f"returned {type(grab).__name__}", "return a Grab(timestamps, numbers)"
            )
        numbers = grab.numbers
        if (
            not (_is_whole(numbers) and _is_whole(grab.timestamps))
            or len(grab.timestamps) != len(numbers)
        ):  # fmt: skip
            raise self._error(
                f"returned the timestamps {_short(grab.timestamps)} and the numbers {_short(numbers)}",
                "return an array of int64 for each, as long as there are frames: times in ns, and the camera's numbers",
            )
        if len(numbers) > slots:
            raise self._error(
                f"returned {len(numbers)} frames, and `out` has {slots} places",
                "write as many as `out` is long",
            )
        if len(grab.dropped):
            grab = self._told_once(grab)
        if len(numbers):
            self._check_order(numbers)
            if not self._stamped:
                self._check_times(grab)
            grab = self._completed(grab, int(numbers[0]), int(numbers[-1]))
        if len(grab.dropped):
            self._next = max(self._next or 0, *(number + 1 for number in grab.dropped))
        return grab

    def _told_once(self, grab: Grab) -> Grab:
        """Return a grab without those lost frames that were noticed before."""
        told = tuple(int(number) for number in grab.dropped)
        return replace(grab, dropped=tuple(n for n in told if n not in self._skipped))

    def _check_order(self, numbers: NDArray[Any]) -> None:
        last = self._next
        if (last is not None and numbers[0] < last) or (
            len(numbers) > 1 and (numbers[1:] <= numbers[:-1]).any()
        ):
            before = "" if last is None else f" after frame {last - 1}"
            raise self._error(
                f"gave the frames {_short(numbers)}{before}",
                "give each frame a number of its own that goes up by 1 with each exposure",
            )

    def _completed(self, grab: Grab, first: int, last: int) -> Grab:
        """Return a grab that tells also of frames that were skipped, and that the source did not tell of."""
        begin = first if self._next is None else self._next
        self._next = last + 1
        missing = last + 1 - begin - len(grab.numbers)
        if missing <= 0:
            return grab
        if missing > _MOST_SKIPPED:
            raise self._error(
                f"gave the frames {_short(grab.numbers)} after frame {begin - 1}",
                "give each frame a number that goes up by 1 with each exposure",
            )
        known = {*grab.dropped, *grab.numbers.tolist()}
        skipped = [number for number in range(begin, last) if number not in known]
        if not skipped:
            return grab
        self._skipped.update(skipped)
        why = grab.why or "the numbers of its frames have gaps"
        return replace(grab, dropped=(*grab.dropped, *skipped), why=why)

    def _check_times(self, grab: Grab) -> None:
        """Check by the first frame that the times are the computer's, in ns."""
        self._stamped = True
        earliest_s, now_s = self._began_s - _CLOCKS_S, time.time() + _CLOCKS_S
        stamp_s = float(grab.timestamps[0]) / 1e9
        if not earliest_s <= stamp_s <= now_s:
            raise self._error(
                f"gave a first frame with the timestamp {grab.timestamps[0]} ns, {stamp_s - time.time():+.3g} s from now",
                "give the middle of each exposure in ns since 1970, as time.time_ns() does, or the source a method "
                "clock() that returns in s what the clock of its timestamps shows now",
            )

    def _error(self, found: str, instead: str) -> CameraError:
        return CameraError(
            f"{self._source} was asked for frames, and its grab {found}. Have it {instead}."
        )


def _is_whole(values: NDArray[Any] | Sequence[int]) -> bool:
    return isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "iu"


def _short(values: object) -> str:
    text = " ".join(str(values).split())
    return text if len(text) < 60 else f"{text[:57]}..."
