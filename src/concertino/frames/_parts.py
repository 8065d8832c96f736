"""A stream that several subscribers share: each takes some rows of every frame, or some of the frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from concertino._errors import ParameterError


@dataclass(frozen=True)
class Part:
    """Which part of a stream a subscriber takes.

    Parameters
    ----------
    number : int
        Which part, from 0.
    of : int
        How many parts there are; each needs a subscriber.
    by : {"rows", "frames"}
        ``rows``: an equal share of the rows of every frame, for workers that reconstruct slices. ``frames``:
        every so-manieth frame whole, for writers.
    at_once : int
        By frames: so many consecutive ones go to the same part, for instance as many as fit into a file.

    Raises
    ------
    ParameterError
        If there is no such part.

    Examples
    --------
    >>> from concertino.frames import Part
    >>> Part(1, 4).rows(2048)
    slice(512, 1024, None)
    >>> Part(1, 2, by="frames", at_once=100).next_run(0, 1000)
    (100, 200)
    """

    number: int
    of: int
    by: Literal["rows", "frames"] = "rows"
    at_once: int = 1

    def __post_init__(self) -> None:
        if self.by not in ("rows", "frames"):
            raise ParameterError(f"part: by={self.by!r} was given; give 'rows' or 'frames'.")
        if not 0 <= self.number < self.of:
            raise ParameterError(
                f"part: number {self.number} of {self.of} was given; the parts are 0 to of - 1."
            )
        if self.at_once < 1:
            raise ParameterError(f"part: at_once={self.at_once} was given; give 1 or more.")

    @property
    def suffix(self) -> str:
        """What its subscriber's name ends in."""
        return f" {self.number + 1}/{self.of}"

    def rows(self, height: int) -> slice:
        """Return which rows of frames of a height in pixels belong to it."""
        if self.by == "frames":
            return slice(0, height)
        return slice(height * self.number // self.of, height * (self.number + 1) // self.of)

    def next_run(self, start: int, stop: int) -> tuple[int, int]:
        """Return the first consecutive frames of ``[start, stop)`` that belong to it.

        Returns
        -------
        tuple of int
            Their start and stop; ``(stop, stop)`` if there are none.
        """
        if self.by == "rows":
            return start, stop
        turn = start // self.at_once
        turn += (self.number - turn) % self.of
        first = max(start, turn * self.at_once)
        return min(first, stop), min((turn + 1) * self.at_once, stop)
