"""Messages of DECTRIS Stream V2: CBOR, with typed arrays and compressed byte strings as tags.

References
----------
https://github.com/dectris/documentation/blob/main/stream_v2/README.md,
https://github.com/dectris/documentation/blob/main/cbor/dectris-compression-tag.md,
RFC 8949 (CBOR) and RFC 8746 (tags for arrays).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import cbor2
import numpy as np

from concertino import CameraError

from ._stream_messages import SeriesEnd, SeriesImage, SeriesStart, StreamMessage, unreadable

_ROW_MAJOR = 40
_COMPRESSED = 56500


class DectrisMessages:
    """Reads messages of Stream V2.

    Parameters
    ----------
    sender : str
        Who sends them, for errors.
    channel : str
        Which channel (threshold) of an image is wanted; empty for the only one.
    """

    def __init__(self, sender: str, channel: str = "") -> None:
        self._sender = sender
        self._channel = channel

    def read(self, parts: Sequence[memoryview]) -> StreamMessage:
        """Return what a message says.

        Raises
        ------
        CameraError
            If it is none of Stream V2.
        """
        received = parts[0]
        try:
            message = cbor2.loads(received)
        except (cbor2.CBORError, ValueError) as error:
            raise unreadable(self._sender, f"is no CBOR ({error})", received) from error
        if len(parts) > 1 or not isinstance(message, Mapping):
            raise unreadable(self._sender, "is not one map of CBOR", received)
        try:
            return self._meaning(message)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            told = f"lacks what Stream V2 demands ({type(error).__name__}: {error})"
            raise unreadable(self._sender, told, received) from error

    def _meaning(self, message: Mapping[str, Any]) -> StreamMessage:
        kind, series = message["type"], int(message["series_id"])
        if kind == "start":
            return SeriesStart(
                series, int(message["number_of_images"]), float(message["count_time"])
            )
        if kind == "end":
            return SeriesEnd(series)
        if kind != "image":
            raise ValueError(f"its type is {kind!r}, and not start, image or end")
        number = int(message["image_id"])
        shape, array = _tagged(self._of_channel(message["data"], number), _ROW_MAJOR)
        dtype = _dtype(array.tag)
        algorithm, element_bytes, data = "none", dtype.itemsize, array.value
        if isinstance(data, cbor2.CBORTag):
            algorithm, element_bytes, data = _compressed(data)
        begin, stop = (_ratio(message.get(key)) for key in ("start_time", "stop_time"))
        middle = None if begin is None or stop is None else (begin + stop) / 2
        sizes = tuple(int(size) for size in shape)
        return SeriesImage(
            series, number, sizes, dtype, algorithm, element_bytes, memoryview(data), middle, stop
        )

    def _of_channel(self, channels: Mapping[str, Any], number: int) -> object:
        if not self._channel and len(channels) == 1:
            return next(iter(channels.values()))
        if self._channel not in channels:
            wanted = f"channel {self._channel!r}" if self._channel else "one channel"
            raise CameraError(
                f"{self._sender} sent image {number} with the channels {', '.join(map(repr, channels))}; {wanted} was "
                "to be taken. Choose one: channel=NAME."
            )
        return channels[self._channel]


def _tagged(value: object, tag: int) -> Any:
    if not isinstance(value, cbor2.CBORTag) or value.tag != tag:
        raise ValueError(f"where an array of tag {tag} is expected it has {type(value).__name__}")
    return value.value


def _compressed(tag: cbor2.CBORTag) -> tuple[str, int, bytes]:
    algorithm, element_bytes, data = _tagged(tag, _COMPRESSED)
    return str(algorithm), int(element_bytes), data


def _dtype(tag: int) -> np.dtype[Any]:
    """Return the type of a typed array: its tag is 010 f s e ll in bits (float, signed, little-endian, length)."""
    if not 64 <= tag <= 86 or tag == 76:
        raise ValueError(f"its pixels have tag {tag}, which is no typed array")
    is_float, is_signed, is_little = tag & 16, tag & 8, tag & 4
    length = 1 << (tag & 3)
    if is_float:
        return np.dtype(f"{'<' if is_little else '>'}f{2 * length}")
    return np.dtype(f"{'<' if is_little else '>'}{'i' if is_signed else 'u'}{length}")


def _ratio(value: Sequence[int] | None) -> float | None:
    return None if value is None else value[0] / value[1]
