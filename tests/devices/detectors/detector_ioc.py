"""An areaDetector-like EPICS IOC, run as a program: ``python detector_ioc.py '{"prefix": …}'``.

PREFIXcam1: exposes, PREFIXHDF1: writes an HDF5 file for readers (SWMR), PREFIXTIFF1: and PREFIXJPEG1: a file a frame, each
with the record names, put completion and order of events of areaDetector's plugins. Frames of capture n are darks, flats
and projections of a bar by turns. Faults, in the capture with the number `fault_in`, at frame `fault_at`:

- ``lose``: the writer never gets that frame; ``die``: the process kills itself when it has written so many;
- ``full``: its files may not grow any more, as on a full disk.
"""

import asyncio
import json
import os
import queue
import resource
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from caproto import ChannelType
from caproto.server import PVGroup, SubGroup, pvproperty, run

#: What it is told: ``prefix``, ``shape``, ``fault``, ``fault_in``, ``fault_at``, ``queue``, ``flush``, ``projections``.
TOLD: dict[str, Any] = {
    "prefix": "det:", "shape": [16, 24], "dtype": "UInt16", "fault": "", "fault_in": 2, "fault_at": 5,
    "queue": 1000, "projections": 8, "direct": False,
    **(json.loads(sys.argv[1]) if __name__ == "__main__" and len(sys.argv) > 1 else {}),
}  # fmt: skip
SHAPE = tuple(TOLD["shape"])


def picture(capture: int, index: int, shape: tuple[int, ...] = SHAPE, turns: int = 0) -> Any:
    """Return the frame of a capture: darks, flats, or a bar that turns around the middle."""
    kind = capture % 3
    if kind < 2:
        return np.full(shape, 10 if kind == 0 else 210, TOLD["dtype"].lower())
    angle = np.pi * index / (turns or TOLD["projections"])
    middle = shape[1] / 2 + shape[1] / 4 * np.cos(angle)
    away = np.abs(np.arange(shape[1]) - middle) / (shape[1] / 8)
    line = 10 + 200 * np.exp(-np.clip(1 - away, 0, None))
    frame = np.array(np.broadcast_to(line, shape), TOLD["dtype"].lower(), order="C")
    frame[0, 0] = index % 200  # so that no two are alike
    return frame


class Writer:
    """A plugin's thread: it takes frames from a queue, and counts what it has written."""

    suffix = ""

    def __init__(self, told: Any) -> None:
        self.frames: queue.Queue[Any] = queue.Queue(TOLD["queue"])
        self.written = 0
        self.capture = -1
        self.error = ""
        self.flush = threading.Event()
        self._told = told
        self._path = ""
        self._on = False
        self._closing: threading.Event | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def open(self, directory: str, name: str) -> None:
        self.capture += 1
        self.written, self.error = 0, ""
        self._path, self._on = os.path.join(directory, name), True

    def close(self) -> None:
        if self._on:
            self._closing = threading.Event()
            self.frames.put(None)
            self._closing.wait(10)

    def take(self, index: int, unique: int) -> None:
        fault = TOLD["fault"] if self.capture == TOLD["fault_in"] else ""
        if self._on and not (fault == "lose" and index == TOLD["fault_at"]):
            with suppress(queue.Full):  # as of a plugin's queue
                self.frames.put_nowait((index, unique, fault))

    def _run(self) -> None:
        while True:
            try:
                taken = self.frames.get(timeout=0.02)
            except queue.Empty:
                self._flush()
                continue
            if taken is None:
                self._end()
                self._on = False
                assert self._closing is not None
                self._closing.set()
                continue
            index, unique, fault = taken
            if self.error:
                continue
            if fault == "die" and self.written == TOLD["fault_at"]:
                time.sleep(0.2)
                os.kill(os.getpid(), signal.SIGKILL)
            if fault == "full" and self.written == TOLD["fault_at"]:
                self._flush()
                size = Path(self._file_now()).stat().st_size
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            try:
                self._write(index, unique)
            except Exception as error:
                self.error = str(error)
                print(
                    f"frame {self.written} of {self._path}: {error!r}", file=sys.stderr, flush=True
                )
                continue
            self.written += 1
            self._flush()
            self._told()

    def _file_now(self) -> str:
        return self._path

    def _flush(self) -> None: ...
    def _end(self) -> None: ...
    def _write(self, index: int, unique: int) -> None: ...


