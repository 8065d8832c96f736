"""One TIFF file an image."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from concertino.storage.disk._space import storage_error
from concertino.storage.disk._uris import file_uri

from ._image_sink import ClaimParameters, ImageSink, ImageStream
from ._tiff_layout import page_layout

TIFF_SEQUENCE = "multipart/related;type=image/tiff"
_TEMPLATE = "frame_{:06d}.tif"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_SHARED_BYTES = 2**19  # of a frame: smaller ones take more interpreter than copying


class TiffSequenceSink(ImageSink):
    """Store each frame in a TIFF file of its own: ``frame_000000.tif``, ...

    A file is made, written with one system call and closed; the files of a batch of large frames by two
    threads. When one cannot be written whole it is removed: no file ever holds half an image, unless the
    machine itself loses power.

    Parameters
    ----------
    directory
        Absolute path of the stream's directory.
    stream
        What is stored.
    """

    def __init__(self, directory: Path, stream: ImageStream) -> None:
        self._layout = page_layout(stream)
        super().__init__(directory, stream.shape, self._layout.dtype)
        header = self._layout.headers(0, 0, 1)[0].tobytes()
        cut = self._layout.index_at
        self._before = self._layout.file_header + header[:cut]
        self._after = header[cut + 10 :]
        self._padding = self._layout.padding
        self._file_bytes = len(self._before) + 10 + len(self._after) + self._layout.frame_bytes
        self._helper: ThreadPoolExecutor | None = None

    def claim_parameters(self) -> ClaimParameters:
        """Return what a claim on the stream says: uri, mimetype and parameters."""
        return {
            "uri": file_uri(self.directory, directory=True),
            "mimetype": TIFF_SEQUENCE,
            "parameters": {
                "template": _TEMPLATE,
                "chunk_shape": [1, *self.shape],
                "join_method": "concat",
            },
        }

    def close(self) -> None:
        """Close the files. A second call does nothing."""
        if self._helper is not None:
            self._helper.shutdown()
            self._helper = None
        super().close()

    def _write(self, frames: NDArray[Any]) -> None:
        first = self.stored
        if len(frames) > 1 and self._layout.frame_bytes >= _SHARED_BYTES:
            self._write_together(frames)
        for frame in frames[self.stored - first :]:
            try:
                self._write_file(self.stored, frame)
            except OSError as error:
                path = self.directory / _TEMPLATE.format(self.stored)
                raise storage_error(error, f"write frame {self.stored} to {path}") from error
            self._unsynced.append(_TEMPLATE.format(self.stored))
            self.stored += 1

    def _write_together(self, frames: NDArray[Any]) -> None:
        """Write frames with two threads, up to the first that cannot be written."""
        first = self.stored
        written: list[int] = []
        failed: list[int] = []
        # To take an item from it is one step of the interpreter, so each goes to one thread.
        turns = iter(range(len(frames)))

        def write_in_turn() -> None:
            for turn in turns:
                try:
                    self._write_file(first + turn, frames[turn])
                except OSError:
                    failed.append(first + turn)
                    return
                written.append(first + turn)
                if failed:
                    return

        self._helper = self._helper or ThreadPoolExecutor(1, "image files")
        helping = self._helper.submit(write_in_turn)
        try:
            write_in_turn()
        finally:
            helping.result()
        self.stored = min(failed, default=first + len(frames))
        for index in sorted(written):
            name = _TEMPLATE.format(index)
            if index < self.stored:
                self._unsynced.append(name)
            else:  # It may have taken the space of the one that failed.
                self._remove(name)

    def _write_file(self, index: int, frame: NDArray[Any]) -> None:
        """Make one file; nothing is left of it when that fails."""
        name = _TEMPLATE.format(index)
        buffers: list[Any] = [self._before + b"%10d" % index + self._after, frame]
        if self._padding:
            buffers.append(self._padding)
        file = os.open(name, _NEW, 0o666, dir_fd=self._folder)
        try:
            try:
                written = os.writev(file, buffers)
                if written < self._file_bytes:
                    write_rest(file, buffers, written)
            finally:
                os.close(file)
        except OSError:
            self._remove(name)
            raise

    def _remove(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(name, dir_fd=self._folder)


def write_rest(file: int, buffers: list[Any], written: int, position: int | None = None) -> None:
    """Write what a vectored write left over of `buffers` after `written` bytes.

    Parameters
    ----------
    file
        File descriptor.
    buffers
        All buffers of the write that came short.
    written
        Bytes that it wrote.
    position
        In the file, of the first buffer; by default the rest goes to the file's own position.
    """
    for buffer in buffers:
        view = memoryview(buffer).cast("B") if not isinstance(buffer, bytes) else memoryview(buffer)
        if written >= len(view):
            written -= len(view)
            position = None if position is None else position + len(view)
            continue
        while written < len(view):
            piece = view[written:]
            if position is None:
                written += os.write(file, piece)
            else:
                written += os.pwrite(file, piece, position + written)
        position = None if position is None else position + len(view)
        written = 0
