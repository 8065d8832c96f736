"""The twin's writer takes orders as NDFileHDF5 does."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from concertino import ParameterError
from concertino.twin._hdf_records import HdfWriter
from concertino.twin._record import Record, Value

SHAPE = (4, 6)


def run(work: Callable[[HdfWriter, dict[str, Record]], Awaitable[None]]) -> None:
    """Do something with a new writer, in time."""

    async def done() -> None:
        writer = HdfWriter(asyncio.get_running_loop(), SHAPE)
        async with asyncio.timeout(60):
            await work(writer, {record.name: record for record in writer.records()})

    asyncio.run(done())


async def put(records: dict[str, Record], **values: Value) -> None:
    for name, value in values.items():
        await records[name].put(value)


async def until(happened: Callable[[], bool]) -> None:
    while not happened():
        await asyncio.sleep(0.01)


def test_it_stops_by_itself_after_as_many_as_were_asked_for(tmp_path: Path) -> None:
    async def work(writer: HdfWriter, records: dict[str, Record]) -> None:
        # Deeper than the 39 characters of a short text, and made as areaDetector makes it.
        folder = tmp_path / "a-directory-of-a-long-name" / "that-is-not-there-yet"
        await put(records, FilePath=str(folder))
        assert records["FilePathExists_RBV"].value == 0
        await put(records, CreateDirectory=-2, FilePath=str(folder), FileName="scan", FileNumber=7)
        assert records["FilePathExists_RBV"].value == 1
        await put(
            records, FileTemplate="%s%s_%3.3d.h5", FileWriteMode="Stream", NumCapture=2,
            EnableCallbacks="Enable",
        )  # fmt: skip
        capturing = asyncio.create_task(records["Capture"].put(1))
        await until(lambda: records["Capture_RBV"].value == 1)
        for number in (11, 12, 13):
            end_ns = (1_700_000_000 + number) * 10**9 + 250_000_000
            await asyncio.to_thread(writer.image, number, end_ns, np.full(SHAPE, number, np.uint16))
        await capturing

        file = folder / "scan_007.h5"
        assert records["FullFileName_RBV"].value == str(file)
        assert (records["NumCaptured_RBV"].value, records["Capture_RBV"].value) == (2, 0)
        with h5py.File(file) as written:
            kept = written["entry/instrument/NDAttributes"]
            assert written["entry/data/data"][:, 0, 0].tolist() == [11, 12]
            assert kept["NDArrayUniqueId"][:].tolist() == [11, 12]
            # 1990-01-01 is 631152000 s after 1970-01-01.
            assert kept["NDArrayEpicsTSSec"][0] == 1_700_000_011 - 631_152_000
            assert kept["NDArrayEpicsTSnSec"][0] == 250_000_000

    run(work)


def test_what_it_cannot_write_is_told(tmp_path: Path) -> None:
    async def work(writer: HdfWriter, records: dict[str, Record]) -> None:
        await put(records, FilePath=str(tmp_path / "gone"), FileName="scan", FileWriteMode="Stream")
        await put(records, EnableCallbacks=1, NumCapture=0)
        capturing = asyncio.create_task(records["Capture"].put(1))
        await until(lambda: records["Capture_RBV"].value == 1)
        await asyncio.to_thread(writer.image, 1, 10**18, np.zeros(SHAPE, np.uint16))
        await until(lambda: records["WriteStatus"].word == "Write error")
        assert "No such file" in str(records["WriteMessage"].value)
        await records["Capture"].put(0)
        await capturing
        assert records["NumCaptured_RBV"].value == 0

    run(work)


def test_another_mode_is_refused() -> None:
    async def work(writer: HdfWriter, records: dict[str, Record]) -> None:
        with pytest.raises(
            ParameterError,
            match=r"HDF1:Capture was set with FileWriteMode Single; .* Stream only\. Set FileWriteMode to Stream\.",
        ):
            await records["Capture"].put(1)

    run(work)
