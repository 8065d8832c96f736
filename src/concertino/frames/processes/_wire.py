"""Frames as they travel between processes: a header, and pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino.frames.core._batch import FrameBatch
from concertino.frames.core._messages import Frames, ProtocolError


def frames_header(
    start: int,
    timestamps: NDArray[np.int64],
    numbers: NDArray[np.int64],
    checksums: NDArray[np.uint64],
    *,
    id: int = 0,
    inline: bool = False,
) -> Frames:
    """Return the header of frames; their pixels follow it, or lie in shared memory."""
    return Frames(
        start=start,
        timestamps=timestamps.astype("<i8", copy=False).tobytes(),
        numbers=numbers.astype("<i8", copy=False).tobytes(),
        checksums=checksums.astype("<u8", copy=False).tobytes(),
        id=id,
        inline=inline,
    )


def unpack_frames(header: Frames, frames: NDArray[Any]) -> FrameBatch:
    """Return the batch that a header and its pixels make.

    Raises
    ------
    ProtocolError
        If the header does not describe as many frames.
    """
    timestamps = _numbers(header.timestamps, "<i8")
    numbers = _numbers(header.numbers, "<i8")
    checksums = _numbers(header.checksums, "<u8")
    if not len(frames) == len(timestamps) == len(numbers) == len(checksums) > 0:
        raise ProtocolError(
            f"{len(frames)} frames arrived with {len(timestamps)} times, {len(numbers)} numbers and "
            f"{len(checksums)} checksums."
        )
    return FrameBatch(header.start, frames, timestamps, numbers, checksums)


def count_of(header: Frames) -> int:
    """Return how many frames a header describes."""
    return len(header.checksums) // 8


def pixels(
    octets: memoryview, count: int, shape: tuple[int, int], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return frames that came with their header, as a read-only view of the message.

    Raises
    ------
    ProtocolError
        If there are not as many bytes as the frames need.
    """
    needed = count * shape[0] * shape[1] * dtype.itemsize
    if len(octets) != needed:
        raise ProtocolError(f"{count} frames arrived with {len(octets)} bytes of {needed}.")
    frames: NDArray[Any] = np.frombuffer(octets, dtype).reshape(count, *shape)
    frames.flags.writeable = False
    return frames


def _numbers(octets: bytes, dtype: str) -> NDArray[Any]:
    if len(octets) % 8:
        raise ProtocolError(f"{len(octets)} bytes arrived where numbers of 8 bytes must be.")
    return np.frombuffer(octets, dtype)
