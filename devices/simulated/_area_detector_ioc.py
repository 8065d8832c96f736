"""The program of `SimulatedAreaDetector`: ADBase's records and NDPluginPva's frames, by p4p alone.

    python _area_detector_ioc.py PREFIX HEIGHT WIDTH CODEC

It prints the TCP port at which it is found, and ends when its input does. Frames are prepared, so that they cost this process little.
"""

import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino._extras import extra

with extra("areadetector", "A simulated areaDetector"):
    from p4p import Value
    from p4p.nt import NTEnum, NTNDArray, NTScalar
    from p4p.server import Server
    from p4p.server.thread import SharedPV

_PREPARED = 16
_BLOCK_BYTES = 8192
_UINT16 = 6  # of pvData's scalar types
_STATES = ("Idle", "Acquire", "Readout")
_MODES = ("Single", "Multiple", "Continuous")
_TYPES = ("Int8", "UInt8", "Int16", "UInt16")


class _Detector:
    """Counts, stamps each image at the end of its exposure, and posts it."""

    def __init__(self, prefix: str, shape: tuple[int, int], codec: str) -> None:
        self.pvs: dict[str, SharedPV] = {}
        self._prefix = f"{prefix}cam1:"
        self._now: dict[str, Any] = {}
        self._go = threading.Event()
        self._dimension = [{"size": size, "fullSize": size} for size in reversed(shape)]
        self._type = NTNDArray.buildType()
        self._codec = codec
        random = np.random.default_rng(1)
        self._images = random.integers(900, 1100, (_PREPARED, *shape), np.uint16)
        self._packed = [_packed(image) for image in self._images] if codec else []
        self.image = self.pvs[f"{prefix}Pva1:Image"] = SharedPV(initial=self._value(0))
        for name, value in (("AcquireTime", 0.001), ("AcquirePeriod", 0.01)):
            self._pair(name, NTScalar("d", control=True), float, value, {"limitHigh": 60.0})
        gain = {"limitLow": 1.0, "limitHigh": 10.0}
        self._pair("Gain", NTScalar("d", control=True), float, 1.0, gain)
        for name, count in (("NumImages", 1), ("ArrayCounter", 0)):
            self._pair(name, NTScalar("i"), int, count)
        for name, words in (("ImageMode", _MODES), ("TriggerMode", ("Internal",))):
            self._pair(name, NTEnum(), int, _choices(0, words))
        self._read_back("DetectorState", NTEnum(), _choices(0, _STATES))
        self._read_back("DataType", NTEnum(), _choices(_TYPES.index("UInt16"), _TYPES))
        for name, size in zip(("ArraySizeY", "ArraySizeX"), shape, strict=True):
            self._read_back(name, NTScalar("i"), size)
        self._read_back("Acquire", NTScalar("i"), 0)
        self._settable("Acquire", NTScalar("i"), 0, self._on_acquire)

    def run(self) -> None:
        """Take images whenever it is told to."""
        while True:
            if not self._go.wait(1.0):
                continue
            self._tell("DetectorState", 1)
            self._acquire()
            self._go.clear()
            self._tell("DetectorState", 0)
            self._tell("Acquire", 0)

    def _acquire(self) -> None:
        now = self._now
        most = (1, now["NumImages"], 2**31)[now["ImageMode"]]
        end_s = time.time()
        for _ in range(most):
            end_s += max(now["AcquirePeriod"], now["AcquireTime"])
            while self._go.is_set() and (left_s := end_s - time.time()) > 0:
                time.sleep(min(left_s, 0.05))
            if not self._go.is_set():
                return
            number = now["ArrayCounter"] + 1
            self._tell("ArrayCounter", number)
            self.image.post(self._value(number))

    def _value(self, number: int) -> Value:
        """Return the frame of an image; its last pixel is the number, if it is not compressed."""
        image = self._images[number % _PREPARED]
        image[-1, -1] = number % 2**16
        told: dict[str, Any] = {"uniqueId": number, "dimension": self._dimension}
        if self._codec:
            packed = self._packed[number % _PREPARED]
            told["value"] = ("ubyteValue", packed)
            told["codec"] = {"name": self._codec, "parameters": _UINT16}
            told["compressedSize"] = packed.nbytes
        else:
            told["value"] = ("ushortValue", image.reshape(-1))
            told["compressedSize"] = image.nbytes
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        told["timeStamp"] = {"secondsPastEpoch": seconds, "nanoseconds": nanoseconds}
        return Value(self._type, told | {"uncompressedSize": image.nbytes})

    def _pair(
        self,
        name: str,
        nt: Any,
        kind: Callable[[Any], Any],
        value: Any,
        control: Mapping[str, float] | None = None,
    ) -> None:
        self._read_back(name, nt, value)
        shown = {"value": value, "control": control} if control else value
        self._settable(name, nt, shown, lambda asked: self._tell(name, kind(asked)))

    def _settable(self, name: str, nt: Any, value: Any, taken: Callable[[Any], None]) -> None:
        def put(pv: SharedPV, operation: Any) -> None:
            asked = operation.value()
            plain = float(asked) if isinstance(asked, float) else int(asked)
            pv.post(plain)
            taken(plain)
            operation.done()

        self.pvs[self._prefix + name] = made = SharedPV(nt=nt, initial=value)
        made.put(put)

    def _read_back(self, name: str, nt: Any, value: Any) -> None:
        self.pvs[f"{self._prefix}{name}_RBV"] = SharedPV(nt=nt, initial=value)
        self._now[name] = value["index"] if isinstance(value, dict) else value

    def _tell(self, name: str, value: Any) -> None:
        self._now[name] = value
        self.pvs[f"{self._prefix}{name}_RBV"].post(value)

    def _on_acquire(self, on: int) -> None:
        if on and not self._go.is_set():
            self._tell("Acquire", 1)
            self._go.set()
        elif not on:
            self._go.clear()


def _choices(index: int, words: tuple[str, ...]) -> dict[str, Any]:
    return {"index": index, "choices": list(words)}


def _packed(image: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Return an image as NDPluginCodec's ``bslz4``: blocks, each after its size."""
    with extra("areadetector", "A simulated areaDetector with compressed frames"):
        import imagecodecs

    shuffled = bytes(imagecodecs.bitshuffle_encode(image.tobytes(), itemsize=image.itemsize))
    blocks = [
        imagecodecs.lz4_encode(shuffled[begin : begin + _BLOCK_BYTES])
        for begin in range(0, len(shuffled), _BLOCK_BYTES)
    ]
    joined = b"".join(len(block).to_bytes(4, "big") + block for block in blocks)
    return np.frombuffer(joined, np.uint8)


def main() -> None:
    """Serve until the input ends."""
    prefix, height, width, codec = sys.argv[1:]
    detector = _Detector(prefix, (int(height), int(width)), codec)
    conf = {
        "EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1", "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "NO",
        "EPICS_PVAS_SERVER_PORT": "0", "EPICS_PVAS_BROADCAST_PORT": "0",
    }  # fmt: skip
    with Server(providers=[detector.pvs], conf=conf, useenv=False) as server:
        threading.Thread(target=detector.run, daemon=True).start()
        print(server.conf()["EPICS_PVAS_SERVER_PORT"], flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
