"""Keeps frames in memory."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino import ParameterError, SessionError
from concertino.consumers._frame_callback import AnnouncedStream, FrameCallback
from concertino.frames import Subscription


class Accumulator(FrameCallback):
    """Keeps the frames of the last run in memory.

    Parameters
    ----------
    streams : collection of str, optional
        Streams to keep; all by default.
    max_bytes : int
        Memory for one stream's frames, in bytes; of a stream that needs more it keeps the first.
    name : str
        Name as a subscriber.
    necessary : bool
        Whether a run fails with it; otherwise it goes on without it, and `error` tells why.

    Examples
    --------
    >>> from concertino.callbacks import Accumulator
    >>> accumulator = Accumulator(streams=("flats",))
    >>> accumulator.streams
    ()
    """

    def __init__(
        self,
        *,
        streams: tuple[str, ...] | None = None,
        max_bytes: int = 4 * 2**30,
        name: str = "accumulator",
        necessary: bool = False,
    ) -> None:
        if max_bytes <= 0:
            raise ParameterError(
                f"max_bytes: {max_bytes} was given; give the memory for frames in bytes, more than 0."
            )
        super().__init__(name, streams, necessary=necessary)
        self.max_bytes = max_bytes
        self._frames: dict[str, list[NDArray[Any]]] = {}

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams of the last run of which there are frames."""
        return tuple(self._frames)

    def frames(self, stream: str) -> NDArray[Any]:
        """Return the frames of a stream of the last run that came so far.

        Parameters
        ----------
        stream : str
            Name of the document stream.

        Returns
        -------
        ndarray, shape (n, height, width)
            In order.

        Raises
        ------
        ParameterError
            If none came.
        """
        blocks = self._frames.get(stream)
        if not blocks:
            raise ParameterError(
                f"stream: frames of {stream!r} were asked for; the last run gave frames of "
                f"{', '.join(self._frames) or 'no stream'}. Name one of these."
            )
        if len(blocks) > 1:
            blocks[:] = [np.concatenate(blocks)]
        return blocks[0]

    def clear(self) -> None:
        """Forget all frames."""
        self._frames.clear()

    def run_started(self, start: Mapping[str, Any]) -> None:
        """Forget the frames of the run before."""
        self.clear()

    def take(self, stream: AnnouncedStream, subscription: Subscription) -> None:
        """Copy the frames."""
        kept: list[NDArray[Any]] = []
        self._frames[stream.name] = kept
        size = 0
        for batch in subscription:
            size += batch.frames.nbytes
            if size > self.max_bytes:
                raise SessionError(
                    f"{self.name} keeps at most {self.max_bytes} bytes of {stream.name} in memory, "
                    f"and more than {batch.start} frames came. Give it more max_bytes, or only the "
                    "streams that are wanted."
                )
            kept.append(batch.frames.copy())
            subscription.acknowledge(batch.stop)
