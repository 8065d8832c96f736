"""Checks that the camera lost no frame, by the camera's own frame numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from concertino import FramesLostError, ParameterError
from concertino.frames import Subscription, subscribe

from ._frame_callback import AnnouncedStream, FrameCallback


@dataclass(frozen=True)
class FrameNumberGap:
    """Where a camera's frame numbers are not consecutive.

    Attributes
    ----------
    stream : str
        Name of the document stream.
    index : int
        Of the frame after the gap, from 0.
    expected, found : int
        Its camera's frame number.
    """

    stream: str
    index: int
    expected: int
    found: int


class FrameNumberCheck(FrameCallback):
    """Checks that the frames of each stream carry consecutive numbers of the camera's.

    Parameters
    ----------
    first : int, optional
        Number that the first frame of a stream must have, such as 1; any by default.
    on_gap : {"fail", "flag"}
        Fail the run at the first gap, or only note it in `gaps`.
    streams : collection of str, optional
        Streams to check; all by default.
    name : str
        Name as a subscriber.
    necessary : bool, optional
        Whether a run fails with it; by default when it is to fail at a gap.

    Attributes
    ----------
    gaps : list of FrameNumberGap
        Of the last run.
    checked : dict of str to int
        Frames of each stream of the last run.

    Examples
    --------
    >>> from concertino.callbacks import FrameNumberCheck
    >>> check = FrameNumberCheck(first=1)
    """

    def __init__(
        self,
        *,
        first: int | None = None,
        on_gap: Literal["fail", "flag"] = "fail",
        streams: tuple[str, ...] | None = None,
        name: str = "frame numbers",
        necessary: bool | None = None,
    ) -> None:
        if on_gap not in ("fail", "flag"):
            raise ParameterError(
                f"on_gap: {on_gap!r} was given; give 'fail' to fail the run at a gap, or 'flag' to "
                "only note it."
            )
        super().__init__(
            name, streams, necessary=on_gap == "fail" if necessary is None else necessary
        )
        self.gaps: list[FrameNumberGap] = []
        self.checked: dict[str, int] = {}
        self._first = first
        self._on_gap = on_gap

    def run_started(self, start: Mapping[str, Any]) -> None:
        """Forget the run before."""
        self.gaps.clear()
        self.checked.clear()

    def subscribe(self, stream: AnnouncedStream) -> Subscription:
        """Subscribe to a stream, every frame."""
        return subscribe(stream.address, name=self.name, necessary=self.necessary)

    def take(self, stream: AnnouncedStream, subscription: Subscription) -> None:
        """Look at the numbers."""
        due = self._first
        for batch in subscription:
            before = batch.numbers[:1] if due is None else np.array([due])
            expected = np.concatenate([before, batch.numbers[:-1] + 1])
            for place in np.flatnonzero(expected != batch.numbers):
                self._note(
                    FrameNumberGap(
                        stream.name,
                        batch.start + int(place),
                        int(expected[place]),
                        int(batch.numbers[place]),
                    )
                )
            due = int(batch.numbers[-1]) + 1
            self.checked[stream.name] = batch.stop
            subscription.acknowledge(batch.stop)

    def _note(self, gap: FrameNumberGap) -> None:
        self.gaps.append(gap)
        if self._on_gap == "fail":
            raise FramesLostError(
                f"Frame {gap.index} of {gap.stream} has the camera's number {gap.found}, and "
                f"{gap.expected} was due: frames were lost, repeated or swapped. Check the camera's "
                "link, or give FrameNumberCheck on_gap='flag'."
            )
