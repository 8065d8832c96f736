"""One TIFF file an image."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy.typing import DTypeLike, NDArray

from ._image_sink import ClaimParameters, ImageSink, directory_uri
from ._space import storage_error
from ._tiff_layout import page_layout

TIFF_SEQUENCE = "multipart/related;type=image/tiff"
_TEMPLATE = "frame_{:06d}.tif"


class TiffSequenceSink(ImageSink):
    """Store each frame in a TIFF file of its own: ``frame_000000.tif``, ...

    A file is made, written with one system call and closed. When it cannot be written whole it is
    removed: no file ever holds half an image, unless the machine itself loses power.

    See `open_sink` for the parameters.
    """

    def __init__(
        self,
        directory: Path,
        shape: tuple[int, int],
        dtype: DTypeLike,
        metadata: Mapping[str, Any],
    ) -> None:
        self._layout = page_layout(shape, dtype, metadata)
        super().__init__(directory, shape, self._layout.dtype)
        header = self._layout.headers(0, 0, 1)[0].tobytes()
        cut = self._layout.index_at
        self._before = self._layout.file_header + header[:cut]
        self._after = header[cut + 10 :]
        self._padding = self._layout.padding

    def claim_parameters(self) -> ClaimParameters:
        """Return what a claim on the stream says: uri, mimetype and parameters."""
        return {
            "uri": directory_uri(self.directory),
            "mimetype": TIFF_SEQUENCE,
            "parameters": {
                "template": _TEMPLATE,
                "chunk_shape": [1, *self.shape],
                "join_method": "concat",
            },
        }

    def _write(self, frames: NDArray[Any]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        folder, before, after, padding = self._folder, self._before, self._after, self._padding
        size = len(before) + 10 + len(after) + self._layout.frame_bytes
        for frame in frames:
            index = self.stored
            name = _TEMPLATE.format(index)
            buffers = [before + b"%10d" % index + after, frame]
            if padding:
                buffers.append(padding)
            made = False
            try:
                file = os.open(name, flags, 0o666, dir_fd=folder)
                made = True
                try:
                    written = os.writev(file, buffers)
                    if written < size:
                        write_rest(file, buffers, written)
                finally:
                    os.close(file)
            except OSError as error:
                if made:
                    with suppress(OSError):
                        os.unlink(name, dir_fd=folder)
                path = self.directory / name
                raise storage_error(error, f"write frame {index} to {path}") from error
            self._unsynced.append(name)
            self.stored = index + 1


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
