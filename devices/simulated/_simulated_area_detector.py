"""An EPICS areaDetector to try things with: a process on this computer, found by PV Access."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Literal

from concertino import CameraError
from concertino._extras import extra

_PROGRAM = Path(__file__).with_name("_area_detector_ioc.py")
_PLACES = "EPICS_PVA_NAME_SERVERS"
#: A frame's memory is used again, and not given back and cleared: a third of what a frame of 1024² costs that process.
_KEEPS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**26), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
_START_S, _END_S = 60.0, 10.0


class SimulatedAreaDetector:
    """An areaDetector in a process of its own: its driver's records and its frames, by PV Access only.

    Its images are noise around 1000; the last pixel of each is its number. From `start` to `stop`, or as a context, it
    runs, and is found by cameras that are made meanwhile: ``AreaDetectorCamera(detector.prefix, control="pva")``.

    Parameters
    ----------
    shape : tuple of int
        Shape (height, width) of its uint16 frames, in pixels.
    codec : {"", "bslz4"}
        How they are compressed, as by NDPluginCodec; the last pixel is no number then.
    prefix : str
        What the names of its PVs begin with.

    Raises
    ------
    MissingExtraError
        If p4p is not installed: the extra ``areadetector``.
    """

    def __init__(
        self,
        shape: tuple[int, int] = (64, 64),
        *,
        codec: Literal["", "bslz4"] = "",
        prefix: str = "SIMULATED:",
    ) -> None:
        with extra("areadetector", "A simulated areaDetector"):
            import imagecodecs  # noqa: F401
            import p4p  # noqa: F401
        self.shape = shape
        self.prefix = prefix
        self.codec = codec
        self._process: subprocess.Popen[str] | None = None
        self._before: str | None = None

    @property
    def pid(self) -> int:
        """Its process; 0 when it does not run."""
        return 0 if self._process is None else self._process.pid

    def start(self) -> "SimulatedAreaDetector":
        """Start the process, and say where it is in this process' environment.

        Returns
        -------
        SimulatedAreaDetector
            This one.

        Raises
        ------
        CameraError
            If it does not start.
        """
        command = [sys.executable, str(_PROGRAM), self.prefix, *map(str, self.shape), self.codec]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **_KEEPS_MEMORY},
        )
        assert self._process.stdout is not None
        too_late = threading.Timer(_START_S, self._process.kill)
        too_late.start()
        port = self._process.stdout.readline().strip()
        too_late.cancel()
        if not port.isdecimal():
            self._end()
            raise CameraError(
                f"The simulated areaDetector {self.prefix} was started, and ended before it was ready. Its error is on "
                f"the terminal; try {' '.join(command)}."
            )
        self._before = os.environ.get(_PLACES)
        os.environ[_PLACES] = " ".join(filter(None, (f"127.0.0.1:{port}", self._before)))
        return self

    def stop(self) -> None:
        """End the process, and forget where it was; harmless when it does not run."""
        if self._process is None:
            return
        self._end()
        if self._before is None:
            os.environ.pop(_PLACES, None)
        else:
            os.environ[_PLACES] = self._before

    def __enter__(self) -> "SimulatedAreaDetector":
        """Start it; as `start`."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it; as `stop`."""
        self.stop()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.communicate(timeout=_END_S)  # its input ends, and so does it
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate(timeout=_END_S)
