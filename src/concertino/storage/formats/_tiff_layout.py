"""The bytes of a TIFF page around its pixels, laid out once for a shape and dtype.

A file is a file header of 16 bytes and blocks of equal size, one an image: the image file directory
(IFD), its values, the description, then the pixels as one uncompressed little-endian strip, padded to 16
bytes. So block *k* starts at ``16 + k * stride`` and its pixels ``header_bytes`` later, and a page can be
read without walking through the IFDs before it.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._image_sink import ImageStream, stored_dtype

FILE_HEADER_BYTES = 16
_ALIGN = 16
_INDEX_DIGITS = 10
_SAMPLE_FORMATS = {"u": 1, "i": 2, "f": 3}
_ASCII, _SHORT, _LONG, _RATIONAL, _LONG8 = 2, 3, 4, 5, 16
_TYPE_BYTES = {_ASCII: 1, _SHORT: 2, _LONG: 4, _RATIONAL: 8, _LONG8: 8}


@dataclass(frozen=True)
class PageLayout:
    """Where everything is in a page, and the bytes that do not change.

    Attributes
    ----------
    shape, dtype
        Of an image: (height, width), little-endian.
    big
        Whether the file is BigTIFF.
    header
        The block's bytes before the pixels; positions in it count from the block's start.
    stride
        Bytes of a block.
    pointers
        Positions in the header of the values to which the block's position in the file is added.
    next_at
        Position of the pointer to the next page's IFD.
    index_at
        Position of the ten characters of the image's index.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    big: bool
    header: bytes
    stride: int
    pointers: tuple[int, ...]
    next_at: int
    index_at: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of an image's pixels."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    @property
    def pointer(self) -> np.dtype[Any]:
        """The dtype of a position in the file."""
        return np.dtype("<u8" if self.big else "<u4")

    @property
    def padding(self) -> bytes:
        """What follows the pixels in a block."""
        return bytes(self.stride - len(self.header) - self.frame_bytes)

    @property
    def file_header(self) -> bytes:
        """The first bytes of the file."""
        if self.big:
            return struct.pack("<2sHHHQ", b"II", 43, 8, 0, FILE_HEADER_BYTES)
        return struct.pack("<2sHIQ", b"II", 42, FILE_HEADER_BYTES, 0)

    def block_at(self, page: int) -> int:
        """Return the position in the file of the block of this page (counted from 0)."""
        return FILE_HEADER_BYTES + page * self.stride

    def headers(self, first_page: int, first_index: int, count: int) -> NDArray[np.uint8]:
        """Return the headers of consecutive pages, each linked to the next and the last to none.

        Parameters
        ----------
        first_page
            Number of the first page in its file.
        first_index
            Index of the first image in its stream.
        count
            Number of pages.

        Returns
        -------
        NDArray[uint8]
            (count, header bytes).
        """
        headers = np.empty((count, len(self.header)), np.uint8)
        headers[:] = np.frombuffer(self.header, np.uint8)
        blocks = FILE_HEADER_BYTES + np.arange(first_page, first_page + count) * self.stride
        for position in self.pointers:
            self._field(headers, position)[:] += blocks.astype(self.pointer)
        self._field(headers, self.next_at)[:-1] = blocks[1:].astype(self.pointer)
        digits = "".join(f"{i:{_INDEX_DIGITS}d}" for i in range(first_index, first_index + count))
        headers[:, self.index_at : self.index_at + _INDEX_DIGITS] = np.frombuffer(
            digits.encode(), np.uint8
        ).reshape(count, _INDEX_DIGITS)
        return headers

    def _field(self, headers: NDArray[np.uint8], position: int) -> NDArray[Any]:
        return headers[:, position : position + self.pointer.itemsize].view(self.pointer)[:, 0]


def page_layout(stream: ImageStream, *, pages: int = 1) -> PageLayout:
    """Lay out pages of a file that holds up to `pages` images.

    Parameters
    ----------
    stream
        What is stored. Each page says its index and the metadata, as JSON in its ImageDescription; a
        ``pixel_size_um`` becomes the resolution too.
    pages
        Decides on BigTIFF: used when the file can exceed 4 GiB.

    Raises
    ------
    ParameterError
        For a dtype that TIFF has not.
    """
    stored = stored_dtype(stream, "TIFF")
    layout = _layout(stream.shape, stored, stream.metadata, big=False)
    if FILE_HEADER_BYTES + pages * layout.stride >= 2**32:
        layout = _layout(stream.shape, stored, stream.metadata, big=True)
    return layout


