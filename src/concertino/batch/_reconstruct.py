"""A stored run, reconstructed: whole, in parts that fit into memory, or on a cluster."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from concertino.processing._processing_run import stored_processing_run
from concertino.processing._scan_frames import READ_BYTES, ScanFrames
from concertino.processing._slices import (
    slice_rows,
    slices_configuration,
    volumes_of,
    without_slices,
)
from concertino.reconstruction import (
    AxisEstimate,
    ReconstructionResult,
    ReconstructionSettings,
)
from concertino.runtime._kept_memory import kept_memory
from concertino.storage import Run, check_image_format

from ._dask_parts import Cluster, cluster
from ._memory import batch_memory, with_memory
from ._parts import (
    Progress,
    Rows,
    axis_of,
    counter,
    made_of,
    of_part,
    parts_of,
    reconstruct_part,
)
from ._shared_slices import SharedSlices

LOG = logging.getLogger("concertino.batch")

# What a worker does that is started for the reconstruction, before it is ready.
_MAKE_READY = "from concertino.batch._parts import make_ready; make_ready({!r})"
_PARTS_EACH = 4  # of a worker
# Of the projections' rows in one of these, about half a second: each begins with a tenth.
_LEAST_PIXELS = 2**25
_WORKER_MEMORY = 0.5  # of a worker's limit; from 0.6 on dask moves its results to disk


@dataclass(frozen=True)
class BatchReconstruction:
    """What `reconstruct_run` made.

    Attributes
    ----------
    directory
        Of the processing run, with the slices in ``slices/``.
    rows
        Detector rows, one a slice.
    center_px
        Column of the rotation axis in px.
    confidence
        0 to 1: how sure the axis is; 1 when it was given.
    missing
        Frame indices of projections that the run has not.
    parts
        In how many parts it was done, because of the memory or the cluster.
    duration_s
        How long it took, in s, when the workers of a cluster were ready.
    workers
        How many threads of a cluster's workers there were; 0: it was done in this process.
    start_s
        How long it took until these were ready, in s.
    """

    directory: Path
    rows: tuple[float, ...]
    center_px: float
    confidence: float
    missing: tuple[int, ...]
    parts: int
    duration_s: float
    workers: int = 0
    start_s: float = 0.0


def reconstruct_run(
    run: Run,
    settings: ReconstructionSettings | None = None,
    *,
    output: str = "tiff",
    directory: str | Path | None = None,
    progress: Progress | None = None,
    scheduler: Any = None,
    camera: str | None = None,
    tomogram: int | None = None,
) -> BatchReconstruction:
    """Reconstruct a stored run into a processing run of its own.

    What does not fit into the memory that the settings allow is done in parts of some slices each, which
    read their rows of the stored frames; each frame is read whole and verified once: by the search for the
    axis, by the first part, or by the first of each worker. The limit is for the whole process: what it
    holds when the reconstruction begins, with code and libraries, counts for up to three quarters of it.
    Settings and frames being the same, so are the slices that were reconstructed live, bit for bit; also those from
    parts and from a cluster.

    Parameters
    ----------
    run
        A tomography run, see `open_run`; also one that broke off.
    settings
        Which slices, and how; all rows by default.
    output
        Format of the slices: ``"tiff"``, ``"hdf5"`` or ``"zarr"``; see `concertino.storage.open_sink`.
    directory
        Where the processing run's directory is made; beside the run's by default.
    progress
        Called with frames done and frames to do in all, in the calling thread. A frame counts half when it is read;
        the other halves follow while the slices are computed.
    scheduler
        Have the parts made by a dask cluster: ``"local"`` for a worker process on each core, the address of a
        scheduler, or a ``distributed.Client``. Its workers must reach the run's directory by the same
        path, and a part goes to another worker when its own dies. The settings' ``memory_gib`` is then
        meant for each part, of which a worker does one a thread; by default it is half of the worker's
        memory limit. No more than two parts a thread wait for being stored.
    camera
        Name of the camera whose frames are reconstructed; the first of the run's by default.
    tomogram
        Which tomogram of a time series, counted from 0; by default one is made of all projections,
        which shows what has not changed meanwhile.

    Returns
    -------
    BatchReconstruction
        Where the slices are, and how they came about.

    Raises
    ------
    DocumentError
        If it is no tomography run.
    ParameterError
        If the settings do not fit the run, or there is no such format or scheduler.
    ReconstructionError
        If its frames do not suffice, not even one slice fits into memory, or the cluster fails.
    StorageError
        If frames are damaged, or the slices cannot be written.
    """
    check_image_format(output, "output")
    scan = ScanFrames(run, camera, tomogram=tomogram)
    settings = scan.with_known_axis(settings or ReconstructionSettings())
    with contextlib.ExitStack() as stack:
        stack.enter_context(kept_memory())  # from part to part
        called_s = time.monotonic()
        on = None if scheduler is None else stack.enter_context(_workers(scheduler, scan))
        began_s = called_s if on is None else time.monotonic()
        job = _Job(scan, settings, on, progress)
        first = next(job.results)
        volumes = volumes_of(first, job.results)
        first = without_slices(first)
        axis = job.axis or AxisEstimate(first.center_px, first.confidence, "found")
        processing = stack.enter_context(
            stored_processing_run(
                {**run.start, "run_directory": str(run.directory)},
                "reconstruction",
                settings.model_dump(mode="json")
                | {"center": axis.center_px, "camera": scan.tomo.camera, "tomogram": tomogram},
                name="reconstruction" if tomogram is None else f"tomogram_{tomogram:04d}",
                output=output,
                directory=None if directory is None else Path(directory),
                backend={"name": first.backend, "reason": first.backend_reason},
            )
        )
        assert processing is not None
        assert processing.directory is not None
        processing.publish_parts(
            volumes,
            first.volume.shape[1:],
            first.volume.dtype,
            stream="slices",
            data_key="slices",
            configuration=slices_configuration(first, axis, scan.tomo, job.rows),
            ring_bytes=job.memory.ring,
        )
        return BatchReconstruction(
            processing.directory,
            job.rows,
            axis.center_px,
            axis.confidence,
            first.missing,
            job.parts,
            time.monotonic() - began_s,
            job.workers,
            began_s - called_s,
        )


@contextlib.contextmanager
def _workers(scheduler: Any, scan: ScanFrames) -> Iterator[Cluster]:
    """Have the workers of a cluster, and say how long it took until they were ready."""
    called_s = time.monotonic()
    with cluster(scheduler, preload=_MAKE_READY.format(scan.dtype.str)) as on:
        LOG.info("%d workers, ready in %.1f s", on.workers, time.monotonic() - called_s)
        yield on


class _Job:
    """The parts of a reconstruction, one after the other."""

    def __init__(
        self,
        scan: ScanFrames,
        settings: ReconstructionSettings,
        on: Cluster | None,
        progress: Progress | None,
    ) -> None:
        if on is not None:
            settings = _on_workers(settings, on)
        self.memory = batch_memory(
            settings, READ_BYTES, 4 * scan.frame_shape[1] ** 2, scan.dtype if on is None else None
        )
        room = self.memory.part
        self.workers = 0 if on is None else on.workers
        parts = _parts(scan, settings, room, self.workers)
        search = settings.center is None and len(parts) > 1
        step = counter(progress, (len(parts) + search) * scan.num_frames)
        self.parts = len(parts)
        self.rows = tuple(row for part in parts for row in part)
        self.axis: AxisEstimate | None = None
        if search:
            self.axis = axis_of(scan, settings, step)
            settings = settings.updated(center=self.axis.center_px)
        settings = with_memory(settings, room)
        # Frames are read whole once, and compared with their checksums: by the search, or by the first parts.
        shares = max(1, min(self.workers, len(parts)))
        work = [
            (of_part(settings, part), (number + search * shares, shares))
            for number, part in enumerate(parts)
        ]
        self.results = (
            (made_of(scan, *one, step) for one in work)
            if on is None
            else _there(on, scan, work, step)
        )


def _parts(
    scan: ScanFrames, settings: ReconstructionSettings, room: int, workers: int
) -> list[Rows]:
    """Divide the rows: for workers into some parts for each, so that slices are stored while others are made."""
    if not workers:
        return parts_of(scan, settings, room)
    each = 1
    if not settings.general:  # there each part reads all rows
        rows = len(slice_rows(settings, scan.frame_shape[0]))
        pixels = rows * scan.num_projections * scan.frame_shape[1]
        each = max(1, min(_PARTS_EACH, pixels // (workers * _LEAST_PIXELS)))
    parts = parts_of(scan, settings, room, workers * each)
    more = -len(parts) % workers
    return parts_of(scan, settings, room, len(parts) + more) if more else parts


def _on_workers(settings: ReconstructionSettings, on: Cluster) -> ReconstructionSettings:
    limit = on.memory_bytes
    if settings.memory_gib is None and limit is not None:
        settings = settings.updated(memory_gib=_WORKER_MEMORY * limit / 2**30)
    # A worker's threads each have a part of their own.
    return settings if settings.threads is not None else settings.updated(threads=1)


def _there(
    on: Cluster,
    scan: ScanFrames,
    work: list[tuple[ReconstructionSettings, tuple[int, int]]],
    step: Callable[[int], Any],
) -> Iterator[ReconstructionResult]:
    directory = str(scan.run.directory.absolute())
    camera = scan.tomo.camera
    height, width = scan.reconstructor(work[0][0]).slice_shape
    counts = [len(slice_rows(settings, scan.frame_shape[0])) for settings, _ in work]
    shared = SharedSlices([(count, height, width) for count in counts])
    tasks = [
        (
            directory, settings.model_dump_json(), camera, scan.tomogram, share,
            shared.place(number),
        )
        for number, (settings, share) in enumerate(work)
    ]  # fmt: skip
    made = on.in_order(reconstruct_part, tasks, scan.num_frames, step)
    for number, (result, is_shared) in enumerate(made):
        yield replace(result, volume=shared.slices(number)) if is_shared else result
        shared.forget(number)