class Hdf5(Writer):
    _file: Any = None

    def _write(self, index: int, unique: int) -> None:
        if self._file is None:
            file = h5py.File(self._path + ".h5", "w", libver="latest")
            self._data = file.create_dataset(
                "/entry/data/data", (0, *SHAPE), TOLD["dtype"].lower(), maxshape=(None, *SHAPE), chunks=(1, *SHAPE)
            )  # fmt: skip
            self._unique = file.create_dataset(
                "/entry/instrument/NDAttributes/NDArrayUniqueId", (0,), "i4", maxshape=(None,), chunks=(16384,)
            )  # fmt: skip
            file.swmr_mode = True
            self._file = file
        count = self.written + 1
        self._data.resize(count, axis=0)
        frame = (
            POOL[(self.capture + 2) % 3][index % 16]
            if TOLD["direct"]
            else picture(self.capture, index)
        )
        self._data.id.write_direct_chunk((count - 1, 0, 0), frame)
        self._unique.resize(count, axis=0)
        self._unique[count - 1] = unique
        if TOLD["fault"] == "full" and self.capture == TOLD["fault_in"]:
            self._file.flush()  # a full disk is noticed when something is written to it

    def _file_now(self) -> str:
        return self._path + ".h5"

    def _flush(self) -> None:
        if self.flush.is_set() and self._file is not None:
            self.flush.clear()
            try:
                self._data.flush()
                self._unique.flush()
            except Exception as error:
                self.error = str(error)

    def _end(self) -> None:
        if self._file is not None:
            try:
                self._file.close()
            except Exception as error:
                self.error = str(error)
        self._file = None


class Tiff(Writer):
    suffix = ".tiff"

    def _write(self, index: int, unique: int) -> None:
        import tifffile

        tifffile.imwrite(
            f"{self._path}_{self.written:06d}{self.suffix}", picture(self.capture, index)
        )

    def _file_now(self) -> str:
        return f"{self._path}_{max(0, self.written - 1):06d}{self.suffix}"


class Jpeg(Tiff):
    suffix = ".jpg"

    def _write(self, index: int, unique: int) -> None:
        from PIL import Image

        Image.fromarray(picture(self.capture, index).astype(np.uint8)).save(
            f"{self._path}_{self.written:06d}{self.suffix}", quality=95
        )


#: Of each kind, when it is to be quick; the first capture is one that nobody looks at.
POOL = (
    [[picture(kind, i, turns=16) for i in range(16)] for kind in range(3)] if TOLD["direct"] else []
)

BOOL = {"dtype": ChannelType.ENUM, "enum_strings": ["No", "Yes"]}
STATES = [
    "Idle", "Acquire", "Readout", "Correct", "Saving", "Aborting", "Error", "Waiting", "Initializing", "Disconnected",
    "Aborted",
]  # fmt: skip
TYPES = [
    "Int8",
    "UInt8",
    "Int16",
    "UInt16",
    "Int32",
    "UInt32",
    "Int64",
    "UInt64",
    "Float32",
    "Float64",
]


def pv(name: str, value: Any, **more: Any) -> Any:
    return pvproperty(name=name, value=value, **more)


def short(name: str) -> Any:
    return pv(name, "", dtype=ChannelType.STRING)


def enum(name: str, value: str, *choices: str) -> dict[str, Any]:
    return {name: pv(name, value, dtype=ChannelType.ENUM, enum_strings=list(choices))}


def text(name: str, value: str = "") -> dict[str, Any]:
    return {name: pv(name, value, dtype=ChannelType.CHAR, max_length=512)}


