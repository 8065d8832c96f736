"""An HDF5 file as it is at a moment, for one that a writer has open or had open when it died."""

import io
import os
import struct
from pathlib import Path
from typing import Any

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_VERSION = 3  # of the superblock: the one with flags of who has the file open
_FLAGS_AT = 11
_SWMR_FLAG = 4
_END_AT = 28
_SUM_AT = 44
_SUPERBLOCK_BYTES = 48
_MASK = 0xFFFFFFFF


def has_writer(path: Path) -> bool:
    """Tell whether a file says that a writer has it open, of the kind that allows for readers.

    Raises
    ------
    OSError
        When it cannot be opened.
    """
    head = _head(path)
    return bool(head) and head[_FLAGS_AT] & _SWMR_FLAG != 0


def is_cut_short(path: Path) -> bool:
    """Tell whether a file that allowed for readers says that it is longer than it is.

    So is one whose writer found the disk full. What was flushed before is whole; a frame that is not there is
    noticed when it is read.

    Raises
    ------
    OSError
        When it cannot be opened.
    """
    head = _head(path)
    return bool(head) and struct.unpack_from("<Q", head, _END_AT)[0] > path.stat().st_size


def _head(path: Path) -> bytes:
    """Return a file's superblock; nothing if it has none of the version that allows for readers."""
    with path.open("rb") as file:
        head = file.read(_SUPERBLOCK_BYTES)
    known = head.startswith(_SIGNATURE + bytes([_VERSION, 8, 8]))
    return head if known and len(head) == _SUPERBLOCK_BYTES else b""


class Hdf5Snapshot(io.RawIOBase):
    """The bytes of such a file, with a superblock that says that it is closed and where it ends.

    Read so, HDF5 needs no mode of its own for it: in that mode it waits without end when the file was cut
    short, and it has but one mode a file in a process. The writer keeps what is on the disk whole at
    every moment.

    Parameters
    ----------
    path
        The file; `has_writer` is true for it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = os.fstat(self._file).st_size
        self._position = 0
        head = bytearray(os.pread(self._file, _SUPERBLOCK_BYTES, 0))
        head[_FLAGS_AT] = 0
        struct.pack_into("<Q", head, _END_AT, self._size)
        struct.pack_into("<I", head, _SUM_AT, lookup3(bytes(head[:_SUM_AT])))
        self._head = bytes(head)

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = origin + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, out: Any, /) -> int:
        """Read into a buffer; less at the end."""
        view = memoryview(out).cast("B")
        count = max(0, min(len(view), self._size - self._position))
        done = 0
        while done < count:
            got = os.preadv(self._file, [view[done:count]], self._position + done)
            if got == 0:
                break
            done += got
        head = self._head[self._position : self._position + done]
        view[: len(head)] = head
        self._position += done
        return done

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            os.close(self._file)
        super().close()

    def __repr__(self) -> str:
        return str(self._path)  # what HDF5 calls it


def lookup3(key: bytes) -> int:
    """Return the checksum that HDF5 has of its metadata.

    References
    ----------
    B. Jenkins, lookup3.c, May 2006, public domain; https://burtleburtle.net/bob/c/lookup3.c
    """
    a = b = c = (0xDEADBEEF + len(key)) & _MASK
    while len(key) > 12:
        x, y, z = struct.unpack_from("<III", key)
        a, b, c = _mix((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)
        key = key[12:]
    if not key:
        return c
    x, y, z = struct.unpack("<III", key.ljust(12, b"\0"))
    return _last((a + x) & _MASK, (b + y) & _MASK, (c + z) & _MASK)


def _turn(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (32 - bits))) & _MASK


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for bits in (4, 6, 8, 16, 19, 4):
        a = ((a - c) & _MASK) ^ _turn(c, bits)
        c = (c + b) & _MASK
        a, b, c = b, c, a
    return a, b, c


def _last(a: int, b: int, c: int) -> int:
    for bits in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _turn(b, bits)) & _MASK
        a, b, c = b, c, a
    return b
