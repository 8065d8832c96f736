"""The messages of the frame protocol, as they travel between processes.

A message is a ZeroMQ message of one part, a msgpack map whose key ``kind`` says what it is, or of
two, when pixels follow. The reference documentation describes each kind.
"""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from concertino._errors import FrameStreamError

from ._batch import FrameBatch

VERSION = 1

Message = dict[str, Any]


class ProtocolError(FrameStreamError):
    """What came is no message of the frame protocol."""


def pack(kind: str, **fields: Any) -> bytes:
    """Return the bytes of a message."""
    packed: bytes = msgpack.packb({"kind": kind, **fields})
    return packed


def unpack(octets: bytes | memoryview) -> Message:
    """Return the message that some bytes are.

    Raises
    ------
    ProtocolError
        If they are none.
    """
    try:
        message = msgpack.unpackb(octets)
    except Exception as error:
        raise ProtocolError(f"{len(octets)} bytes that are no msgpack arrived: {error}") from error
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        raise ProtocolError(f"A message without a kind arrived: {str(message)[:80]}")
    return message


def pack_frames(
    start: int,
    timestamps: NDArray[np.int64],
    numbers: NDArray[np.int64],
    checksums: NDArray[np.uint64],
    **fields: Any,
) -> bytes:
    """Return the header of frames; their pixels follow it, or lie in shared memory."""
    return pack(
        "frames",
        start=start,
        timestamps=timestamps.astype("<i8", copy=False).tobytes(),
        numbers=numbers.astype("<i8", copy=False).tobytes(),
        checksums=checksums.astype("<u8", copy=False).tobytes(),
        **fields,
    )


def unpack_frames(message: Message, frames: NDArray[Any]) -> FrameBatch:
    """Return the batch that a header and its pixels make.

    Raises
    ------
    ProtocolError
        If the header does not describe as many frames.
    """
    timestamps = np.frombuffer(message["timestamps"], "<i8")
    numbers = np.frombuffer(message["numbers"], "<i8")
    checksums = np.frombuffer(message["checksums"], "<u8")
    if not len(frames) == len(timestamps) == len(numbers) == len(checksums) > 0:
        raise ProtocolError(
            f"{len(frames)} frames arrived with {len(timestamps)} times, {len(numbers)} numbers and "
            f"{len(checksums)} checksums."
        )
    return FrameBatch(message["start"], frames, timestamps, numbers, checksums)


def count_of(message: Message) -> int:
    """Return how many frames a header describes."""
    return len(message["checksums"]) // 8


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
