"""Stored frames on a frame stream."""

import math
from collections.abc import Iterator

from concertino.frames import Claim, FrameStream, Ledger
from concertino.storage.images._frame_index import UNKNOWN
from concertino.storage.images._stored_frames import StoredFrames

from ._pace import ReplayPace

_BATCH_BYTES = 8 * 2**20
_RING_BYTES = 128 * 2**20


class ReplayedStream:
    """A new frame stream that publishes stored frames.

    Parameters
    ----------
    frames
        The frames.
    key
        Name of their data key.
    position
        Index of the first frame to publish.
    address
        Where to publish.
    """

    def __init__(self, frames: StoredFrames, key: str, position: int, address: str) -> None:
        self.key = key
        self.position = position
        self._frames = frames
        height, width = frames.shape[1:]
        self._stream = FrameStream(
            address,
            shape=(height, width),
            dtype=frames.dtype,
            name=f"replay-{key}",
            ring_bytes=_RING_BYTES,
            patience_s=math.inf,  # A replay loses nothing by waiting.
        )
        frame_bytes = max(1, height * width * frames.dtype.itemsize)
        self._at_once = max(1, min(_BATCH_BYTES // frame_bytes, self._stream.capacity // 4))

    @property
    def address(self) -> str:
        """Where subscribers find the frames."""
        return self._stream.address

    @property
    def claims(self) -> tuple[Claim, ...]:
        """What subscribers said about where they store the frames."""
        return self._stream.claims

    def publish(self, count: int, pace: ReplayPace) -> Iterator[tuple[int, int]]:
        """Publish the next frames, and yield after each batch how many are published, and of how many.

        Raises
        ------
        StorageError
            When frames are missing or damaged.
        SubscriberFailedError, SubscriberSilentError
            When a subscriber failed, or did nothing for too long.
        """
        stop = min(self.position + count, len(self._frames))
        index = self._frames.index
        while self.position < stop:
            start = self.position
            wanted = min(1 if pace.waits else self._at_once, stop - start)
            pace.wait_until(_seconds(index["timestamp_ns"][start]))
            slots = self._stream.reserve(wanted)
            last = start + len(slots)
            self._frames.read(start, last, out=slots)
            known = index[start:last]
            self._stream.commit(
                len(slots),
                None if (known["timestamp_ns"] == UNKNOWN).any() else known["timestamp_ns"],
                None if (known["number"] == UNKNOWN).any() else known["number"],
            )
            self.position = last
            yield last, len(self._frames)

    def end(self) -> Ledger:
        """Wait until the subscribers have done all their work, and close the stream.

        Raises
        ------
        FrameStreamError
            When a subscriber failed, was silent, or did not take every frame.
        """
        ledger = self._stream.end()
        error = self._stream.error
        self._stream.close()
        if error is not None:
            raise error
        ledger.check()
        return ledger

    def fail(self, error: BaseException) -> None:
        """Tell the subscribers that no more frames come, and why."""
        self._stream.fail(error)
        self._stream.close()


def _seconds(timestamp_ns: int) -> float | None:
    return None if timestamp_ns == UNKNOWN else int(timestamp_ns) * 1e-9
