"""The records of an HDF5 writer of areaDetector, beside the twin's camera."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from concertino import ParameterError

from ._array_records import array_records
from ._camera import LOOP_S, Image
from ._hdf_file import HdfFile
from ._record import Record, Value, echoed, plain

_MODES = ("Single", "Capture", "Stream")
_COMPRESSIONS = ("None", "N-bit", "szip", "zlib", "Blosc", "BSLZ4", "LZ4", "JPEG")
_YES = ("No", "Yes")


class HdfWriter:
    """Takes orders for the twin's `HdfFile` as the plugin NDFileHDF5 does; all in the records' event loop.

    Parameters
    ----------
    loop : asyncio.AbstractEventLoop
        In which the records live.
    shape : tuple of int
        Shape (height, width) of the camera's frames, in pixels.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, shape: tuple[int, int]) -> None:
        self._loop = loop
        self._file = HdfFile(self._told)
        self._ended = asyncio.Event()
        self._records = {record.name: record for record in self._make(shape)}

    @property
    def image(self) -> Image:
        """What gets the camera's images."""
        return self._take

    def records(self) -> Iterator[Record]:
        """Yield the records, without the plugin's prefix."""
        yield from self._records.values()

    def _make(self, shape: tuple[int, int]) -> Iterator[Record]:
        yield from array_records(shape)
        pairs: tuple[tuple[str, Value, tuple[str, ...]], ...] = (
            ("NDArrayPort", "CAM", ()), ("EnableCallbacks", 0, ("Disable", "Enable")),
            ("NDArrayAddress", 0, ()), ("QueueSize", 500, ()), ("ArrayCounter", 0, ()),
            ("FileName", "", ()), ("FileTemplate", "%s%s.h5", ()), ("FileWriteMode", 0, _MODES),
            ("NumCapture", 1, ()), ("PositionMode", 0, _YES), ("NumExtraDims", 0, ()),
            ("SWMRMode", 1, _YES), ("XMLFileName", "", ()), ("NumFramesChunks", 1, ()),
            ("ChunkSizeAuto", 1, _YES), ("LazyOpen", 1, _YES), ("Compression", 0, _COMPRESSIONS),
        )  # fmt: skip
        for name, value, choices in pairs:
            yield from echoed(name, value, choices, long=name in ("FileName", "FileTemplate"))
        yield Record("FilePath", "", put=self._put_path, long=True)
        yield Record("FilePath_RBV", "", long=True)
        yield Record("FilePathExists_RBV", 0, choices=_YES)
        yield Record("FullFileName_RBV", "", long=True)
        yield plain("CreateDirectory", 0)
        yield plain("FileNumber", 0)
        yield plain("AutoIncrement", 0, choices=_YES)
        for name in ("NumCaptured_RBV", "DroppedArrays_RBV"):
            yield Record(name, 0)
        yield Record("ArraySize0", shape[1])
        yield Record("ArraySize1", shape[0])
        yield Record("WriteStatus", 0, choices=("Write OK", "Write error"))
        yield Record("WriteMessage", "", long=True)
        yield Record("Capture", 0, choices=("Done", "Capture"), put=self._capture)
        yield Record("Capture_RBV", 0, choices=("Done", "Capturing"))
        yield Record("FlushNow", 0, choices=_YES, put=self._flush)

    def _take(self, number: int, end_ns: int, pixels: NDArray[np.uint16]) -> None:
        if self._records["EnableCallbacks_RBV"].value:
            self._file.take(number, end_ns, pixels)

    async def _put_path(self, value: Value) -> None:
        given, depth = Path(str(value)), -int(self._records["CreateDirectory"].number)
        missing = [one for one in (given, *given.parents) if not one.exists()]
        if 0 < len(missing) <= depth:
            given.mkdir(parents=True)
        await self._records["FilePath"].set(value)
        await self._records["FilePath_RBV"].set(f"{given}/")
        await self._records["FilePathExists_RBV"].set(int(given.is_dir()))

    def _full_name(self) -> str:
        path, name, template = (
            str(self._records[f"{each}_RBV"].value)
            for each in ("FilePath", "FileName", "FileTemplate")
        )
        try:
            return template % (path, name, int(self._records["FileNumber"].number))
        except TypeError:  # It has no place for a number.
            return template % (path, name)

    async def _capture(self, value: Value) -> None:
        if not value:
            await self._end()
            return
        if self._records["FileWriteMode_RBV"].word != "Stream":
            raise ParameterError(
                f"HDF1:Capture was set with FileWriteMode {self._records['FileWriteMode_RBV'].word}; the twin's writer knows "
                "Stream only. Set FileWriteMode to Stream."
            )
        if self._records["Capture_RBV"].value:
            return
        name = self._full_name()
        await self._records["FullFileName_RBV"].set(name)
        self._file.open(Path(name), int(self._records["NumCapture_RBV"].number))
        self._ended.clear()
        await self._publish()
        await self._records["Capture"].set(1)
        await self._records["Capture_RBV"].set(1)
        # The put of a client is done when it captures no more, as that of a busy record.
        await self._ended.wait()

    async def _end(self) -> None:
        await asyncio.to_thread(self._file.close)
        await self._publish()
        await self._records["Capture"].set(0)
        await self._records["Capture_RBV"].set(0)
        self._ended.set()

    async def _flush(self, value: Value) -> None:
        if value:
            await asyncio.to_thread(self._file.flush)

    def _told(self) -> None:
        asyncio.run_coroutine_threadsafe(self._progress(), self._loop).result(LOOP_S)

    async def _progress(self) -> None:
        await self._publish()
        most = int(self._records["NumCapture_RBV"].number)
        if most and self._file.written >= most and self._records["Capture_RBV"].value:
            self._ending = asyncio.ensure_future(self._end())

    async def _publish(self) -> None:
        error = self._file.error
        for name, value in (
            ("NumCaptured_RBV", self._file.written), ("DroppedArrays_RBV", self._file.dropped),
            ("WriteStatus", int(bool(error))), ("WriteMessage", error),
        ):  # fmt: skip
            if self._records[name].value != value:
                await self._records[name].set(value)
