"""The server of an areaDetector's frames: in its IOC's process, or as a program of its own, which outlives the IOC.

    python frame_relay.py PREFIX

The program posts what comes by its input, and stays when that ends. Environment: IMAGE_PORT, where it is searched for.
"""

import os
import pickle
import sys
import threading
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from p4p.nt import NTNDArray
from p4p.server import Server
from p4p.server.thread import SharedPV


class Frames:
    """The PV of NDPluginPva."""

    def __init__(self) -> None:
        self._image = SharedPV(initial=NTNDArray().wrap(np.zeros((0, 0), np.uint8)))

    def server(self, prefix: str) -> Server:
        conf = {
            "EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1", "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "NO",
            "EPICS_PVAS_SERVER_PORT": "0", "EPICS_PVAS_BROADCAST_PORT": os.environ["IMAGE_PORT"],
        }  # fmt: skip
        return Server(providers=[{f"{prefix}Pva1:Image": self._image}], conf=conf, useenv=False)

    def post(self, unique_id: int, stamp_ns: int, pixels: NDArray[Any]) -> None:
        value = NTNDArray().wrap(pixels)
        value.uniqueId = unique_id
        value.timeStamp.secondsPastEpoch, value.timeStamp.nanoseconds = divmod(stamp_ns, 10**9)
        self._image.post(value)


def main() -> None:
    frames = Frames()
    with frames.server(sys.argv[1]):
        print("ready", flush=True)
        with suppress(EOFError):
            while True:
                frames.post(*pickle.load(sys.stdin.buffer))
        threading.Event().wait()


if __name__ == "__main__":
    main()