def echoed(**values: Any) -> dict[str, Any]:
    """Return settings with their read-backs, which follow at once."""
    made: dict[str, Any] = {}
    for name, value in values.items():

        async def put(group: Any, instance: Any, given: Any, _name: str = name) -> Any:
            await group.pvdb_by_name[f"{_name}_RBV"].write(given)
            return given

        options: dict[str, Any] = {}
        if isinstance(value, bool):
            value, options = ("Yes" if value else "No"), BOOL
        elif isinstance(value, tuple):
            value, options = value[0], {"dtype": ChannelType.ENUM, "enum_strings": list(value[1:])}
        elif isinstance(value, str):
            options = {"dtype": ChannelType.CHAR, "max_length": 512}
        made[name] = pv(name, value, put=put, **options)
        made[f"{name}_RBV"] = pv(f"{name}_RBV", value, **options)
    return made


ARRAY = {
    **{name: short(name) for name in ("PortName_RBV", "ADCoreVersion_RBV", "DriverVersion_RBV")},
    **{name: pv(name, 0) for name in ("UniqueId_RBV", "ArraySize0_RBV", "ArraySize1_RBV", "ArraySize2_RBV")},
    "ArraySizeX_RBV": pv("ArraySizeX_RBV", SHAPE[1]),
    "ArraySizeY_RBV": pv("ArraySizeY_RBV", SHAPE[0]),
    "ArraySizeZ_RBV": pv("ArraySizeZ_RBV", 0),
    **text("NDAttributesFile"),
    **enum("ColorMode_RBV", "Mono", "Mono", "RGB1"),
    **enum("DataType_RBV", TOLD["dtype"], *TYPES),
    **echoed(ArrayCounter=0),
}  # fmt: skip

PLUGIN = {
    **ARRAY,
    **echoed(
        NDArrayPort="",
        EnableCallbacks=("Disable", "Disable", "Enable"),
        NDArrayAddress=0,
        QueueSize=20,
    ),
}

FILE = {
    **PLUGIN,
    **echoed(
        FilePath="", FileName="", FileTemplate="", FileWriteMode=("Single", "Single", "Capture", "Stream"), NumCapture=1,
        CreateDirectory=0,
    ),
    "FileNumber": pv("FileNumber", 0),
    "AutoIncrement": pv("AutoIncrement", "No", **BOOL),
    "FilePathExists_RBV": pv("FilePathExists_RBV", "Yes", **BOOL),
    **text("FullFileName_RBV"),
    "NumCaptured_RBV": pv("NumCaptured_RBV", 0),
    "ArraySize0": pv("ArraySize0", 0),
    "ArraySize1": pv("ArraySize1", 0),
}  # fmt: skip


class Group(PVGroup):  # type: ignore[misc]
    @property
    def pvdb_by_name(self) -> dict[str, Any]:
        return {name.removeprefix(self.prefix): channel for name, channel in self.pvdb.items()}


async def capture(group: Any, instance: Any, value: Any) -> Any:
    writer, names = group.writer, group.pvdb_by_name
    if value in ("Yes", 1):
        path, name = (names[key].value for key in ("FilePath", "FileName"))
        writer.open(path, name)
        await names["NumCaptured_RBV"].write(0)
        await names["Capture_RBV"].write("Yes")
        group.capturing.clear()
        await group.capturing.wait()
    else:
        await asyncio.to_thread(writer.close)
        await names["NumCaptured_RBV"].write(writer.written)
        await names["Capture_RBV"].write("No")
        group.capturing.set()
    return "No"


async def flush_now(group: Any, instance: Any, value: Any) -> Any:
    group.writer.flush.set()
    until_s = time.monotonic() + 5
    while group.writer.flush.is_set() and time.monotonic() < until_s and group.writer._on:
        if group.writer._file is None:
            break
        await asyncio.sleep(0.001)
    return "No"


def plugin(kind: type[Writer], more: dict[str, Any]) -> type[Group]:
    async def begin(group: Any, instance: Any, async_lib: Any) -> None:
        while True:
            await asyncio.sleep(0.01)
            if group.counted != group.writer.written and group.writer._on:
                group.counted = group.writer.written
                await group.pvdb_by_name["NumCaptured_RBV"].write(group.counted)

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        Group.__init__(self, *args, **kwargs)
        self.writer, self.counted = kind(lambda: None), 0
        self.capturing = asyncio.Event()

    own = {
        "Capture": pv("Capture", "No", put=capture, startup=begin, **BOOL),
        "Capture_RBV": pv("Capture_RBV", "No", **BOOL),
    }
    return type(kind.__name__, (Group,), {**FILE, **own, **more, "__init__": init})


