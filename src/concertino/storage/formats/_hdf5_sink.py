"""Images in one HDF5 file."""

import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from concertino.storage.disk._disk import reserve_space
from concertino.storage.disk._space import storage_error
from concertino.storage.disk._uris import file_uri

from ._image_sink import ClaimParameters, ImageSink, ImageStream, stored_dtype
from ._nexus import add_group, add_value

HDF5 = "application/x-hdf5"
DATASET = "/entry/data/data"
_MARGIN_BYTES = 2**16  # for what HDF5 itself writes besides the frames of a batch, and at the end
_POSITIONS_PER_CHUNK = 1024


class Hdf5Sink(ImageSink):
    """Store frames in one file, ``<folder>.h5``, as a NeXus data group with a chunk for each frame.

    It is written in HDF5's single-writer-multiple-reader mode and flushed after each batch, so that it is
    whole at every moment: others may read it while it grows, and a process that dies leaves a file that
    is read with ``h5py.File(path, swmr=True)`` (or by anything, after ``h5clear -s``). Space on the disk is
    reserved before HDF5 writes, because HDF5 cannot close a file on a full disk.

    Parameters
    ----------
    directory
        Absolute path of the stream's directory.
    stream
        What is stored.
    """

    def __init__(self, directory: Path, stream: ImageStream) -> None:
        super().__init__(directory, stream.shape, stored_dtype(stream, "HDF5"))
        self._axes = stream.axes
        self._path = directory / f"{directory.name}.h5"
        self._file: Any = None
        self._raw = -1
        try:
            self._make(stream.metadata)
        except OSError as error:
            self.close()
            raise storage_error(_with_number(error), f"make {self._path}") from error

    def claim_parameters(self) -> ClaimParameters:
        """Return what a claim on the stream says: uri, mimetype and parameters."""
        return {
            "uri": file_uri(self._path),
            "mimetype": HDF5,
            "parameters": {
                "dataset": DATASET,
                "chunk_shape": [1, *self.shape],
                "join_method": "concat",
                "swmr": True,
            },
        }

    def close(self) -> None:
        """Close the file. A second call does nothing."""
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except (OSError, RuntimeError) as error:
            raise storage_error(_with_number(error), f"close {self._path}") from error
        finally:
            if self._raw >= 0:
                os.close(self._raw)
                self._raw = -1
            super().close()

    def _make(self, metadata: Mapping[str, Any]) -> None:
        import h5py

        created = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            # The structure with its first chunks of positions, all told.
            reserve_space(created, 0, _MARGIN_BYTES)
        except OSError:
            os.unlink(self._path)
            os.close(created)
            raise
        self._raw = created
        self._file = file = h5py.File(self._path, "w", libver=("v110", "v110"))
        file.attrs["default"] = "entry"
        entry = add_group(file, "entry", "NXentry")
        entry.attrs["default"] = "data"
        about = add_group(entry, "about", "NXcollection")
        for name, value in metadata.items():
            about.attrs[name] = value if isinstance(value, int | float) else _storable(str(value))
        data = add_group(entry, "data", "NXdata")
        data.attrs["signal"] = "data"
        data.attrs["axes"] = [axis.name for axis in self._axes]
        self._frames = data.create_dataset(
            "data", (0, *self.shape), self.dtype, maxshape=(None, *self.shape),
            chunks=(1, *self.shape),
        )  # fmt: skip
        if unit := metadata.get("value_unit"):
            self._frames.attrs["units"] = unit
        for name in ("pixel_size", "detector_pixel"):
            if size := metadata.get(f"{name}_um"):
                add_value(about, name, float(size), "um")
        images, rows, columns = self._axes
        self._places = data.create_dataset(
            images.name, (0,), "<f8", maxshape=(None,), chunks=(_POSITIONS_PER_CHUNK,)
        )
        if images.unit:
            self._places.attrs["units"] = images.unit
        add_value(data, rows.name, rows.positions(0, self.shape[0]), rows.unit)
        add_value(data, columns.name, columns.positions(0, self.shape[1]), columns.unit)
        for number, axis in enumerate(self._axes):
            data.attrs[f"{axis.name}_indices"] = number
        file.swmr_mode = True  # from here on nothing can be added
        file.flush()

    def _write(self, frames: NDArray[Any]) -> None:
        done = 0
        while done < len(frames):
            try:
                count = self._room_for(len(frames) - done, frames[0].nbytes)
                self._append(frames[done : done + count])
            except (OSError, RuntimeError) as error:
                error = _with_number(error)
                raise storage_error(error, f"write frame {self.stored} to {self._path}") from error
            done += count

    def _room_for(self, count: int, frame_bytes: int) -> int:
        """Return for how many frames, `count` at most, space is reserved; raise for none."""
        position = self._file.id.get_filesize()
        while True:
            try:
                reserve_space(self._raw, position, count * frame_bytes + _MARGIN_BYTES)
            except OSError:
                if count == 1:
                    raise
                count //= 2
            else:
                return count

    def _append(self, frames: NDArray[Any]) -> None:
        last = self.stored + len(frames)
        self._places.resize(last, 0)
        self._places[self.stored :] = self._axes.images.positions(self.stored, last)
        self._places.flush()
        self._frames.resize(last, 0)
        for index, frame in enumerate(frames, self.stored):
            self._frames.id.write_direct_chunk((index, 0, 0), frame)
        self._frames.flush()
        self._unsynced = [self._path.name]
        self.stored = last


def _with_number(error: BaseException) -> OSError:
    """Return the system's error that HDF5 tells of in its text."""
    if isinstance(error, OSError) and error.errno:
        return error
    text = str(error)
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EACCES, errno.EROFS):
        if f"errno = {number}," in text or f"[Errno {number}]" in text:
            with suppress(ValueError):
                return OSError(number, os.strerror(number))
    return OSError(text)


def _storable(text: str) -> str:
    """Text without what HDF5's strings cannot hold: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "\\0").encode(errors="backslashreplace").decode()
