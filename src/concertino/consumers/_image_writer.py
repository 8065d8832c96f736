"""Stores the frames of a run."""

import time
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from concertino import ParameterError, StorageError
from concertino.documents import announced_bytes, device_configuration
from concertino.frames import Claim, FrameBatch, Subscription, subscribe
from concertino.storage import (
    ImageAxes,
    ImageAxis,
    ImageSink,
    check_image_format,
    check_space,
    open_sink,
    place_in,
)

from ._frame_callback import AnnouncedStream, FrameCallback

_SYNC_BYTES = 64 * 2**20
_SYNC_S = 0.5
_SIGN_S = 0.2


@dataclass(frozen=True)
class StoredStreamFrames:
    """What a writer stored of one stream.

    Parameters
    ----------
    stream : AnnouncedStream
        The stream.
    claim : Claim
        Where its frames are.
    frames : int
        So many are there, from the first.
    """

    stream: AnnouncedStream
    claim: Claim
    frames: int


class ImageWriter(FrameCallback):
    """Writes every frame into the run's directory, and says in the run where they are.

    Frames that their detector writes to files of its own are stored: it leaves them alone, but in a replay.

    Parameters
    ----------
    format : {"tiff", "hdf5", "zarr"}
        How; see `concertino.storage.open_sink`. TIFF is the fastest for large frames.
    bytes_per_file : int
        Of TIFF. 0: one image a file, ``projections/frame_000000.tif``. Otherwise multi-page files that roll
        over at that size in bytes; BigTIFF when they can exceed 4 GiB.
    durability : {"written", "synced"}
        When a frame counts as safe. ``written``: when the operating system has it, so that it
        survives the death of any process; all are synced to disk before the stream ends. ``synced``:
        only when it is on the disk.
    directory : str or Path, optional
        Where to write instead of the run's directory; a folder for each run is made there.
    streams : collection of str, optional
        Streams to store; all by default.
    name : str
        Name as a subscriber.
    necessary : bool
        False for a copy: a run goes on without it, and `error` tells why.

    Examples
    --------
    >>> from concertino.callbacks import ImageWriter
    >>> writer = ImageWriter(bytes_per_file=2**30, durability="synced")
    """

    def __init__(
        self,
        *,
        format: str = "tiff",
        bytes_per_file: int = 0,
        durability: str = "written",
        directory: str | Path | None = None,
        streams: tuple[str, ...] | None = None,
        name: str = "writer",
        necessary: bool = True,
    ) -> None:
        if durability not in ("written", "synced"):
            raise ParameterError(
                f"durability: {durability!r} was given; give 'written' or 'synced'."
            )
        if bytes_per_file < 0:
            raise ParameterError(
                f"bytes_per_file: {bytes_per_file} was given; give 0 for one image a file, or the "
                "size of a multi-page file in bytes."
            )
        check_image_format(format)
        if bytes_per_file and format != "tiff":
            raise ParameterError(
                f"bytes_per_file: {bytes_per_file} was given with format {format!r}, which has one way "
                "of its own; leave it out, or give format='tiff'."
            )
        super().__init__(name, streams, necessary=necessary)
        self.format = format
        self.bytes_per_file = bytes_per_file
        self.durability = durability
        self._directory = None if directory is None else Path(directory)
        self._sinks: dict[str, ImageSink] = {}
        self._claimed: list[tuple[AnnouncedStream, Claim, ImageSink]] = []

    stores_frames = True

    @property
    def stored(self) -> tuple[StoredStreamFrames, ...]:
        """What was stored of each stream of the last run until now."""
        return tuple(
            StoredStreamFrames(stream, claim, sink.stored) for stream, claim, sink in self._claimed
        )

    def run_started(self, start: Mapping[str, Any]) -> None:
        """Refuse a run whose frames do not fit on the disk."""
        self._claimed.clear()
        check_space(self.run_directory(start), announced_bytes(start, self.wants))

    def run_directory(self, start: Mapping[str, Any]) -> Path:
        """Return where the frames of a run go.

        Raises
        ------
        StorageError
            If neither the run nor this writer names a directory, or the scan's name would lead out of
            this writer's.
        """
        if self._directory is not None:
            scan = str(start.get("scan_name", start["uid"]))
            return place_in(self._directory, scan, what="scan name")
        if "run_directory" not in start:
            raise StorageError(
                f"Run {start['uid']} has no directory to write its frames to. Use the RunEngine of "
                "concertino.session.open_session, or give ImageWriter a directory."
            )
        return Path(start["run_directory"])

    def stream_started(self, stream: AnnouncedStream) -> None:
        """Store a stream that starts, unless its detector does."""
        if not stream.own_files:
            super().stream_started(stream)

    def subscribe(self, stream: AnnouncedStream) -> Subscription:
        """Make the stream's directory and claim the stream."""
        axes = image_axes(stream)
        sink = open_sink(
            place_in(self.run_directory(stream.start), stream.name, what="stream name"),
            shape=stream.shape,
            dtype=stream.dtype,
            format=self.format,
            bytes_per_file=self.bytes_per_file,
            num_frames=stream.start.get("frames", {}).get(stream.name),
            metadata=_image_metadata(stream, axes),
            axes=axes,
        )
        where = sink.claim_parameters()
        claim = Claim(
            where["uri"],
            where["mimetype"],
            where["parameters"],
            "synced" if self.durability == "synced" else "written",
        )
        try:
            subscription = subscribe(
                stream.address, name=self.name, claim=claim, necessary=self.necessary
            )
        except BaseException:
            sink.close()  # nothing will be written
            raise
        self._sinks[stream.address] = sink
        self._claimed.append((stream, claim, sink))
        return subscription

    def take(self, stream: AnnouncedStream, subscription: Subscription) -> None:
        """Write the frames; acknowledge them when they are as safe as the claim says."""
        sink = self._sinks.pop(stream.address)
        at_once = max(1, _SYNC_BYTES // (stream.shape[0] * stream.shape[1] * stream.dtype.itemsize))
        try:
            with ThreadPoolExecutor(1, f"{self.name} sync") as syncer:
                if self.durability == "synced":
                    self._take_synced(sink, subscription, at_once, syncer)
                else:
                    for batch in subscription:
                        try:
                            _write(sink, batch)
                        finally:
                            # Also when a frame fails: those before it are stored.
                            subscription.acknowledge(sink.stored)
                    _sync(sink, subscription, syncer)
        finally:
            sink.close()

    def _take_synced(
        self, sink: ImageSink, subscription: Subscription, at_once: int, syncer: Executor
    ) -> None:
        synced_s = time.monotonic()
        synced = 0
        while True:
            try:
                # Nothing waiting is the moment to sync: whoever waits for it waits least then.
                batch = subscription.read(
                    at_once, timeout_s=0.001 if sink.stored > synced else None
                )
            except TimeoutError:
                batch_pending = False
            else:
                if batch is None:
                    break
                _write(sink, batch)
                batch_pending = (
                    sink.stored - synced < at_once and time.monotonic() - synced_s < _SYNC_S
                )
            if not batch_pending:
                _sync(sink, subscription, syncer)
                synced, synced_s = sink.stored, time.monotonic()
                subscription.acknowledge(synced)
        _sync(sink, subscription, syncer)
        subscription.acknowledge(sink.stored)


def _write(sink: ImageSink, batch: FrameBatch) -> None:
    sink.write(batch.frames, batch.start, batch.checksums, batch.timestamps, batch.numbers)


def _sync(sink: ImageSink, subscription: Subscription, syncer: Executor) -> None:
    """Sync to disk, which may take minutes, and show signs of life meanwhile."""
    syncing = syncer.submit(sink.sync)
    while wait([syncing], _SIGN_S).not_done:
        subscription.alive()
    syncing.result()


def image_axes(stream: AnnouncedStream) -> ImageAxes:
    """Return what the axes of a stream's frames mean, as its descriptor tells."""
    known = device_configuration(stream.descriptor, stream.data_key)
    pixel_um = known.get("pixel_size")
    axes = ImageAxes.of_frames({"pixel_size_um": pixel_um})
    if "axis" not in known:
        return axes
    images = ImageAxis.at(known["axis"], known["axis_unit"], np.array(known["axis_values"]))
    rows, columns = (ImageAxis(name, known["pixel_unit"], *known[name]) for name in ("y", "x"))
    return ImageAxes(images, rows, columns)


def _image_metadata(stream: AnnouncedStream, axes: ImageAxes) -> dict[str, Any]:
    told = device_configuration(stream.descriptor, stream.data_key)
    square = axes.columns.unit == "um" and axes.columns.step == axes.rows.step
    known = {
        "run": stream.start["uid"],
        "scan": stream.start.get("scan_name"),
        "stream": stream.name,
        "camera": stream.data_key,
        "pixel_size_um": axes.columns.step if square else None,
        "value_unit": told.get("value_unit") or None,
        "detector_pixel_um": told.get("detector_pixel_um"),
        "exposure_s": told.get("exposure"),
        "sample": stream.start.get("sample"),
    }
    return {key: value for key, value in known.items() if value is not None}
