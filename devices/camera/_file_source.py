"""A camera that serves stored frames as if they were taken now."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from bluesky.protocols import Reading
from numpy.typing import NDArray
from ophyd_async.core import Array1D, SignalR, soft_signal_r_and_setter

from concertino import CameraError
from concertino.frames import FrameRequest
from concertino.storage import StoredFrames, open_images, open_scan

from ._camera import Camera
from ._camera_setting import CameraSetting, Region
from ._frame_shaping import shape_of, shaped, shaping_settings
from ._frame_source import CameraSettings, Grab

Roi = tuple[int, int, int, int]

#: Stored frames that are read at once to be given in another shape, in bytes.
_AT_ONCE_BYTES = 32 * 2**20


class FileSource:
    """Serves the frames of files, kind by kind.

    Parameters
    ----------
    images : dict of str to StoredFrames
        Stored frames for each kind of stream.
    loop : bool
        Begin again at the end instead of failing.
    name : str
        Name of the camera in messages.
    pixel_size_um : float
        Of a pixel in the plane of the sample, in um; 0 when unknown.

    Notes
    -----
    Its settings are ``region``, ``binning`` (the counts of the binned pixels are averaged), ``mirror`` and ``rotate``,
    of the stored frames.
    """

    first_number = 0

    def __init__(
        self,
        images: dict[str, StoredFrames],
        *,
        loop: bool = False,
        name: str = "camera",
        pixel_size_um: float = 0.0,
    ) -> None:
        first = next(iter(images.values()))
        for kind, sequence in images.items():
            if sequence.shape[1:] != first.shape[1:] or sequence.dtype != first.dtype:
                raise CameraError(
                    f"Camera {name} was given {kind} of shape {sequence.shape[1:]} and type "
                    f"{sequence.dtype}, but {next(iter(images))} of shape {first.shape[1:]} and type "
                    f"{first.dtype}; all kinds must have the same, so give one region of interest "
                    "for all."
                )
        self.images = images
        self._sensor = (int(first.shape[1]), int(first.shape[2]))
        self.shape = self._sensor
        self.dtype: np.dtype[Any] = np.dtype(first.dtype)
        self.pixel_size_um = self._sensor_pixel_um = pixel_size_um
        self._as_stored = True
        self._loop = loop
        self._name = name
        self._stopped = threading.Event()
        self._triggers = threading.Semaphore(0)

    def settings(self) -> tuple[CameraSetting, ...]:
        """Describe what can be set."""
        return shaping_settings(self._sensor)

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        """Choose the stored frames for a kind of stream.

        Raises
        ------
        CameraError
            If there are none of that kind, or fewer than asked.
        """
        images = self.images.get(request.kind)
        if images is None and len(self.images) == 1:
            images = next(iter(self.images.values()))
        if images is None:
            raise CameraError(
                f"Camera {self._name} was asked for {request.kind}; it has files for "
                f"{', '.join(self.images)} only."
            )
        asked = None if request.count is None else request.first + request.count
        if asked is not None and asked > len(images) and not self._loop:
            raise CameraError(
                f"Camera {self._name} was asked for {asked} frames of {request.kind}; its files "
                f"hold {len(images)}. Ask for fewer, or begin at an earlier start index."
            )
        if request.trigger == "edge":
            raise CameraError(
                f"Camera {self._name} was asked for external triggers; a file camera has no "
                "trigger input. Use 'internal' or 'software'."
            )
        self._images, self._request, self._settings = images, request, settings
        self.shape = shape_of(settings, self._sensor)
        self.pixel_size_um = self._sensor_pixel_um * settings.binning
        self._as_stored = (
            settings.region in (None, Region(0, 0, *self._sensor)) and settings.binning == 1
            and settings.mirror == "none" and not settings.rotate
        )  # fmt: skip

    def start(self) -> None:
        """Begin to serve frames, or to wait for triggers."""
        self._index = 0  # of the frame in this stream
        self._triggers = threading.Semaphore(0)
        self._stopped.clear()
        self._start_s = time.time()

    def trigger(self) -> None:
        """Serve one frame."""
        self._triggers.release()

    def stop(self) -> None:
        """Stop serving."""
        self._stopped.set()
        self._triggers.release()

    def grab(self, out: NDArray[Any]) -> Grab:
        """Read the frames that are due.

        Raises
        ------
        CameraError
            Past the last stored frame.
        StorageError
            If a file is damaged.
        """
        count = self._due(len(out))
        if self._stopped.is_set():
            return Grab(np.empty(0, np.int64), np.empty(0, np.int64))
        length = len(self._images)
        first = self._request.first + self._index
        if self._loop:
            first %= length
        if first >= length:
            raise CameraError(
                f"Camera {self._name} is past the end of its files: frame {first} of "
                f"{self._request.kind} was asked for, and they hold {length}. Ask for fewer frames, "
                "or begin at an earlier start index."
            )
        count = self._read(first, min(count, length - first), out)
        numbers = np.arange(self._index, self._index + count, dtype=np.int64)
        self._index += count
        return Grab(self._times_ns(numbers), numbers)

    def _read(self, first: int, count: int, out: NDArray[Any]) -> int:
        """Read frames as they are set; return how many."""
        if self._as_stored:
            self._images.read(first, first + count, out=out[:count])
            return count
        height, width = self._sensor
        count = min(count, max(1, _AT_ONCE_BYTES // (height * width * self.dtype.itemsize)))
        whole = np.empty((count, height, width), self.dtype)
        self._images.read(first, first + count, out=whole)
        out[:count] = shaped(whole, self._settings)
        return count

    def _times_ns(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return when the frames were due; at no rate, or by triggers, that is now."""
        rate = self._settings.frame_rate_hz
        if self._request.trigger == "software" or not rate:
            return np.full(len(numbers), time.time_ns(), np.int64)
        return np.asarray((self._start_s + (numbers + 0.5) / rate) * 1e9, np.int64)

    def _due(self, at_most: int) -> int:
        """Wait for the next frame and return how many may be served."""
        if self._request.trigger == "software":
            self._triggers.acquire()
            return 1
        rate = self._settings.frame_rate_hz
        if not rate:
            return at_most
        self._stopped.wait(max(0.0, self._start_s + (self._index + 1) / rate - time.time()))
        due = int((time.time() - self._start_s) * rate + 1e-6) - self._index
        return min(max(due, 1), at_most)


