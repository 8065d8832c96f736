"""Frames as NDPluginCodec compresses them, by HDF5's own filters, whose headers areaDetector leaves out."""

from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from imagecodecs import bitshuffle_decode, lz4_decode, lz4_encode
from numpy.typing import NDArray
from p4p.nt import NTNDArray
from PIL import Image

from concertino import CameraError
from concertino.devices.control_systems.area_detector._ndarray import dtype_of, read_pixels

SCALARS = {"uint8": 5, "uint16": 6, "int32": 3, "float64": 10}


def packed(path: Path, pixels: NDArray[Any], codec: str) -> bytes:
    filters = {
        "blosc": hdf5plugin.Blosc(),
        "lz4": hdf5plugin.LZ4(),
        "bslz4": hdf5plugin.Bitshuffle(),
    }
    with h5py.File(path, "w") as file:
        made = file.create_dataset(
            "x", data=pixels, chunks=pixels.shape, compression=filters[codec]
        )
        raw: bytes = made.id.read_direct_chunk((0, 0))[1]
    return raw[{"blosc": 0, "lz4": 16, "bslz4": 12}[codec] :]


def frame(pixels: NDArray[Any], raw: bytes, codec: str) -> Any:
    value = NTNDArray().wrap(pixels.astype(np.uint8))
    value.value = np.frombuffer(raw, np.uint8)
    value.compressedSize = len(raw)
    value.codec = {"name": codec, "parameters": SCALARS[pixels.dtype.name]}
    return value


@pytest.mark.parametrize("codec", ["blosc", "lz4", "bslz4"])
@pytest.mark.parametrize("dtype", SCALARS)
@pytest.mark.parametrize("shape", [(64, 128), (97, 101)])
def test_compressed_frames_are_read(
    codec: str, dtype: str, shape: tuple[int, int], tmp_path: Path
) -> None:
    pixels = (np.arange(shape[0] * shape[1]).reshape(shape) % 251).astype(dtype)
    value = frame(pixels, packed(tmp_path / "x.h5", pixels, codec), codec)
    out = np.zeros(shape, dtype_of(value))
    read_pixels(value, out)
    assert out.dtype == pixels.dtype
    np.testing.assert_array_equal(out, pixels)


def test_a_block_that_does_not_become_smaller_is_read() -> None:
    """HDF5's LZ4 filter would take it as not compressed; bitshuffle compresses each."""
    # Noise with some zeros, as many as save what LZ4 adds to noise.
    block = bytes(np.random.default_rng(2).integers(0, 256, 1024, np.uint8))
    same = next(
        packed
        for zeros in range(40)
        if len(packed := lz4_encode(block[:20] + bytes(zeros) + block[20 + zeros :])) == 1024
    )
    shuffled = lz4_decode(same, out=1024)
    pixels = np.frombuffer(bitshuffle_decode(shuffled, itemsize=1), np.uint8).reshape(32, 32)
    out = np.zeros((32, 32), np.uint8)
    read_pixels(frame(pixels, (1024).to_bytes(4, "big") + same, "bslz4"), out)
    np.testing.assert_array_equal(out, pixels)


def test_jpeg_is_read() -> None:
    pixels = np.full((16, 24), 77, np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "jpeg")
    out = np.zeros((16, 24), np.uint8)
    read_pixels(frame(pixels, file.getvalue(), "jpeg"), out)
    assert np.abs(out.astype(int) - 77).max() <= 1


def test_an_unknown_codec_is_named() -> None:
    pixels = np.zeros((4, 4), np.uint16)
    with pytest.raises(
        CameraError, match="compressed by 'secret'; known are blosc, bslz4, jpeg, lz4"
    ):
        read_pixels(frame(pixels, b"x", "secret"), pixels)
