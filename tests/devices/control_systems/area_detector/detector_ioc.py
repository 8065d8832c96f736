"""An IOC with an areaDetector: real records (EPICS base by softioc) for ADBase's, p4p's server for NDPluginPva's.

    python detector_ioc.py PREFIX HEIGHT WIDTH

Environment: EPICS' own, IMAGE_PORT, where the frames' server is searched for, and FRAMES_FD, if that is a process of its own
(frame_relay.py), to which they go. Its records ``PREFIXsim:`` say what goes wrong.
"""

import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from frame_relay import Frames  # type: ignore[import-not-found]  # beside this program
from numpy.typing import NDArray
from softioc import asyncio_dispatcher, builder, softioc

PREFIX = sys.argv[1]
SENSOR = int(sys.argv[2]), int(sys.argv[3])
STATES = (
    "Idle", "Acquire", "Readout", "Correct", "Saving", "Aborting", "Error", "Waiting", "Initializing",
    "Disconnected", "Aborted",
)  # fmt: skip
MODES = ("Single", "Multiple", "Continuous")
TYPES = ("Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32", "Float32", "Float64")


class Detector:
    """Exposes as simDetector does: counts, stamps at the end of each exposure, and passes the image on."""

    def __init__(self) -> None:
        self.set: dict[str, Any] = {}
        self.read: dict[str, Any] = {}
        self.sim: dict[str, Any] = {}
        self.go, self.pulse, self.fall = (
            threading.Event(), threading.Semaphore(0), threading.Semaphore(0)
        )  # fmt: skip
        self._make_records()
        self._make_own_records()
        self._make_plugins()

    def _make_records(self) -> None:
        builder.SetDeviceName(f"{PREFIX}cam1")
        self._number("AcquireTime", 0.01, lambda value: min(max(value, 1e-4), 60.0))
        self._number("AcquirePeriod", 0.02, lambda value: max(value, 0.0))
        self._number("Gain", 1.0, lambda value: min(max(value, 0.0), 10.0), DRVL=0, DRVH=10)
        for name, value, most in (
            ("NumImages", 1, 10**9), ("ArrayCounter", 0, 2**31 - 1),
            ("BinX", 1, 4), ("BinY", 1, 4), ("MinX", 0, SENSOR[1] - 1), ("MinY", 0, SENSOR[0] - 1),
            ("SizeX", SENSOR[1], SENSOR[1]), ("SizeY", SENSOR[0], SENSOR[0]),
        ):  # fmt: skip
            self._whole(name, value, most)
        for name, words in (
            ("ImageMode", MODES),
            ("TriggerMode", ("Internal", "External", "Bulb")),
        ):
            self._choice(name, words)
        read = self.read
        read["Acquire"] = builder.boolIn("Acquire_RBV", "Done", "Acquiring")
        read["State"] = builder.mbbIn("DetectorState_RBV", *STATES)
        read["Type"] = builder.mbbIn("DataType_RBV", *TYPES, initial_value=3)
        read["Message"] = builder.longStringIn("StatusMessage_RBV", length=256)
        for name, value in (
            ("MaxSizeX", SENSOR[1]),
            ("MaxSizeY", SENSOR[0]),
            ("ArraySizeX", 0),
            ("ArraySizeY", 0),
        ):
            read[name] = builder.longIn(f"{name}_RBV", initial_value=value)
        builder.boolOut("ArrayCallbacks", initial_value=0)
        self.acquire = builder.boolOut(
            "Acquire", "Done", "Acquire", on_update=self._on_acquire, always_update=True
        )
        builder.SetDeviceName(f"{PREFIX}sim")
        # The number since the IOC's start of an image that is lost, or at which something goes wrong; 0 for none.
        for name in ("Lose", "LoseTo", "FailAt", "StopAt", "HangAt", "FirstId", "Ahead"):
            self.sim[name] = builder.longOut(name, initial_value=1 if name == "FirstId" else 0)
        # 1: the input rises; 0: it falls.
        builder.boolOut(
            "Pulse",
            on_update=lambda up: (self.pulse if up else self.fall).release(),
            always_update=True,
        )

    def _make_own_records(self) -> None:
        """Make what this driver has and others have not, of each type."""
        builder.SetDeviceName(f"{PREFIX}cam1")
        self._choice("FanSpeed", ("off", "low", "high"))
        self._whole("BlackLevel", 10, 10**6, DRVL=0, DRVH=255)
        self._number("Cooling", -10.0, lambda value: value)
        builder.aIn("Cooling_MIN", initial_value=-40)
        builder.aIn("Cooling_MAX", initial_value=20)
        builder.stringOut("Label", initial_value="none")  # is its own read-back
        note = self.read["Note"] = builder.longStringIn("Note_RBV", length=256)
        builder.longStringOut("Note", length=256, on_update=note.set, always_update=True)

    def _make_plugins(self) -> None:
        """Make what ophyd looks at of plugins."""
        for name, kind in (("Pva1", "NDPluginPva"), ("HDF1", "NDFileHDF5")):
            builder.SetDeviceName(PREFIX + name)
            builder.stringIn("PluginType_RBV", initial_value=kind)
            builder.stringIn("PortName_RBV", initial_value=name)
            builder.boolIn("EnableCallbacks_RBV", "Disable", "Enable", initial_value=1)
        builder.SetDeviceName(f"{PREFIX}Pva1")
        builder.stringIn("PvName_RBV", initial_value=f"{PREFIX}Pva1:Image")

    def _number(
        self, name: str, value: float, limited: Callable[[float], float], **fields: Any
    ) -> None:
        self._pair(name, builder.aOut, builder.aIn, value, limited, fields, PREC=6)

    def _whole(self, name: str, value: int, most: int, **fields: Any) -> None:
        def limited(asked: int) -> int:
            return min(max(asked, 0), most)

        self._pair(name, builder.longOut, builder.longIn, value, limited, fields)

    def _pair(
        self,
        name: str,
        out: Any,
        back: Any,
        value: Any,
        limited: Callable[[Any], Any],
        limits: dict[str, Any],
        **fields: Any,
    ) -> None:
        read = self.read[name] = back(f"{name}_RBV", initial_value=value, **fields)
        self.set[name] = out(
            name, initial_value=value, on_update=lambda asked: read.set(limited(asked)),
            always_update=True, **fields, **limits,
        )  # fmt: skip

    def _choice(self, name: str, words: tuple[str, ...]) -> None:
        read = self.read[name] = builder.mbbIn(f"{name}_RBV", *words, initial_value=0)
        self.set[name] = builder.mbbOut(name, *words, on_update=read.set, always_update=True)

    def get(self, name: str) -> Any:
        return self.read[name].get()

    def _on_acquire(self, on: int) -> None:
        if on and not self.go.is_set():
            while self.pulse.acquire(blocking=False) or self.fall.acquire(blocking=False):
                pass
            self.read["Acquire"].set(1)
            self.go.set()
        elif not on:
            self.go.clear()

    def run(self) -> None:
        while True:
            self.go.wait()
            self.read["State"].set(1)
            self._acquire()
            self.go.clear()
            self.acquire.set(0, process=False)
            self.read["Acquire"].set(0)
            if self.get("State") == 1:
                self.read["State"].set(0)

    def _acquire(self) -> None:
        mode = MODES[self.get("ImageMode")]
        most = {"Single": 1, "Multiple": self.get("NumImages"), "Continuous": 10**9}[mode]
        begin_s = time.time()
        for index in range(most):
            period_s = max(self.get("AcquireTime"), self.get("AcquirePeriod"))
            if not self._exposed(begin_s + index * period_s + self.get("AcquireTime")):
                return
            number = self.get("ArrayCounter") + 1
            while number == self.sim["HangAt"].get() and self.go.is_set():
                time.sleep(0.01)  # It says that it acquires, and gives nothing.
            self.read["ArrayCounter"].set(number)
            if not self._goes_on(number):
                return
            self._pass_on(number)

    def _exposed(self, until_s: float) -> bool:
        """Wait until an exposure has ended; whether nobody ended the acquisition meanwhile."""
        mode = self.get("TriggerMode")
        external = mode != 0
        for edge in {0: (), 1: (self.pulse,), 2: (self.pulse, self.fall)}[mode]:
            while self.go.is_set() and not edge.acquire(timeout=0.01):
                pass
        if mode == 2:
            return self.go.is_set()
        end_s = time.time() + self.get("AcquireTime") if external else until_s
        while self.go.is_set() and (left_s := end_s - time.time()) > 0:
            time.sleep(min(left_s, 0.01))
        return self.go.is_set()

    def _goes_on(self, number: int) -> bool:
        if number == self.sim["FailAt"].get():
            self.read["Message"].set("the sensor is too warm")
            self.read["State"].set(6)
            return False
        return bool(number != self.sim["StopAt"].get())

    def _pass_on(self, number: int) -> None:
        first, last = self.sim["Lose"].get(), self.sim["LoseTo"].get()
        pixels = self._pixels(number)
        self.read["ArraySizeX"].set(pixels.shape[1])
        self.read["ArraySizeY"].set(pixels.shape[0])
        if first and first <= number <= max(first, last):
            return
        stamp_ns = time.time_ns() + self.sim["Ahead"].get() * 10**9
        show(number - 1 + self.sim["FirstId"].get(), stamp_ns, pixels)

    def _pixels(self, number: int) -> NDArray[np.uint16]:
        shape = [self.get(f"Size{axis}") // self.get(f"Bin{axis}") for axis in "YX"]
        pixels = np.full(shape, 1000 + number, np.uint16)
        pixels[0, 0] = self.get("MinY") * 1000 + self.get("MinX")
        return pixels


detector = Detector()
builder.LoadDatabase()
softioc.iocInit(asyncio_dispatcher.AsyncioDispatcher())
if apart := os.environ.get("FRAMES_FD"):
    relay = os.fdopen(int(apart), "wb")

    def show(*frame: Any) -> None:
        relay.write(pickle.dumps(frame))
        relay.flush()

    print("ready", flush=True)
    detector.run()
else:
    frames = Frames()
    show = frames.post
    with frames.server(PREFIX):
        print("ready", flush=True)
        detector.run()
