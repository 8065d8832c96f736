"""Aravis' own GigE Vision camera: a process that speaks the protocol, on the loopback interface."""

import ctypes
import errno
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from concertino.devices import CameraSettings, GenicamSource, Region
from concertino.frames import FrameRequest

from .needed import FAKE_CAMERA, need

ADDRESS = "127.0.0.1"
_BOUND = "0100007F:0F74"  # the address and the protocol's port 3956, as the kernel writes them
_PATIENCE_S = 240.0
#: Who has bound this name has the camera; the documentation's page of GenICam cameras binds it, too. It is one of the
#: whole computer, or of its network namespace, as the camera's port is: a file in a directory for temporary files is not.
_LOCK = "\0concertino-fake-gige"
_LIBC = ctypes.CDLL(None)
#: The kernel's number for what a process gets when the thread that started it ends.
_DIES_WITH_PARENT = 1
SMALL = Region(0, 0, 32, 48)


@cache
def description() -> str:
    """Return the features that the fake camera says it has, in GenICam's XML."""
    need("genicam")
    with fake_gige(), opened() as source:
        library = ctypes.CDLL(source._device.aravis.path)
        tell = library.arv_device_get_genicam_xml
        tell.restype, tell.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_void_p]
        size = ctypes.c_size_t()
        start = tell(source._device.handle, ctypes.byref(size))
        return ctypes.string_at(start, size.value).decode()


class FakeGige:
    """The process; it can be killed and started again."""

    def __init__(self, *options: str) -> None:
        self.options = options
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens: this one, and no other that somebody left there."""
        until = time.monotonic() + _PATIENCE_S
        self.process = self._started()
        while not _listens(self.process.pid):
            time.sleep(0.01)
            if time.monotonic() > until:
                self.kill()
                raise AssertionError(f"the fake camera does not get {ADDRESS}:3956; see who has it")
            if self.process.poll() is not None:  # somebody else's camera was there
                time.sleep(0.5)
                self.process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        # Killed with the tests: one that was left had the port, and all later tests waited for it.
        return subprocess.Popen(
            [FAKE_CAMERA, "-i", ADDRESS, *self.options],
            preexec_fn=lambda: _LIBC.prctl(_DIES_WITH_PARENT, signal.SIGKILL),
        )

    def kill(self) -> None:
        """Kill it, as a cut cable would end it for us."""
        self.process.kill()
        self.process.wait(_PATIENCE_S)


def _listens(pid: int) -> bool:
    """Whether a process has the camera's port."""
    table = Path("/proc/net/udp").read_text().splitlines()
    ours = {f"socket:[{line.split()[9]}]" for line in table if _BOUND in line}
    has: set[str] = set()
    with suppress(OSError):  # it has just ended, or closed one of its files
        for file in Path(f"/proc/{pid}/fd").iterdir():
            has.add(os.readlink(file))
    return bool(ours & has)


def _bound(lock: socket.socket) -> bool:
    """Whether the lock is ours now."""
    try:
        lock.bind(_LOCK)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True


@contextmanager
def fake_gige(*options: str) -> Iterator[FakeGige]:
    """Run a fake camera, the only one on this computer: all are at the same address and port."""
    with socket.socket(socket.AF_UNIX) as lock:
        until = time.monotonic() + _PATIENCE_S
        while not _bound(lock):
            assert time.monotonic() < until, "another test has the fake camera"
            time.sleep(0.05)
        camera = FakeGige(*options)
        try:
            yield camera
        finally:
            camera.kill()


@contextmanager
def opened(features: tuple[str, ...] = (), pixel_size_um: float = 0.0) -> Iterator[GenicamSource]:
    """Open the fake camera, set to small frames: large ones take its process long to make."""
    source = GenicamSource(ADDRESS, features=features, pixel_size_um=pixel_size_um)
    try:
        settings = CameraSettings(0.001, 0.0, {"region": SMALL, "bit_depth": 16})
        source.prepare(FrameRequest(1), settings)
        yield source
    finally:
        source.close()
