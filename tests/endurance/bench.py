"""A camera whose pixels tell which frame they are of, and a beamline around it."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino import CameraError, DeviceError
from concertino.devices import Camera, CameraSettings, Grab, SimulatedMotor, SimulatedShutter
from concertino.frames import FrameRequest
from concertino.storage import Run

SHAPE = (16, 24)
_KINDS = {"darks": 10_000, "flats": 20_000, "projections": 30_000}


def truth(kind: str, indices: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Return what the frames of a kind show, shape (n, height, width): counted, not computed by Concertino."""
    pixels = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    return ((_KINDS[kind] + 7 * indices[:, None, None] + 3 * pixels) % 65536).astype(np.uint16)


class CountingSource:
    """Exposes at a frame rate of its own; each frame shows its number and what it is for.

    Parameters
    ----------
    rate_hz : float
        Frames per second.
    """

    shape = SHAPE
    dtype = np.dtype(np.uint16)
    pixel_size_um = 1.0
    first_number = 0

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._stopped = threading.Event()
        self._triggers = threading.Semaphore(0)
        self._request = FrameRequest(1)
        self._begun_s, self._index = 0.0, 0
        self.dies_at = -1
        #: Called with what is exposed and its number, before each frame of it is given away.
        self.watch: Callable[[str, int], None] = lambda kind, index: None

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        """Take over what is asked."""
        self._request, self._index = request, 0
        self._stopped.clear()
        self._triggers = threading.Semaphore(0)

    def start(self) -> None:
        """Begin to expose."""
        self._begun_s = time.monotonic()

    def grab(self, out: NDArray[Any]) -> Grab:
        """Give one frame away."""
        if self._request.trigger == "software":
            self._triggers.acquire()
        else:
            due_s = self._begun_s + (self._index + 1) / self._rate_hz
            self._stopped.wait(max(0.0, due_s - time.monotonic()))
        if self._stopped.is_set():
            return Grab(np.empty(0, np.int64), np.empty(0, np.int64))
        index, self._index = self._index, self._index + 1
        if self._request.kind == "projections" and index == self.dies_at:
            raise CameraError(f"The counting camera was told to die at frame {index}.")
        self.watch(self._request.kind, index)
        out[0] = truth(self._request.kind, np.array([index]))[0]
        return Grab(np.array([time.time_ns()], np.int64), np.array([index], np.int64))

    def trigger(self) -> None:
        """Take a frame."""
        self._triggers.release()

    def stop(self) -> None:
        """Expose no more."""
        self._stopped.set()
        self._triggers.release()


class Stage(SimulatedMotor):
    """A stage that refuses to move when the moves that it has left are made; -1 for any number."""

    moves_left = -1

    def set(self, value: float) -> Any:
        """Move, or refuse to."""
        if self.moves_left == 0:
            raise DeviceError("The stage was told to fail.")
        self.moves_left -= self.moves_left > 0
        return super().set(value)


class Beamline:
    """Camera, shutter, stage and rotation.

    Parameters
    ----------
    rate_hz : float
        Frames per second.
    """

    def __init__(self, rate_hz: float = 300.0) -> None:
        self.source = CountingSource(rate_hz)
        self.camera = Camera(
            self.source,
            exposure=0.0,
            frame_rate=rate_hz,
            ring_bytes=2**20,
            subscriber_timeout_s=300.0,  # A busy machine is no fault here.
            name="camera",
        )
        self.shutter = SimulatedShutter(name="shutter")
        self.stage = Stage(
            "mm", velocity=100.0, max_velocity=200.0, acceleration_time=0.005, name="stage"
        )
        self.rotation = SimulatedMotor(
            "deg", velocity=500.0, max_velocity=1440.0, acceleration_time=0.005, name="rotation"
        )


def described(run: Run) -> dict[str, int]:
    """Return how many frames of each stream the record states, by its lines themselves."""
    names: dict[str, str] = {}
    streams: dict[str, int] = {}
    for line in (run.directory / "documents.jsonl").read_bytes().splitlines():
        try:
            name, document = json.loads(line)
        except ValueError:
            continue  # It was being written.
        if name == "descriptor":
            names[document["uid"]] = document["name"]
        elif name == "stream_datum":
            stream = names[document["descriptor"]]
            streams[stream] = max(streams.get(stream, 0), document["indices"]["stop"])
    return {
        stream: frames
        for stream, frames in streams.items()
        if stream.partition("_from_")[0] in _KINDS and frames
    }


def check_frames(run: Run) -> dict[str, int]:
    """Compare every frame that the record states with what the camera showed; return how many of each stream."""
    stated = described(run)
    for stream, count in stated.items():
        frames = np.asarray(run.frames(stream).read())
        kind = stream.partition("_from_")[0]
        assert len(frames) == count, f"{stream}: {count} frames are stated, {len(frames)} read"
        assert np.array_equal(frames, truth(kind, np.arange(count))), f"{stream}: other pixels"
    run.close()
    return stated
