"""Measures how much data came how fast."""

import time
from dataclasses import dataclass

from concertino.consumers._frame_callback import AnnouncedStream, FrameCallback
from concertino.frames import Subscription


@dataclass(frozen=True)
class StreamBenchmark:
    """How much came on one frame stream, and how fast.

    Attributes
    ----------
    run : str
        Uid of the run.
    stream : str
        Name of the document stream.
    frames, bytes : int
        What came.
    duration_s : float
        From the first frame to the end of the stream, in seconds.
    waiting_s : float
        From the announcement to the first frame, in seconds.
    """

    run: str
    stream: str
    frames: int
    bytes: int
    duration_s: float
    waiting_s: float

    @property
    def frames_per_s(self) -> float:
        """Mean frame rate, in Hz."""
        return self.frames / self.duration_s if self.duration_s else 0.0

    @property
    def bytes_per_s(self) -> float:
        """Mean data rate, in bytes per second."""
        return self.bytes / self.duration_s if self.duration_s else 0.0


class Benchmarker(FrameCallback):
    """Takes every frame, does nothing with it, and notes bytes and duration of each stream.

    Parameters
    ----------
    streams : collection of str, optional
        Streams to measure; all by default.
    name : str
        Name as a subscriber.
    necessary : bool
        Whether a run fails with it; otherwise it goes on without it, and `error` tells why.

    Attributes
    ----------
    results : list of StreamBenchmark
        One for each stream that ended, in order.

    Examples
    --------
    >>> from concertino.callbacks import Benchmarker
    >>> benchmarker = Benchmarker()
    """

    def __init__(
        self,
        *,
        streams: tuple[str, ...] | None = None,
        name: str = "benchmark",
        necessary: bool = False,
    ) -> None:
        super().__init__(name, streams, necessary=necessary)
        self.results: list[StreamBenchmark] = []

    def take(self, stream: AnnouncedStream, subscription: Subscription) -> None:
        """Count."""
        announced_s = time.perf_counter()
        begun_s: float | None = None
        frames = size = 0
        try:
            for batch in subscription:
                begun_s = time.perf_counter() if begun_s is None else begun_s
                frames += len(batch)
                size += batch.frames.nbytes
                subscription.acknowledge(batch.stop)
        finally:
            ended_s = time.perf_counter()
            first_s = ended_s if begun_s is None else begun_s
            self.results.append(
                StreamBenchmark(
                    stream.start["uid"],
                    stream.name,
                    frames,
                    size,
                    ended_s - first_s,
                    first_s - announced_s,
                )
            )
