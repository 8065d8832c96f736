"""Frames that came compressed become pixels: bitshuffle with LZ4, LZ4 in blocks, LZ4 as it is.

References
----------
The first two are framed as the HDF5 filters of the same names frame a chunk, see
https://github.com/dectris/documentation/blob/main/cbor/dectris-compression-tag.md,
https://github.com/kiyo-masui/bitshuffle and
https://github.com/HDFGroup/hdf5_plugins/blob/master/LZ4/LZ4_HDF5_format.md.
"""

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from concertino._extras import extra

_Bytes = NDArray[np.uint8]
#: Gives so many bytes for a block of LZ4; raises what it likes for what is none.
_Unpack = Callable[[memoryview, int], bytes]
_FRAMING = struct.Struct(">QI")


class BadFrameError(ValueError):
    """The bytes of a frame are not what their message says; the sentence goes on with what is wrong."""


def make_ready() -> None:
    """Have compiled what bitshuffled frames need, so that the first one does not wait for it.

    Raises
    ------
    MissingExtraError
        If the extra is not installed.
    """
    with extra("dectris", "Reading compressed frames"):
        import lz4.block  # noqa: F401
    from ._bit_planes import gather_bits

    gather_bits(np.zeros(8, np.uint8), 1, 8, np.empty(8, np.uint8))


def decompress(data: memoryview, algorithm: str, element_bytes: int, out: _Bytes) -> None:
    """Write the pixels of a compressed frame.

    Parameters
    ----------
    data : memoryview
        What came, as bytes.
    algorithm : {"none", "bslz4", "lz4", "lz4-block"}
        How it is compressed; ``"lz4-block"`` is LZ4 without any framing.
    element_bytes : int
        Size of the elements that were shuffled, in bytes; for ``"bslz4"`` only.
    out : ndarray of uint8, shape (bytes,)
        The memory of the frame, in one piece.

    Raises
    ------
    BadFrameError
        If the data are damaged, do not fill the frame, or are compressed in another way.
    MissingExtraError
        If the frame is compressed and the extra is not installed.
    """
    if algorithm == "none":
        _fill(data, out)
        return
    if algorithm not in ("bslz4", "lz4", "lz4-block"):
        raise BadFrameError(f"is compressed as {algorithm!r}, and only bslz4 and lz4 are known")
    with extra("dectris", f"A frame compressed as {algorithm}"):
        import lz4.block

    def unpack(block: memoryview, size: int) -> bytes:
        unpacked: bytes = lz4.block.decompress(block, uncompressed_size=size)
        if len(unpacked) != size:
            raise BadFrameError(f"has a block of {len(unpacked)} instead of {size} bytes")
        return unpacked

    try:
        if algorithm == "bslz4":
            _bitshuffled(data, element_bytes, out, unpack)
        elif algorithm == "lz4":
            _in_blocks(data, out, unpack)
        else:
            _fill(unpack(data, len(out)), out)
    except lz4.block.LZ4BlockError as error:
        raise BadFrameError(f"is no {algorithm} ({error})") from error


def _fill(data: bytes | memoryview, out: _Bytes) -> None:
    if len(data) != len(out):
        raise BadFrameError(f"has {len(data)} bytes, and its shape and type need {len(out)}")
    out[:] = np.frombuffer(data, np.uint8)


def _framing(data: memoryview, out: _Bytes) -> int:
    """Return the size of the blocks in bytes."""
    if len(data) < _FRAMING.size:
        raise BadFrameError(f"has {len(data)} bytes, and its framing alone needs {_FRAMING.size}")
    total, block = _FRAMING.unpack(data[: _FRAMING.size])
    if total != len(out):
        raise BadFrameError(f"says it has {total} bytes, and its shape and type need {len(out)}")
    return int(block)


def _blocks(data: memoryview, sizes: list[int]) -> list[memoryview]:
    """Return the compressed blocks, and what follows them."""
    found, at = [], _FRAMING.size
    for _ in sizes:
        length = int.from_bytes(data[at : at + 4], "big")
        at += 4
        if at + length > len(data):
            raise BadFrameError(f"ends after {len(data)} bytes, in the middle of a block")
        found.append(data[at : at + length])
        at += length
    return [*found, data[at:]]


def _sizes(length: int, block: int, unit: int) -> list[int]:
    """Return the sizes of blocks that hold so many whole units, in bytes."""
    if block < unit or block % unit:
        raise BadFrameError(f"says that its blocks have {block} bytes, and {unit} do not fit")
    whole = length // unit * unit
    return [min(block, whole - start) for start in range(0, whole, block)]


def _bitshuffled(data: memoryview, element_bytes: int, out: _Bytes, unpack: _Unpack) -> None:
    from ._bit_planes import gather_bits  # numba is needed by nothing else here

    if element_bytes not in (1, 2, 4, 8):
        raise BadFrameError(
            f"was shuffled in elements of {element_bytes} bytes, which no pixel has"
        )
    block = _framing(data, out)
    sizes = _sizes(len(out), block, 8 * element_bytes)
    *blocks, rest = _blocks(data, sizes)
    planes = np.empty(sum(sizes), np.uint8)
    at = 0
    for size, packed in zip(sizes, blocks, strict=True):
        planes[at : at + size] = np.frombuffer(unpack(packed, size), np.uint8)
        at += size
    gather_bits(planes, element_bytes, block, out)
    _fill(rest, out[at:])  # the last elements, fewer than 8, are as they are


def _in_blocks(data: memoryview, out: _Bytes, unpack: _Unpack) -> None:
    sizes = _sizes(len(out), _framing(data, out), 1)
    *blocks, rest = _blocks(data, sizes)
    at = 0
    for size, packed in zip(sizes, blocks, strict=True):
        # One that does not become smaller is stored as it is.
        _fill(packed if len(packed) == size else unpack(packed, size), out[at : at + size])
        at += size
    if len(rest):
        raise BadFrameError(f"has {len(rest)} bytes more than its blocks")
