"""IOCs with an areaDetector, in processes of their own on this computer only, and what tells them to fail."""

import os
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

from concertino.devices import AreaDetectorCamera
from tests.channel_access import IOC_PORTS
from tests.ports import free_port

PREFIX = "TEST:"
SHAPE = (24, 32)
_READY_S = 120.0


@cache
def environment() -> dict[str, str]:
    """Return where the servers of this process are, and where its clients of PV Access look for them."""
    pva, records, image = (free_port() for _ in range(3))
    return {
        "EPICS_CA_SERVER_PORT": str(IOC_PORTS["area_detector"]),
        "EPICS_CAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_CAS_BEACON_ADDR_LIST": "127.0.0.1",
        "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
        "EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "NO",
        "EPICS_PVAS_SERVER_PORT": str(pva),
        "EPICS_PVAS_BROADCAST_PORT": str(records),
        "EPICS_PVA_ADDR_LIST": f"127.0.0.1:{records} 127.0.0.1:{image}",
        "EPICS_PVA_AUTO_ADDR_LIST": "NO",
        "IMAGE_PORT": str(image),
    }


class Ioc:
    """The process of an IOC, and, if wished, that of its frames' server, which outlives it.

    Parameters
    ----------
    apart : bool
        Whether its frames are served by a process of their own.
    """

    def __init__(self, apart: bool = False) -> None:
        self.relay: subprocess.Popen[str] | None = None
        told: dict[str, str] = {}
        fds: tuple[int, ...] = ()
        if apart:
            read, write = os.pipe()
            self.relay = _started("frame_relay.py", PREFIX, stdin=read)
            os.close(read)
            fds, told = (write,), {"FRAMES_FD": str(write)}
        try:
            self.process = _started(
                "detector_ioc.py", PREFIX, *map(str, SHAPE), pass_fds=fds, told=told
            )
        finally:
            for fd in fds:
                os.close(fd)

    def kill(self) -> None:
        """Kill it, as a crash does; the frames' server stays."""
        _end(self.process)

    def end(self) -> None:
        """Kill all that is left of it."""
        self.kill()
        if self.relay is not None:
            _end(self.relay)


def _started(
    program: str,
    *arguments: str,
    stdin: int = subprocess.DEVNULL,
    pass_fds: tuple[int, ...] = (),
    told: dict[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Return a process that has said that it is ready."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name(program)), *arguments],
        env={**os.environ, **environment(), **(told or {})},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=pass_fds,
        text=True,
    )
    deadline_s = time.monotonic() + _READY_S
    assert process.stdout is not None
    said = [""]
    while said[-1].strip() != "ready":
        assert time.monotonic() < deadline_s, said
        said.append(process.stdout.readline())
        assert said[-1], said
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(30)
    if process.stdout is not None:
        process.stdout.close()


def put(camera: AreaDetectorCamera, name: str, value: int) -> None:
    """Set a record of the simulation."""
    camera.source._driver._records.put(f"{PREFIX}sim:{name}", value)


def counted(camera: AreaDetectorCamera) -> int:
    """Return how many images the detector has made."""
    return camera.source._driver.number("ArrayCounter_RBV")
