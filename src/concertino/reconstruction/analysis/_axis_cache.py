"""The rotation axis of a scan that goes on: found again when there is more to look at."""

from collections.abc import Callable
from dataclasses import replace

from ._result import AxisEstimate

_MORE = 1.25  # so many times the projections, and an axis is looked for again
_STILL_PX = 0.05  # an axis that moved by less has not moved, for a look


class AxisCache:
    """Remembers the axis that was found, and from how much.

    It is told each time how to find it: keeping that would keep whoever finds it, and its projections,
    until Python happens to look for cycles.
    """

    def __init__(self) -> None:
        self._found: AxisEstimate | None = None
        self._key: tuple[object, ...] = ()
        self._glimpse: tuple[int, AxisEstimate] | None = None

    def forget(self) -> None:
        """Find it anew the next time."""
        self._found = self._glimpse = None

    def exact(self, find: Callable[[], AxisEstimate], key: tuple[object, ...]) -> AxisEstimate:
        """Return the axis from all that is there, which `key` tells apart.

        Parameters
        ----------
        find
            Finds the axis from what is there.
        key
            The axis is found anew when it is another one.
        """
        if self._found is None or key != self._key:
            self._found, self._key = find(), key
        return self._found

    def lately(
        self,
        find: Callable[[], AxisEstimate],
        key: tuple[object, ...],
        received: int,
        expected: int,
    ) -> AxisEstimate:
        """Return the axis as it was found when there was a good part of what there is now.

        Parameters
        ----------
        find, key
            As for `exact`.
        received, expected
            Number of projections.
        """
        due = self._glimpse is None or received > _MORE * self._glimpse[0] or received == expected
        if due:
            found = self.exact(find, key)
            if self._glimpse is not None:
                before = self._glimpse[1]
                if abs(before.center_px - found.center_px) < _STILL_PX:
                    # the same column: what was spread for it can go on
                    found = replace(found, center_px=before.center_px)
            self._glimpse = (received, found)
        assert self._glimpse is not None
        return self._glimpse[1]
