"""Stores the frames of a run."""

import time
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from concertino import ParameterError, StorageError
from concertino.frames import Claim, FrameBatch, Subscription, subscribe
from concertino.storage import ImageSink, check_space, open_sink

from ._frame_callback import AnnouncedStream, FrameCallback

_SYNC_BYTES = 64 * 2**20
_SYNC_S = 0.5
_SIGN_S = 0.2


class ImageWriter(FrameCallback):
    """Writes every frame as TIFF into the run's directory, and says in the run where they are.

    Parameters
    ----------
    bytes_per_file : int
        0: one image a file, ``projections/frame_000000.tif``. Otherwise multi-page files that roll
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

    Examples
    --------
    >>> from concertino.callbacks import ImageWriter
    >>> writer = ImageWriter(bytes_per_file=2**30, durability="synced")
    """

    def __init__(
        self,
        *,
        bytes_per_file: int = 0,
        durability: str = "written",
        directory: str | Path | None = None,
        streams: tuple[str, ...] | None = None,
        name: str = "writer",
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
        super().__init__(name, streams)
        self.bytes_per_file = bytes_per_file
        self.durability = durability
        self._directory = None if directory is None else Path(directory)
        self._sinks: dict[str, ImageSink] = {}

    def run_started(self, start: Mapping[str, Any]) -> None:
        """Refuse a run whose frames do not fit on the disk."""
        announced = start.get("frames", {})
        frames = sum(
            count
            for stream, count in announced.items()
            if self._streams is None or stream in self._streams
        )
        check_space(self.run_directory(start), frames * start.get("frame_bytes", 0))

    def run_directory(self, start: Mapping[str, Any]) -> Path:
        """Return where the frames of a run go.

        Raises
        ------
        StorageError
            If neither the run nor this writer names a directory.
        """
        if self._directory is not None:
            return self._directory / str(start.get("scan_name", start["uid"]))
        if "run_directory" not in start:
            raise StorageError(
                f"Run {start['uid']} has no directory to write its frames to. Use the RunEngine of "
                "concertino.session.open_session, or give ImageWriter a directory."
            )
        return Path(start["run_directory"])

    def subscribe(self, stream: AnnouncedStream) -> Subscription:
        """Make the stream's directory and claim the stream."""
        sink = open_sink(
            self.run_directory(stream.start) / stream.name,
            shape=stream.shape,
            dtype=stream.dtype,
            bytes_per_file=self.bytes_per_file,
            num_frames=stream.start.get("frames", {}).get(stream.name),
            metadata=_image_metadata(stream),
        )
        where = sink.claim_parameters()
        claim = Claim(
            where["uri"],
            where["mimetype"],
            where["parameters"],
            "synced" if self.durability == "synced" else "written",
        )
        self._sinks[stream.address] = sink
        return subscribe(stream.address, name=self.name, claim=claim)

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


def _image_metadata(stream: AnnouncedStream) -> dict[str, Any]:
    configuration = stream.descriptor["configuration"].get(stream.data_key, {}).get("data", {})
    known = {
        "run": stream.start["uid"],
        "scan": stream.start.get("scan_name"),
        "stream": stream.name,
        "camera": stream.data_key,
        "pixel_size_um": configuration.get(f"{stream.data_key}-pixel_size") or None,
        "exposure_s": configuration.get(f"{stream.data_key}-exposure"),
        "sample": stream.start.get("sample"),
    }
    return {key: value for key, value in known.items() if value is not None}
