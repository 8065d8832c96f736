"""How the scan's process answers the page's process: a question, a reply, over a socket pair.

The page asks only when a browser has taken what was sent before. So nothing waits anywhere: not in
the scan's process, which keeps the newest only, nor on the way.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from ._picture import Picture

QUESTION = struct.Struct("<QQI")
"""Versions of the newest frame and of the newest slice that the page has, and bytes of what follows:
settings to change, JSON, or nothing."""

PREFIX = struct.Struct("<II")
"""Bytes of a reply's header (JSON) and of its pixels."""


def pack(summary: dict[str, Any], pictures: Sequence[Picture]) -> list[bytes | memoryview]:
    """Return the parts of a reply, to be sent one after another."""
    header = orjson.dumps(
        summary
        | {
            "pictures": [
                {
                    "panel": p.panel,
                    "label": p.label,
                    "stream": p.stream,
                    "number": int(p.number),
                    "version": p.version,
                    "shape": p.shape,
                    "dtype": p.pixels.dtype.str,
                    "size": p.pixels.shape,
                }
                for p in pictures
            ]
        }
    )
    buffers = [p.pixels.data.cast("B") for p in pictures]
    return [PREFIX.pack(len(header), sum(map(len, buffers))), header, *buffers]


def unpack(header: bytes, pixels: bytes) -> tuple[dict[str, Any], list[Picture]]:
    """Return what `pack` was given, from the two parts after the prefix."""
    summary: dict[str, Any] = orjson.loads(header)
    pictures = []
    offset = 0
    for p in summary.pop("pictures"):
        dtype = np.dtype(p["dtype"])
        rows, columns = p["size"]
        image = np.frombuffer(pixels, dtype, rows * columns, offset).reshape(rows, columns)
        offset += image.nbytes
        height, width = p["shape"]
        pictures.append(
            Picture(
                p["panel"],
                p["label"],
                image,
                (height, width),
                p["stream"],
                p["number"],
                p["version"],
            )
        )
    return summary, pictures