class FileCamera(Camera):
    """A camera that serves stored frames, and tells what their file tells of them.

    The angles that the file of a whole scan has are those of a run's projections, wherever the rotation
    stands meanwhile; its pixel size is the run's.

    Parameters
    ----------
    path : str or Path, optional
        A whole scan in one HDF5 file (Data Exchange or NXtomo): darks, flats, projections.
    darks, flats, projections : str or Path, optional
        Where each kind is: a directory or glob of TIFFs, a multi-page TIFF, or ``file.h5:/data/set``.
    start : int
        Index of the first projection that is served.
    roi : tuple of int, optional
        Region of interest (row, column, height, width) in pixels.
    frame_rate : float
        Frames per second; 0 for as fast as the files can be read.
    loop : bool
        Begin again at the end of the files instead of failing.
    stream_address : str
        As for `Camera`.
    name : str
        Name of the device.

    Raises
    ------
    StorageError, CameraError
        If there are no files, or they do not fit together.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        darks: str | Path | None = None,
        flats: str | Path | None = None,
        projections: str | Path | None = None,
        start: int = 0,
        roi: Roi | None = None,
        frame_rate: float = 0.0,
        loop: bool = False,
        stream_address: str = "tcp://127.0.0.1:0",
        name: str = "camera",
    ) -> None:
        images: dict[str, StoredFrames] = {}
        pixel_size_um, angles_deg = 0.0, np.empty(0)
        if path is not None:
            scan = open_scan(path, start=start, roi=roi)
            images = {"darks": scan.darks, "flats": scan.flats, "projections": scan.projections}
            pixel_size_um = scan.pixel_size_um or 0.0
            if scan.angles_deg is not None and projections is None:
                angles_deg = scan.angles_deg
        given = {"darks": darks, "flats": flats, "projections": projections}
        for kind, source in given.items():
            if source is not None:
                first = start if kind == "projections" else 0
                images[kind] = open_images(source, start=first, roi=roi)
        if not images:
            raise CameraError(
                f"Camera {name} was given no files; give path, or darks, flats and projections."
            )
        self.stored_angles, _ = soft_signal_r_and_setter(
            Array1D[np.float64], angles_deg, units="deg"
        )
        self._tells_angles = len(angles_deg) > 0
        super().__init__(
            FileSource(images, loop=loop, name=name, pixel_size_um=pixel_size_um),
            exposure=0.0,
            frame_rate=frame_rate,
            stream_address=stream_address,
            name=name,
        )

    async def read_settings(self) -> dict[str, Reading[Any]]:
        """Return what the frames depend on; not their angles."""
        settings = await super().read_settings()
        return {name: value for name, value in settings.items() if name != self.stored_angles.name}

    @property
    def _configuration(self) -> tuple[SignalR[Any], ...]:
        own = super()._configuration
        return (*own, self.stored_angles) if self._tells_angles else own
