"""From the ids that GenICam cameras give their frames to numbers that count from 0."""

import math

from concertino import CameraError

_LARGEST_SHORT = 2**16 - 1


class FrameIds:
    """Counts the frames of a camera by their ids, across the end of short ones.

    GigE Vision numbers from 1 to 65535, and then from 1 again; newer cameras go on, and some use 0,
    too. USB3 Vision numbers from 0. By their standards they begin anew with each stream, and not all do:
    one that has been seen to, not where short ids end, is believed, so that frames lost before the first are counted; of another
    one the first frame is whichever comes first.

    Parameters
    ----------
    first : int
        The id with which a stream begins by the standard.
    short : bool
        Whether ids may begin again after 65535.
    """

    def __init__(self, first: int, *, short: bool) -> None:
        self._first = first
        self._short = short
        self._uses_zero = first == 0
        self._begins_anew = False
        #: The last id of all, and below which one no end of short ids is near.
        self._before, self._far = -1, _LARGEST_SHORT // 2 if short else math.inf
        self._last: int | None = None
        self._number = -1

    def begin(self) -> None:
        """Begin a stream."""
        self._last, self._number = None, -1

    def number(self, frame_id: int, lost: int = 0) -> int:
        """Return the number of the frame with an id; each is more than the one before.

        Parameters
        ----------
        frame_id : int
            The camera's.
        lost : int
            How many are known to be lost before the first that came: broken ones, without an id.

        Raises
        ------
        CameraError
            If the ids go backwards.
        """
        if self._last is None:
            # One that goes on comes to its first id by itself, where short ids begin again.
            self._begins_anew |= frame_id == self._first and 0 <= self._before < self._far
            self._number = max(lost, frame_id - self._first) if self._begins_anew else lost
        else:
            self._number += self._step(frame_id, self._last)
        self._before = self._last = frame_id
        return self._number

    def _step(self, frame_id: int, last: int) -> int:
        if frame_id > last:
            return frame_id - last
        if not self._short or last > _LARGEST_SHORT:
            raise CameraError(
                f"A GenICam camera gave frame {frame_id} after frame {last}; it began anew, or another "
                "program drives it. Take care that nobody else does, and take the frames again."
            )
        self._uses_zero |= frame_id == 0
        return frame_id + _LARGEST_SHORT + self._uses_zero - last
