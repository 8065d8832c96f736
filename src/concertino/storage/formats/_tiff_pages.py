"""Many images a TIFF file."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from concertino.storage.disk._space import storage_error
from concertino.storage.disk._uris import file_uri

from ._image_sink import ClaimParameters, ImageSink, ImageStream
from ._tiff_layout import FILE_HEADER_BYTES, page_layout
from ._tiff_sequence import write_rest

TIFF_PAGES = "multipart/related;type=image/tiff;layout=pages"
_TEMPLATE = "frames_{:06d}.tif"
_BATCH = 256  # pages a system call: three buffers each, of 1024 that it takes


class TiffPagesSink(ImageSink):
    """Store frames in multi-page TIFF files: ``frames_000000.tif``, ...; a new one when one is full.

    A batch's pages are appended, linked among themselves; then the link from the page before them is
    set. The file is a whole TIFF with all acknowledged images at every moment between two calls; a
    process that dies within a call leaves bytes at the end to which nothing links.

    Parameters
    ----------
    directory
        Absolute path of the stream's directory.
    stream
        What is stored.
    """

    def __init__(self, directory: Path, stream: ImageStream) -> None:
        def fitting(stride: int) -> int:
            pages = max(1, (stream.bytes_per_file - FILE_HEADER_BYTES) // stride)
            return pages if stream.num_frames is None else max(1, min(pages, stream.num_frames))

        self._layout = page_layout(stream, pages=fitting(page_layout(stream).stride))
        self.pages_per_file = fitting(self._layout.stride)
        self._file = -1
        super().__init__(directory, stream.shape, self._layout.dtype)

    def claim_parameters(self) -> ClaimParameters:
        """Return what a claim on the stream says: uri, mimetype and parameters."""
        return {
            "uri": file_uri(self.directory, directory=True),
            "mimetype": TIFF_PAGES,
            "parameters": {
                "template": _TEMPLATE,
                "chunk_shape": [self.pages_per_file, *self.shape],
                "join_method": "concat",
            },
        }

    def close(self) -> None:
        """Close the files. A second call does nothing."""
        self._close_file()
        super().close()

    def _write(self, frames: NDArray[Any]) -> None:
        done = 0
        while done < len(frames):
            page = self.stored % self.pages_per_file
            count = min(len(frames) - done, self.pages_per_file - page, _BATCH)
            try:
                if page == 0:
                    self._next_file()
                self._append(frames[done : done + count], page)
            except OSError as error:
                path = self._path()
                raise storage_error(error, f"write frame {self.stored} to {path}") from error
            done += count

    def _append(self, frames: NDArray[Any], page: int) -> None:
        """Append pages to the open file, then link them."""
        layout = self._layout
        headers = layout.headers(page, self.stored, len(frames))
        padding = layout.padding
        buffers: list[Any] = []
        for header, frame in zip(headers, frames, strict=True):
            buffers += (header, frame, padding) if padding else (header, frame)
        position = layout.block_at(page)
        size = len(frames) * layout.stride
        if page == 0:
            buffers.insert(0, layout.file_header)
            position, size = 0, size + FILE_HEADER_BYTES
        try:
            written = os.pwritev(self._file, buffers, position)
            if written < size:
                write_rest(self._file, buffers, written, position)
        except OSError:
            self._keep_whole_pages(page)
            raise
        self._link(page)
        self._count(len(frames))

    def _keep_whole_pages(self, page: int) -> None:
        """Link the pages of a failed write that are whole, and cut the rest off."""
        layout = self._layout
        with suppress(OSError):
            end = os.fstat(self._file).st_size
            whole = max(0, (end - layout.block_at(page)) // layout.stride)
            if page + whole == 0:
                os.unlink(self._path())
                self._close_file()
                return
            os.ftruncate(self._file, layout.block_at(page + whole))
            if whole:
                last = layout.block_at(page + whole - 1) + layout.next_at
                os.pwrite(self._file, bytes(layout.pointer.itemsize), last)
                self._link(page)
                self._count(whole)

    def _link(self, page: int) -> None:
        """Make the page before this one point at it."""
        if page == 0:
            return
        pointer = self._layout.block_at(page).to_bytes(self._layout.pointer.itemsize, "little")
        os.pwrite(self._file, pointer, self._layout.block_at(page - 1) + self._layout.next_at)

    def _count(self, pages: int) -> None:
        name = self._path().name
        if not self._unsynced or self._unsynced[-1] != name:
            self._unsynced.append(name)
        self.stored += pages

    def _path(self) -> Path:
        return self.directory / _TEMPLATE.format(self.stored // self.pages_per_file)

    def _next_file(self) -> None:
        self._close_file()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.open(self._path(), flags, 0o666)

    def _close_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
