"""Where the pixels of a plain TIFF lie, read without a TIFF library.

Looking up a page takes some ten microseconds, so that the thousands of files of a scan can be checked
before it starts. Whatever is not plain (compressed, tiled, coloured, packed bits, stacks that only their
description tells) is left to tifffile.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_KINDS = {1: "u", 2: "i", 3: "f"}
_UNSIGNED = {1: ("B", 1), 3: ("H", 2), 4: ("I", 4), 16: ("Q", 8)}
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION = 254, 256, 257, 258, 259
_FILL_ORDER, _DESCRIPTION, _STRIPS, _SAMPLES = 266, 270, 273, 277
_STRIP_BYTES, _PREDICTOR, _TILE_WIDTH, _FORMAT, _SUB_IFDS = 279, 317, 322, 339, 330
_READ_ENTRIES = frozenset(
    {
        _SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _FILL_ORDER, _STRIPS, _SAMPLES,
        _STRIP_BYTES, _PREDICTOR, _FORMAT,
    }
)  # fmt: skip
#: How descriptions begin, and what else they say, when one page may stand for a whole stack.
_STACKS = ((b"ImageJ=", b"images="), (b'{"shape"', b'"truncated"'), (b"shape=", b""))


@dataclass(frozen=True)
class PlainTiff:
    """A TIFF of uncompressed grey images that are all alike.

    Parameters
    ----------
    shape : (int, int)
        Height and width, in px.
    dtype : dtype
        Of the pixels, in the file's byte order.
    offsets : tuple of int
        Where the pixels of each page begin, in bytes.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    offsets: tuple[int, ...]


class _NotPlainError(Exception):
    """The file needs a TIFF library."""


def index_plain_tiff(path: Path) -> PlainTiff | None:
    """Return where the images of a plain TIFF are; None if it is not plain or no TIFF at all.

    Raises
    ------
    OSError
        The file cannot be opened.
    """
    with path.open("rb") as file:
        start = file.read(16)
        if len(start) < 16:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                return _index(content, start)
            except (_NotPlainError, struct.error, ValueError, IndexError, MemoryError):
                return None


def _index(content: mmap.mmap, start: bytes) -> PlainTiff:
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    version = struct.unpack(f"{order}H", start[2:4])[0] if order else 0
    if version not in (42, 43):
        raise _NotPlainError
    big = version == 43
    (position,) = struct.unpack(
        f"{order}Q" if big else f"{order}4xI", start[8:16] if big else start[:8]
    )
    found: tuple[tuple[int, int], np.dtype[Any]] | None = None
    offsets: list[int] = []
    seen: set[int] = set()
    stack = False
    while position:
        if position in seen:
            raise _NotPlainError
        seen.add(position)
        tags, position, says_stack = _page(content, position, str(order), big)
        stack = stack or says_stack
        shape, dtype, offset = _pixels(tags, str(order))
        if found not in (None, (shape, dtype)):
            raise _NotPlainError
        found = shape, dtype
        offsets.append(offset)
    if found is None or (stack and len(offsets) == 1):
        raise _NotPlainError
    return PlainTiff(*found, tuple(offsets))


def _page(
    content: mmap.mmap, position: int, order: str, big: bool
) -> tuple[dict[int, tuple[int, ...]], int, bool]:
    """Return a page's tags, the position of the next one, and if its description means a stack."""
    count_format, entry_format, entry_bytes, inline = (
        (f"{order}Q", f"{order}HHQ", 20, 8) if big else (f"{order}H", f"{order}HHI", 12, 4)
    )
    head = struct.calcsize(count_format)
    (entries,) = struct.unpack_from(count_format, content, position)
    tags: dict[int, tuple[int, ...]] = {}
    stack = False
    for entry in range(entries):
        at = position + head + entry * entry_bytes
        tag, kind, count = struct.unpack_from(entry_format, content, at)
        value_at = at + entry_bytes - inline
        if tag in (_TILE_WIDTH, _SUB_IFDS):
            raise _NotPlainError
        if tag == _DESCRIPTION and count > inline:
            (text_at,) = struct.unpack_from(order + ("Q" if big else "I"), content, value_at)
            text = content[text_at : text_at + count]
            stack = stack or any(text.startswith(begin) and word in text for begin, word in _STACKS)
        if tag in _READ_ENTRIES:
            if kind not in _UNSIGNED:
                raise _NotPlainError
            letter, size = _UNSIGNED[kind]
            if count * size > inline:
                (value_at,) = struct.unpack_from(order + ("Q" if big else "I"), content, value_at)
            tags[tag] = struct.unpack_from(f"{order}{count}{letter}", content, value_at)
    (following,) = struct.unpack_from(
        order + ("Q" if big else "I"), content, position + head + entries * entry_bytes
    )
    return tags, following, stack


def _pixels(
    tags: dict[int, tuple[int, ...]], order: str
) -> tuple[tuple[int, int], np.dtype[Any], int]:
    for tag, plain in (
        (_SUBFILE, 0), (_COMPRESSION, 1), (_FILL_ORDER, 1), (_SAMPLES, 1), (_PREDICTOR, 1),
    ):  # fmt: skip
        if tags.get(tag, (plain,)) != (plain,):
            raise _NotPlainError
    if not {_WIDTH, _HEIGHT, _STRIPS, _STRIP_BYTES} <= tags.keys():
        raise _NotPlainError
    shape = tags[_HEIGHT][0], tags[_WIDTH][0]
    bits = tags.get(_BITS, (1,))[0]
    kind = _KINDS.get(tags.get(_FORMAT, (1,))[0])
    if kind is None or bits not in (8, 16, 32, 64) or (kind == "f" and bits == 8):
        raise _NotPlainError
    dtype = np.dtype(f"{order}{kind}{bits // 8}")
    strips, sizes = tags[_STRIPS], tags[_STRIP_BYTES]
    ends = [at + size for at, size in zip(strips, sizes, strict=True)]
    if tuple(ends[:-1]) != strips[1:]:
        raise _NotPlainError
    if not 0 < sum(sizes) == shape[0] * shape[1] * dtype.itemsize:
        raise _NotPlainError
    return shape, dtype, strips[0]