def _description(metadata: Mapping[str, Any]) -> tuple[bytes, int]:
    """Return the description's bytes and the position of the index in it."""
    rest = {key: value for key, value in metadata.items() if key != "index"}
    start = '{"index": '
    body = json.dumps(rest, default=str)[1:]
    separator = ", " if rest else ""
    text = start + "0".rjust(_INDEX_DIGITS) + separator + body
    return text.encode("ascii") + b"\0", len(start)


def _resolution(metadata: Mapping[str, Any]) -> tuple[bytes, int]:
    """Return pixels per unit as a rational and the unit: 3 (centimetre) or 1 (none)."""
    size = metadata.get("pixel_size_um")
    if isinstance(size, (int, float)) and 1e-3 <= size <= 1e4:
        return struct.pack("<II", 10_000_000, round(size * 1000)), 3
    return struct.pack("<II", 1, 1), 1


def _entries(
    shape: tuple[int, int], dtype: np.dtype[Any], metadata: Mapping[str, Any], *, big: bool
) -> dict[int, tuple[int, int, bytes]]:
    """Return type, count and value of each tag, in the order of the tags."""
    height, width = shape
    frame_bytes = height * width * dtype.itemsize
    resolution, unit = _resolution(metadata)
    description, _ = _description(metadata)
    offset = _LONG8 if big else _LONG
    software = b"concertino\0"

    def number(value: int, kind: int) -> tuple[int, int, bytes]:
        return kind, 1, value.to_bytes(_TYPE_BYTES[kind], "little")

    return {
        254: number(0, _LONG),  # NewSubfileType
        256: number(width, _LONG),
        257: number(height, _LONG),
        258: number(dtype.itemsize * 8, _SHORT),  # BitsPerSample
        259: number(1, _SHORT),  # Compression: none
        262: number(1, _SHORT),  # PhotometricInterpretation: zero is black
        270: (_ASCII, len(description), description),
        273: number(0, offset),  # StripOffsets: set when the header's length is known
        277: number(1, _SHORT),  # SamplesPerPixel
        278: number(height, _LONG),  # RowsPerStrip
        279: number(frame_bytes, offset),  # StripByteCounts
        282: (_RATIONAL, 1, resolution),
        283: (_RATIONAL, 1, resolution),
        296: number(unit, _SHORT),  # ResolutionUnit
        305: (_ASCII, len(software), software),
        339: number(_SAMPLE_FORMATS[dtype.kind], _SHORT),
    }


def _layout(
    shape: tuple[int, int], dtype: np.dtype[Any], metadata: Mapping[str, Any], *, big: bool
) -> PageLayout:
    entries = _entries(shape, dtype, metadata, big=big)
    count_format, entry_format, inline = ("<Q", "<HHQ", 8) if big else ("<H", "<HHI", 4)
    ifd = bytearray(struct.pack(count_format, len(entries)))
    next_at = len(ifd) + (struct.calcsize(entry_format) + inline) * len(entries)
    values = bytearray()
    pointers: list[int] = []
    positions: dict[int, int] = {}  # of a tag's value in the header
    for tag, (kind, count, value) in entries.items():
        ifd += struct.pack(entry_format, tag, kind, count)
        positions[tag] = len(ifd)
        if len(value) > inline:
            pointers.append(len(ifd))
            positions[tag] = next_at + inline + len(values)
            values += value + bytes(len(value) % 2)
            value = positions[tag].to_bytes(inline, "little")
        ifd += value.ljust(inline, b"\0")
    header = ifd + bytes(inline) + values
    header += bytes(-len(header) % _ALIGN)
    strip = positions[273]
    header[strip : strip + inline] = len(header).to_bytes(inline, "little")
    pointers.append(strip)
    frame_bytes = shape[0] * shape[1] * dtype.itemsize
    return PageLayout(
        shape=shape,
        dtype=dtype,
        big=big,
        header=bytes(header),
        stride=len(header) + frame_bytes + (-frame_bytes % _ALIGN),
        pointers=tuple(pointers),
        next_at=next_at,
        index_at=positions[270] + _description(metadata)[1],
    )