HDF = {
    **echoed(
        PositionMode=False, NumExtraDims=0, SWMRMode=False, XMLFileName="", NumFramesChunks=1, ChunkSizeAuto=False,
        LazyOpen=False,
        Compression=("None", "None", "N-bit", "szip", "zlib", "Blosc", "BSLZ4", "LZ4", "JPEG"),
    ),
    "FlushNow": pv("FlushNow", "No", put=flush_now, **BOOL),
}  # fmt: skip


class Driver:
    """Exposes frames in a thread, as many as were asked for, at their period."""

    def __init__(self, plugins: Any) -> None:
        self.plugins = plugins
        self.counter = self.unique = 0
        self.stopping = threading.Event()

    def expose(self, count: int, period_s: float) -> None:
        begun_s, done = time.monotonic(), 0
        while (count == 0 or done < count) and not self.stopping.is_set():
            due_s = begun_s + (done + 1) * period_s - time.monotonic()
            if due_s > 0 and self.stopping.wait(due_s):
                break
            index = self.index
            self.index += 1
            self.unique += 1
            self.counter += 1
            done += 1
            for group in self.plugins():
                group.writer.take(index, self.unique)

    index = 0


async def acquire(group: Any, instance: Any, value: Any) -> Any:
    names, driver = group.pvdb_by_name, group.driver
    if value in ("Yes", 1):
        captures = [each.writer.capture for each in driver.plugins()]
        if captures != group.captures:  # a new file begins with its first frame
            group.captures, driver.index = captures, 0
        driver.stopping.clear()
        await names["Acquire_RBV"].write("Yes")
        await names["DetectorState_RBV"].write("Acquire")
        endless = names["ImageMode"].value == "Continuous"
        count = 0 if endless else int(names["NumImages"].value)
        exposing = asyncio.ensure_future(
            asyncio.to_thread(
                driver.expose, count, max(names["AcquirePeriod"].value, names["AcquireTime"].value)
            )
        )
        while not exposing.done():
            await asyncio.wait([exposing], timeout=0.01)
            if names["ArrayCounter_RBV"].value != driver.counter:
                await names["ArrayCounter_RBV"].write(driver.counter)
        await names["DetectorState_RBV"].write("Idle")
        await names["Acquire_RBV"].write("No")
    else:
        driver.stopping.set()
    return "No"


def _camera_init(self: Any, *args: Any, **kwargs: Any) -> None:
    Group.__init__(self, *args, **kwargs)
    self.driver, self.captures = (
        Driver(lambda: [self.parent.hdf, self.parent.tiff, self.parent.jpeg]),
        [],
    )


CAMERA = {
    **ARRAY,
    **echoed(
        AcquireTime=0.01, AcquirePeriod=0.02, NumImages=1,
        ImageMode=("Single", "Single", "Multiple", "Continuous"),
    ),
    **enum("DetectorState_RBV", "Idle", *STATES),
    "Acquire": pv("Acquire", "No", put=acquire, **BOOL),
    "Acquire_RBV": pv("Acquire_RBV", "No", **BOOL),
    "WaitForPlugins": pv("WaitForPlugins", "No", **BOOL),
    **{name: short(name) for name in (
        "Manufacturer_RBV", "Model_RBV", "SerialNumber_RBV", "SDKVersion_RBV", "FirmwareVersion_RBV")},
}  # fmt: skip


class Ioc(PVGroup):  # type: ignore[misc]
    camera = SubGroup(
        type("Camera", (Group,), {**CAMERA, "__init__": _camera_init}), prefix="cam1:"
    )
    hdf = SubGroup(plugin(Hdf5, HDF), prefix="HDF1:")
    tiff = SubGroup(plugin(Tiff, {}), prefix="TIFF1:")
    jpeg = SubGroup(plugin(Jpeg, {}), prefix="JPEG1:")


if __name__ == "__main__":
    run(Ioc(prefix=TOLD["prefix"]).pvdb, interfaces=["127.0.0.1"], log_pv_names=False)
