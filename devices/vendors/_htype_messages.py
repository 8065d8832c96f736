"""Messages whose first part is JSON with an ``htype``: of MAX IV's and PSI's receivers, and DECTRIS' Stream V1.

References
----------
- MAX IV, ``header``, ``image`` and ``series_end``: https://github.com/maxiv-science/streaming-receiver
- PSI, ``array-1.0``: https://github.com/paulscherrerinstitute/mflow and its nodes
- DECTRIS Stream V1, ``dheader-1.0``, ``dimage-1.0`` and ``dseries_end-1.0``: the SIMPLON API reference;
  https://github.com/dectris/documentation/blob/main/stream_v2/README.md compares it with V2
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._stream_messages import SeriesEnd, SeriesImage, SeriesStart, StreamMessage, unreadable

#: As Stream V1 says it: "<", "lz4<", "bs16-lz4<"; ">" for the other byte order.
_ENCODING = re.compile(r"(?:bs(?P<bits>8|16|32)-)?(?P<lz4>lz4)?(?P<order>[<>]?)")
_PLAIN = (None, "", "none", "raw")


class HtypeMessages:
    """Reads messages whose header has an ``htype``.

    Parameters
    ----------
    sender : str
        Who sends them, for errors.
    """

    def __init__(self, sender: str) -> None:
        self._sender = sender
        # Messages of MAX IV are numbered through all series: this is the number of an image 0.
        self._zero: int | None = None

    def read(self, parts: Sequence[memoryview]) -> StreamMessage:
        """Return what a message says.

        Raises
        ------
        CameraError
            If it is of none of the protocols.
        """
        received = parts[0]
        try:
            header = _object(received)
            return self._meaning(header, parts)
        except (LookupError, TypeError, ValueError) as error:
            told = f"lacks what its protocol demands ({type(error).__name__}: {error})"
            raise unreadable(self._sender, told, received) from error

    def _meaning(self, header: Mapping[str, Any], parts: Sequence[memoryview]) -> StreamMessage:
        kind = header["htype"]
        if kind == "array-1.0":
            return _array(header, parts[1])
        if kind == "image":
            self._zero = int(header["msg_number"]) - int(header["frame"])
            return _array(header, parts[1])
        if kind == "header":
            self._zero = int(header["msg_number"]) + 1
            return SeriesStart(None)
        if kind == "series_end":
            zero = self._zero
            return SeriesEnd(None, None if zero is None else int(header["msg_number"]) - zero)
        if kind == "dheader-1.0":
            return _v1_start(header, parts)
        if kind == "dimage-1.0":
            return _v1_image(header, parts)
        if kind == "dseries_end-1.0":
            return SeriesEnd(int(header["series"]))
        raise ValueError(
            f"its htype is {kind!r}, and not image, array-1.0, header, series_end, dheader-1.0, "
            "dimage-1.0 or dseries_end-1.0"
        )


def _object(part: memoryview) -> Mapping[str, Any]:
    value = json.loads(bytes(part))
    if not isinstance(value, dict):
        raise TypeError("a part that should be an object of JSON is none")
    return value


def _array(header: Mapping[str, Any], data: memoryview) -> SeriesImage:
    dtype = np.dtype(str(header["type"]))
    if header.get("endianess") == "big":  # as it is spelled there
        dtype = dtype.newbyteorder(">")
    said = header.get("compression", header.get("encoding"))
    algorithm = "none" if said in _PLAIN else str(said)
    shape = tuple(int(size) for size in header["shape"])
    return SeriesImage(None, int(header["frame"]), shape, dtype, algorithm, dtype.itemsize, data)


def _v1_start(header: Mapping[str, Any], parts: Sequence[memoryview]) -> SeriesStart:
    series = int(header["series"])
    if header.get("header_detail", "none") == "none":
        return SeriesStart(series)
    settings = _object(parts[1])
    count = int(settings["nimages"]) * int(settings.get("ntrigger", 1))
    return SeriesStart(series, count, float(settings["count_time"]))


def _v1_image(header: Mapping[str, Any], parts: Sequence[memoryview]) -> SeriesImage:
    layout = _object(parts[1])
    encoding = str(layout["encoding"])
    match = _ENCODING.fullmatch(encoding)
    if match is None or (match["bits"] and not match["lz4"]):
        raise ValueError(f"its encoding is {encoding!r}, which Stream V1 does not have")
    dtype = np.dtype(str(layout["type"])).newbyteorder(">" if match["order"] == ">" else "<")
    algorithm = "bslz4" if match["bits"] else "lz4-block" if match["lz4"] else "none"
    element_bytes = int(match["bits"]) // 8 if match["bits"] else dtype.itemsize
    width, height = (int(size) for size in layout["shape"])  # the fastest comes first
    begin_s, stop_s = _v1_times(parts)
    middle_s = None if begin_s is None or stop_s is None else (begin_s + stop_s) / 2
    return SeriesImage(
        int(header["series"]), int(header["frame"]), (height, width), dtype, algorithm, element_bytes,
        parts[2], middle_s, stop_s,
    )  # fmt: skip


def _v1_times(parts: Sequence[memoryview]) -> tuple[float | None, float | None]:
    times = _object(parts[3]) if len(parts) > 3 else {}
    if "start_time" not in times or "stop_time" not in times:
        return None, None
    return times["start_time"] * 1e-9, times["stop_time"] * 1e-9
