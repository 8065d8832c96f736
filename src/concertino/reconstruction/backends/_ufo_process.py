"""The parent's side of the process that UFO runs in."""

import json
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from concertino._errors import ReconstructionError

_CHILD = Path(__file__).with_name("_ufo_child.py")
_START_S = 60.0
_END_S = 2.0
_LAST_WORDS = 12  # lines
INSTALL = (
    "on Debian: apt install libufo1 libufo-data ufo-filters ufo-filters-data, and pocl-opencl-icd or "
    "the OpenCL driver of a GPU"
)


class UfoUnavailableError(ReconstructionError):
    """UFO cannot work on this machine."""


class SharedMemory:
    """Memory that this process and UFO's both see; it is gone with the last of them.

    Parameters
    ----------
    size
        Bytes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.file = os.memfd_create("concertino-ufo")
        self._close = weakref.finalize(self, os.close, self.file)
        os.truncate(self.file, size)
        self.memory = mmap.mmap(self.file, size)


class UfoProcess:
    """Runs graphs of UFO tasks in a process of its own, one at a time.

    The process starts when it is asked for something, starts again after it has died, and ends with
    this object or with this process, however that ends.
    """

    _shared: "weakref.ref[UfoProcess] | None" = None
    _sharing = threading.Lock()

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._listener: threading.Thread | None = None
        self._end: weakref.finalize[..., Any] | None = None
        self._devices: tuple[str, ...] = ()
        self._on_gpu = False

    @classmethod
    def shared(cls) -> "UfoProcess":
        """Return the one that others use now, or a new one."""
        with cls._sharing:
            found = None if cls._shared is None else cls._shared()
            if found is None or found._owner != os.getpid():  # after a fork it is the parent's
                found = cls()
                cls._shared = weakref.ref(found)
            return found

    @property
    def pid(self) -> int | None:
        """Number of the process; None: there is none now."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def devices(self) -> tuple[tuple[str, ...], bool]:
        """Names of the OpenCL devices that are used, and whether they are GPUs.

        Raises
        ------
        UfoUnavailableError
            UFO, its tasks or OpenCL are not there.
        """
        with self._lock:
            self._started()
            return self._devices, self._on_gpu

    def run(
        self, graph: Mapping[str, Any], shared: SharedMemory, doing: str, timeout_s: float
    ) -> None:
        """Run a graph of tasks.

        Parameters
        ----------
        graph
            As UFO's JSON; `pointer` properties count from the beginning of the shared memory.
        shared
            The memory.
        doing
            What it is for, for messages.
        timeout_s
            How long it may take, in seconds.

        Raises
        ------
        ReconstructionError
            UFO refused, died or took too long.
        """
        request = json.dumps({"graph": graph, "bytes": shared.size}).encode()
        with self._lock:
            channel = self._started()
            try:
                socket.send_fds(channel, [request], [shared.file])
                reply = self._reply(channel, timeout_s)
            except OSError:  # its end of the channel is closed
                reply = None
            except BaseException:
                self._close()  # or its answer would be taken for the next one's
                raise
            if reply is None:
                raise self._obituary(doing)
        if "error" in reply:
            raise ReconstructionError(
                f"UFO refused while {doing} on {', '.join(self._devices)}: {reply['error']}. "
                "Use backend='cpu', which needs no OpenCL."
            )

    def close(self) -> None:
        """End the process; the next `run` starts another."""
        with self._lock:
            self._close()

    def _started(self) -> socket.socket:
        if self._channel is not None and self.pid is not None:
            return self._channel
        self._close()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", str(_CHILD), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for this process, which ends that one
            )
        self._process, self._channel = process, ours
        self._end = weakref.finalize(self, _end, process, ours)
        self._words.clear()
        self._listener = threading.Thread(
            target=_keep_words, args=(process, self._words), name="UFO's words", daemon=True
        )
        self._listener.start()
        try:
            hello = self._reply(ours, _START_S)
        except BaseException:
            self._close()
            raise
        if hello is None:
            raise UfoUnavailableError(f"{self._obituary('starting')} Install it, {INSTALL}.")
        if "error" in hello:
            self._close()
            raise UfoUnavailableError(f"{hello['error']}. Install it, {INSTALL}.")
        self._devices, self._on_gpu = tuple(hello["devices"]), hello["gpu"]
        return ours

    def _reply(self, channel: socket.socket, timeout_s: float) -> dict[str, Any] | None:
        """Return the answer, or None when the process has died."""
        answers = select.poll()  # select() takes no descriptor above 1023
        answers.register(channel, select.POLLIN)
        if not answers.poll(timeout_s * 1000):
            self._close()
            raise ReconstructionError(
                f"UFO did not answer for {timeout_s:.0f} s and was ended; its last "
                f"words: {self._last_words()}. Use backend='cpu', or look after the OpenCL driver."
            )
        message = channel.recv(2**18)
        return json.loads(message) if message else None

    def _obituary(self, doing: str) -> ReconstructionError:
        assert self._process is not None
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            code = 0
        if self._listener is not None:
            self._listener.join(_END_S)
        cause = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit status {code}"
        words = self._last_words()
        self._close()
        return ReconstructionError(
            f"UFO's process ended {cause} while {doing} on "
            f"{', '.join(self._devices) or 'a device not yet known'}; its last words: {words}. "
            "The next reconstruction starts a new one; when it happens again, use backend='cpu', "
            "or look after the OpenCL driver."
        )

    def _last_words(self) -> str:
        return " / ".join(self._words) or "(none)"

    def _close(self) -> None:
        if self._end is not None:
            self._end()
        self._process = self._channel = self._end = None


def _keep_words(process: "subprocess.Popen[bytes]", words: deque[str]) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            if text := line.decode(errors="replace").strip():
                words.append(text)


def _end(process: "subprocess.Popen[bytes]", channel: socket.socket) -> None:
    """Ask a process to end by closing the channel, and see that it does."""
    channel.close()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
