"""Reconstructs slices while the projections of a run arrive."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino import DocumentError, FrameStreamError, ReconstructionError
from concertino.documents import TomoBlock
from concertino.frames import Subscription, subscribe
from concertino.reconstruction import (
    ReconstructionResult,
    ReconstructionSettings,
    Reconstructor,
)

from ._frame_callback import AnnouncedStream, FrameCallback
from ._processing_run import DocumentCallback, ProcessingRun, stored_processing_run

LOG = logging.getLogger(__name__)

Preview = Callable[[NDArray[np.float32]], None]


class _Job:
    """The reconstruction of one run."""

    def __init__(self, start: Mapping[str, Any], tomo: TomoBlock) -> None:
        self.start = start
        self.tomo = tomo
        self.angles = tomo.angles_rad()
        self.waiting_for = set(start.get("frames", tomo.image_kinds))
        self.reconstructor: Reconstructor | None = None
        self.result: ReconstructionResult | None = None
        self.run: ProcessingRun | None = None
        self.error: BaseException | None = None
        self.failed = False
        self.finishing = False
        self.done = threading.Event()
        self.lock = threading.Lock()


class OnlineReconstruction(FrameCallback):
    """Averages darks and flats as they come and reconstructs while projections arrive.

    When the last stream has ended, or the run has, what is there is reconstructed, and the slices
    become a run of their own that names the raw run, the settings and the software.

    Parameters
    ----------
    settings : ReconstructionSettings, optional
        Which slices, and how. The rotation axis is found by itself when they do not tell it.
    preview : callable, optional
        Is given the slices (slice, y, x), float32, reconstructed from what is there so far.
    preview_s : float
        Time between two previews, in seconds.
    directory : str or Path, optional
        Where the directories of the processing runs are made; beside the raw run's by default.
    callbacks : sequence of callable
        Take the documents of the processing runs, besides a recorder and an image writer.
    name : str
        Name as a subscriber.

    Examples
    --------
    >>> from concertino.callbacks import OnlineReconstruction
    >>> from concertino.reconstruction import ReconstructionSettings
    >>> reconstruction = OnlineReconstruction(ReconstructionSettings(slices=(100, 200)))
    """

    def __init__(
        self,
        settings: ReconstructionSettings | None = None,
        *,
        preview: Preview | None = None,
        preview_s: float = 1.0,
        directory: str | Path | None = None,
        callbacks: Sequence[DocumentCallback] = (),
        name: str = "reconstruction",
    ) -> None:
        super().__init__(name)
        self.settings = settings or ReconstructionSettings()
        self._preview = preview
        self._preview_s = preview_s
        self._directory = None if directory is None else Path(directory)
        self._callbacks = list(callbacks)
        self._job: _Job | None = None
        self._jobs: dict[str, _Job] = {}

    def add_callback(self, callback: DocumentCallback) -> None:
        """Give the documents of the processing runs to one more callback."""
        self._callbacks.append(callback)

    @property
    def busy(self) -> bool:
        """Whether a run is still being reconstructed."""
        return self._job is not None and not self._job.done.is_set()

    @property
    def result(self) -> ReconstructionResult | None:
        """The last run's result, or None while it is not there."""
        return None if self._job is None else self._job.result

    @property
    def run_directory(self) -> Path | None:
        """Directory of the last processing run."""
        job = self._job
        return None if job is None or job.run is None else job.run.directory

    def wait(self, timeout_s: float | None = None) -> ReconstructionResult:
        """Wait for the reconstruction of the last run.

        Parameters
        ----------
        timeout_s : float, optional
            How long, in seconds; as long as it takes by default.

        Returns
        -------
        ReconstructionResult
            Slices, axis, and what was missing.

        Raises
        ------
        ReconstructionError
            If there was no run to reconstruct, or it took too long.
        ConcertinoError
            What made the reconstruction fail.
        """
        job = self._job
        if job is None:
            raise ReconstructionError(
                "There is no reconstruction to wait for: no tomography run has started since "
                "OnlineReconstruction was subscribed."
            )
        if not job.done.wait(timeout_s):
            raise ReconstructionError(
                f"The reconstruction of run {job.start['uid']} did not finish within {timeout_s:g} s."
            )
        if job.error is not None:
            raise job.error
        assert job.result is not None
        return job.result

    def run_started(self, start: Mapping[str, Any]) -> None:
        """Begin a job for a tomography run; other runs are left alone."""
        try:
            tomo = TomoBlock.from_start(start)
            if tomo.scheme == "spiral":
                raise DocumentError(
                    "in a spiral each slice has projections of its own; see level_spiral"
                )
            job = _Job(start, tomo)
        except DocumentError as error:
            LOG.info("run %s is not reconstructed: %s", start["uid"], error)
            return
        self._jobs[start["uid"]] = self._job = job

    def stream_started(self, stream: AnnouncedStream) -> None:
        """Subscribe to streams of known kind of a run that is reconstructed."""
        job = self._jobs.get(stream.start["uid"])
        if job is not None and stream.name in job.tomo.image_kinds:
            super().stream_started(stream)

    def subscribe(self, stream: AnnouncedStream) -> Subscription:
        """Subscribe to a stream, every frame."""
        job = self._jobs[stream.start["uid"]]
        if job.reconstructor is None:
            job.reconstructor = self._reconstructor(job, stream)
        return subscribe(stream.address, name=self.name)

    def take(self, stream: AnnouncedStream, subscription: Subscription) -> None:
        """Add the frames to the job; the last stream's end finishes it."""
        job = self._jobs[stream.start["uid"]]
        reconstructor = job.reconstructor
        assert reconstructor is not None
        kind = job.tomo.image_kinds[stream.name]
        shown_s = time.monotonic()
        try:
            for batch in subscription:
                if kind == "dark":
                    reconstructor.add_darks(batch.frames)
                elif kind == "flat":
                    reconstructor.add_flats(batch.frames)
                else:
                    reconstructor.add_projections(batch.frames, batch.start)
                subscription.acknowledge(batch.stop)
                due = time.monotonic() - shown_s > self._preview_s
                if self._preview is not None and kind == "projection" and due:
                    self._show(reconstructor, subscription)
                    shown_s = time.monotonic()
        except FrameStreamError:
            raise  # Not ours: what came until now is reconstructed when the run stops.
        except Exception:
            job.failed = True
            raise
        subscription.finish()
        with job.lock:
            job.waiting_for.discard(stream.name)
            last = not job.waiting_for
        if last:
            self._finish_in_thread(job)

    def run_stopped(self, start: Mapping[str, Any], stop: Mapping[str, Any]) -> None:
        """Finish with what is there, when the run did not get to its last stream."""
        job = self._jobs.pop(start["uid"], None)
        if job is not None:
            self._finish_in_thread(job)

    def _reconstructor(self, job: _Job, stream: AnnouncedStream) -> Reconstructor:
        settings = self.settings
        if settings.center is None and job.tomo.rotation_axis_px is not None:
            settings = settings.model_copy(update={"center": job.tomo.rotation_axis_px})
        return Reconstructor(
            settings,
            num_projections=job.tomo.num_projections,
            frame_shape=stream.shape,
            angles=job.angles,
        )

    def _show(self, reconstructor: Reconstructor, subscription: Subscription) -> None:
        assert self._preview is not None
        try:
            self._preview(reconstructor.slices())
        except ReconstructionError as error:
            LOG.debug("no preview yet: %s", error)
        subscription.alive()

    def _finish_in_thread(self, job: _Job) -> None:
        with job.lock:
            if job.finishing:
                return
            job.finishing = True
        threading.Thread(
            target=self._finish, args=(job,), name=f"{self.name} finish", daemon=True
        ).start()

    def _finish(self, job: _Job) -> None:
        try:
            if job.reconstructor is None or job.failed or not job.reconstructor.received:
                raise ReconstructionError(
                    f"Run {job.start['uid']} cannot be reconstructed: "
                    + (
                        "the reconstruction failed while it ran."
                        if job.failed
                        else "it gave no projections."
                    )
                )
            job.result = job.reconstructor.finish()
            if self._preview is not None:
                self._preview(job.result.volume)
            self._publish(job, job.result)
        except BaseException as error:
            job.error = error
            LOG.warning("%s of run %s: %s", self.name, job.start["uid"], error)
        finally:
            job.reconstructor = None
            job.done.set()

    def _publish(self, job: _Job, result: ReconstructionResult) -> None:
        with stored_processing_run(
            job.start,
            "reconstruction",
            result.settings.model_dump(mode="json") | {"center": result.center_px},
            name=self.name,
            directory=self._directory,
            callbacks=self._callbacks,
        ) as run:
            if run is None:
                return
            job.run = run
            run.publish(
                result.volume,
                stream="slices",
                data_key="slices",
                configuration={
                    "center": float(result.center_px),
                    "center_confidence": float(result.confidence),
                    "missing_projections": len(result.missing),
                },
            )
