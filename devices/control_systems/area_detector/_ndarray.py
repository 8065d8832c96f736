"""The pixels of an NTNDArray, also of one that NDPluginCodec compressed."""

import struct
from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from concertino import CameraError
from concertino._extras import extra

#: Types of pixels by what the field codec.parameters holds: numbers of pvData's scalar types.
_SCALAR_TYPES = {
    1: "int8", 2: "int16", 3: "int32", 4: "int64", 5: "uint8", 6: "uint16", 7: "uint32", 8: "uint64",
    9: "float32", 10: "float64",
}  # fmt: skip
#: Bitshuffle compresses blocks of so many bytes, each after its size, and elements in groups of eight.
_BLOCK_BYTES, _GROUP, _SIZE_BYTES = 8192, 8, 4
_FRAMING = struct.Struct(">QI")


class Codec(Protocol):
    """How the pixels of an NTNDArray are compressed; its name is empty if they are not."""

    name: str
    parameters: object


class NTNDArray(Protocol):
    """What is used of an NTNDArray, the value in which EPICS sends a frame."""

    value: Any
    codec: Codec
    compressedSize: int  # noqa: N815 (as EPICS calls it)
    dimension: Sequence[Mapping[str, int]]


def shape_of(value: NTNDArray) -> tuple[int, ...]:
    """Return the shape of an NTNDArray, the slowest dimension first; () when it holds none."""
    return tuple(int(dimension["size"]) for dimension in value.dimension)[::-1]


def dtype_of(value: NTNDArray) -> np.dtype[Any]:
    """Return the type of the pixels of an NTNDArray, once they are decompressed.

    Raises
    ------
    CameraError
        If it is compressed and does not tell.
    """
    codec = value.codec
    if not codec.name:
        return np.dtype(np.asarray(value.value).dtype)
    told = codec.parameters
    if isinstance(told, int | np.integer) and int(told) in _SCALAR_TYPES:
        return np.dtype(_SCALAR_TYPES[int(told)])
    raise CameraError(
        f"A frame compressed by {codec.name!r} does not tell the type of its pixels: its codec.parameters hold "
        f"{told!r}. Use NDPluginCodec of ADCore 3.5 or newer, or switch the compression off."
    )


def read_pixels(value: NTNDArray, out: NDArray[Any]) -> None:
    """Write the pixels of an NTNDArray.

    Parameters
    ----------
    value : p4p.Value
        The NTNDArray.
    out : ndarray, shape (height, width)
        Where to; of the shape and type that `shape_of` and `dtype_of` tell.

    Raises
    ------
    CameraError
        If the frame is damaged, or compressed by a codec that is not known.
    MissingExtraError
        If it is compressed and imagecodecs is not installed.
    """
    name = value.codec.name
    if not name:
        out[...] = np.asarray(value.value).reshape(out.shape)
        return
    if name not in _CODECS:
        raise CameraError(
            f"A frame is compressed by {name!r}; known are {', '.join(_CODECS)}. Choose one of these in "
            "NDPluginCodec, or none."
        )
    size = int(value.compressedSize)
    packed = memoryview(np.ascontiguousarray(value.value).view(np.uint8).data)[: size or None]
    try:
        _CODECS[name](packed, out)
    except (ValueError, RuntimeError, OSError, IndexError) as error:
        raise CameraError(
            f"A frame compressed by {name!r} cannot be decompressed: {error}. Check the network between here and "
            "the IOC, and the versions of NDPluginCodec and imagecodecs."
        ) from error


def _blosc(packed: Any, out: NDArray[Any]) -> None:
    with extra("areadetector", "A frame compressed by blosc"):
        import imagecodecs
    _check_filled(out, imagecodecs.blosc_decode(packed, numthreads=1, out=_bytes_of(out)))


def _lz4(packed: Any, out: NDArray[Any]) -> None:
    with extra("areadetector", "A frame compressed by lz4"):
        import imagecodecs
    _check_filled(out, imagecodecs.lz4_decode(packed, out=_bytes_of(out)))


def _bslz4(packed: Any, out: NDArray[Any]) -> None:
    """Decompress the blocks, then put the bits back: NDPluginCodec writes no header, as HDF5's filter does."""
    with extra("areadetector", "A frame compressed by bslz4"):
        from imagecodecs import bitshuffle_decode, lz4_decode, lz4h5_decode
    item, view = out.itemsize, _bytes_of(np.empty_like(out))
    per_block = max(_BLOCK_BYTES // item // _GROUP * _GROUP, 128) * item
    rest = out.size % _GROUP * item  # is neither compressed nor shuffled
    whole = out.nbytes - rest
    blocks, end = _blocks(packed, whole, per_block)
    if all(stop - start != length for start, stop, length in blocks):
        # Framed as HDF5's LZ4 filter frames them, all at once; one of equal length it would take as not compressed.
        framed = b"".join((_FRAMING.pack(whole, per_block), packed[:end]))
        _check_filled(view[:whole], lz4h5_decode(framed, out=view[:whole]))
    else:
        begin = 0
        for start, stop, length in blocks:
            block = view[begin : begin + length]
            _check_filled(block, lz4_decode(packed[start:stop], out=block))
            begin += length
    if rest:
        view[whole:] = packed[end : end + rest]
    bitshuffle_decode(view, itemsize=item, out=_bytes_of(out))


def _blocks(packed: Any, whole: int, per_block: int) -> tuple[list[tuple[int, int, int]], int]:
    """Return begin and end of each compressed block and how long it becomes, and where they all end."""
    found, end = [], 0
    for begin in range(0, whole, per_block):
        start = end + _SIZE_BYTES
        end = start + int.from_bytes(packed[end:start], "big")
        found.append((start, end, min(per_block, whole - begin)))
    if end > len(packed):
        raise ValueError(f"it ends after {len(packed)} bytes, in the middle of a block")
    return found, end


def _jpeg(packed: Any, out: NDArray[Any]) -> None:
    with extra("areadetector", "A frame compressed by jpeg"):
        import imagecodecs
    image = imagecodecs.jpeg_decode(bytes(packed))
    if image.shape != out.shape:
        raise ValueError(f"it is an image of shape {image.shape}, and not grey of {out.shape}")
    out[...] = image.view(out.dtype)


def _bytes_of(out: NDArray[Any]) -> Any:
    """Return the memory of a frame; codecs write into it, so that nothing is copied after them.

    They take a memoryview, and imagecodecs' annotations do not say so everywhere.
    """
    return out.reshape(-1).view(np.uint8).data


def _check_filled(wanted: NDArray[Any] | memoryview, found: Sized) -> None:
    if len(found) != wanted.nbytes:
        raise ValueError(f"it gives {len(found)} bytes and {wanted.nbytes} are wanted")


#: By the names that NDPluginCodec gives them.
_CODECS: dict[str, Callable[[Any, NDArray[Any]], None]] = {
    "blosc": _blosc,
    "bslz4": _bslz4,
    "jpeg": _jpeg,
    "lz4": _lz4,
}
