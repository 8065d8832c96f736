"""What of a stream is written, read and lost, by the detector's counters and by its file."""

import logging
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino.devices.camera._frame_source import ChooseRows, Grab
from concertino.storage import GrowingFrames, open_growing

LOG = logging.getLogger(__name__)

#: By how much the clocks of a detector and of this computer may differ, in ns.
_CLOCKS_NS = 10**9


class FileProgress:
    """One stream of a detector that writes its own file: counters from the loop, frames from the file.

    Parameters
    ----------
    period_s : float
        Time from frame to frame, in s.
    exposure_s : float
        Exposure time, in s.
    lost_s : float
        When neither counters nor file have gone on for so long, in s, what is not in the file is lost.

    Attributes
    ----------
    written : int
        Frames that the detector has counted as written.
    exposed : int
        Frames that it has counted as exposed; at least those.
    flushed : int
        Frames that can be looked for in the file: what was counted before it was flushed.
    behind_s : float
        How long after it had been counted a frame was read, at most, in s.
    """

    def __init__(self, period_s: float, exposure_s: float, lost_s: float) -> None:
        self.written = self.exposed = self.flushed = 0
        self.behind_s = 0.0
        self._period_ns, self._half_ns = int(period_s * 1e9), int(exposure_s * 0.5e9)
        self._lost_s = lost_s
        self._file: GrowingFrames | None = None
        self._read = 0
        self._present = 0
        self._dropped = 0
        self._first: int | None = None
        self._times: list[int] = []
        self._begun_ns = 0
        self._stamped: bool | None = None
        self._grown_s = 0.0
        self._ended = ""

    def begin(self) -> None:
        """Note that the detector exposes from now on."""
        self._grown_s, self._begun_ns = time.monotonic(), time.time_ns()

    def open(self, resource: Mapping[str, Any]) -> None:
        """Read from the file that a stream_resource names.

        Raises
        ------
        StorageError
            If there is no reader for it.
        """
        if self._file is None:
            self._file = open_growing(resource)

    def note(self, written: int, exposed: int) -> None:
        """Note what the detector has counted."""
        new = written - self.written
        if new > 0:
            now_ns = time.time_ns() - self._half_ns
            self._times += [now_ns - (new - 1 - i) * self._period_ns for i in range(new)]
        if new > 0 or exposed > self.exposed:
            self._grown_s = time.monotonic()
        self.written = max(self.written, written)
        self.exposed = max(self.exposed, exposed, self.written)

    def give_up(self, why: str) -> None:
        """Look for nothing more: what was not in the file until now is lost."""
        self._ended, self._present = why, self._read

    @property
    def pending(self) -> bool:
        """Whether there may be something to read, or something has been lost."""
        return self._read < self.flushed or self._missing_for_long

    @property
    def lost(self) -> int:
        """How many frames were lost until now."""
        return self._dropped

    @property
    def _missing(self) -> int:
        return self.exposed - self._read - self._dropped

    @property
    def _missing_for_long(self) -> bool:
        late = time.monotonic() - self._grown_s > self._lost_s
        return self._missing > 0 and (late or bool(self._ended))

    def grab(self, out: NDArray[Any], choose_rows: ChooseRows = lambda _count: None) -> Grab:
        """Read new frames into `out`, the rows of them that are needed; say which are lost, when none are new and none have been for long."""
        if (
            not self._ended
            and self._present <= self._read
            and self._read < self.flushed
            and self._file is not None
        ):
            present = self._file.count(self.flushed)
            if present > self._present:
                self._present, self._grown_s = present, time.monotonic()
        count = min(len(out), self._present - self._read)
        if count > 0 and self._file is not None:
            return self._read_frames(self._file, out[:count], choose_rows(count))
        if self._missing_for_long:
            return self._lost()
        return Grab(np.empty(0, np.int64), np.empty(0, np.int64))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read_frames(
        self, file: GrowingFrames, out: NDArray[Any], rows: tuple[tuple[int, int], ...] | None
    ) -> Grab:
        start, stop = self._read, self._read + len(out)
        file.read(start, out, rows)
        numbers = np.arange(start, stop) + self._dropped
        told = file.numbers(start, stop)
        lost: tuple[int, ...] = ()
        if told is not None:
            self._first = int(told[0]) if self._first is None else self._first
            own = told - self._first
            if own[0] >= numbers[0] and (np.diff(own) > 0).all():
                whole = np.arange(numbers[0], own[-1] + 1)
                lost = tuple(int(number) for number in np.setdiff1d(whole, own))
                numbers = own
        self._read = stop
        self._dropped += len(lost)
        times = np.array(self._times[start:stop], np.int64)
        self.behind_s = max(self.behind_s, (time.time_ns() - self._half_ns - int(times[0])) * 1e-9)
        times = self._exposed_ns(file, start, times)
        why = f"the numbers of the frames in {file.place} have gaps" if lost else ""
        return Grab(times, numbers.astype(np.int64), lost, why)

    def _exposed_ns(
        self, file: GrowingFrames, start: int, counted: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the middles of exposures by the detector's stamps, or else by when frames were counted."""
        stamps = file.stamps_ns(start, start + len(counted))
        if stamps is None:
            return counted
        if self._stamped is None:
            ahead_ns = int(stamps[0]) - time.time_ns()
            late_ns = int(stamps[0]) - self._begun_ns
            self._stamped = late_ns > -_CLOCKS_NS and ahead_ns < _CLOCKS_NS
            if not self._stamped:
                LOG.warning(
                    "The first frame in %s is stamped %+.3f s from now by its detector's clock. The times of frames are when "
                    "they were counted, some hundredths of a second late; set both clocks by NTP.",
                    file.place, ahead_ns * 1e-9,
                )  # fmt: skip
        return stamps - self._half_ns if self._stamped else counted

    def _lost(self) -> Grab:
        first = self._read + self._dropped
        lost = tuple(range(first, self.exposed))
        self._dropped += len(lost)
        place = (
            "no file is known, so nothing"
            if self._file is None
            else f"{self._file.place} holds {self._read}"
        )
        held = f"the detector counted {self.exposed} exposures and {place}"
        if self._file is None:
            held = f"the detector counted {self.exposed} exposures and wrote none"
        why = (
            self._ended
            or f"neither has gone on for {self._lost_s:.3g} s; check the writer and its disk"
        )
        return Grab(np.empty(0, np.int64), np.empty(0, np.int64), lost, f"{held}, and {why}")
