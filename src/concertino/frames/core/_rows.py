"""Which rows of frames somebody needs."""

from collections.abc import Iterable, Sequence

#: Rows that follow one another: begin and end of each stretch, in order, without overlap.
Rows = tuple[tuple[int, int], ...]
#: Rows that are not needed, and lie between others, are read with them when they are no more than this.
_GAP = 8


def stretches(rows: Iterable[int]) -> Rows:
    """Return the stretches that hold some rows."""
    return joined([(row, row + 1) for row in rows])


def joined(parts: Sequence[tuple[int, int]]) -> Rows:
    """Return the stretches that hold others."""
    found: list[tuple[int, int]] = []
    for begin, end in sorted(parts):
        if found and begin <= found[-1][1] + _GAP:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return tuple(found)
