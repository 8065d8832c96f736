"""Images of a grating interferometer while the grating steps."""

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino import DocumentError, FrameStreamError, ReconstructionError
from concertino.documents import (
    OBJECT_STEPPING,
    REFERENCE_STEPPING,
    DocumentCallback,
    GratingBlock,
    TomoBlock,
)
from concertino.frames import Subscription, subscribe
from concertino.reconstruction import Contrasts, Fringes, PhaseStepping, grating_contrasts

from ._consumer import failed_job
from ._frame_callback import AnnouncedStream, FrameCallback
from ._frames_due import FramesDue
from ._measured_angles import FramePlaces
from ._processing_run import ProcessingRun, stored_processing_run

LOG = logging.getLogger(__name__)

Images = Mapping[str, NDArray[np.float32]]


class _Job:
    """The phase stepping of one run."""

    def __init__(self, start: Mapping[str, Any], block: GratingBlock) -> None:
        self.start = start
        self.block = block
        self.lock = threading.Lock()
        self.dark_sum: NDArray[np.float64] | None = None
        self.darks = 0
        self.tomo = TomoBlock.from_start(start).for_camera()
        self.due = FramesDue(start, self.tomo)
        self.steppings = {
            stream: PhaseStepping(block.num_periods, block.num_steps)
            for stream in (REFERENCE_STEPPING, OBJECT_STEPPING)
        }
        self.contrasts: Contrasts | None = None
        self.directory: Path | None = None
        self.error: BaseException | None = None
        self.failure: BaseException | None = None
        self.finishing = False
        self.done = threading.Event()

    def fringes(self, stream: str) -> Fringes:
        dark = None if self.dark_sum is None else self.dark_sum / self.darks
        return self.steppings[stream].fringes(dark)

    def begin_anew(self, base: str) -> None:
        """Forget the frames of a stream: it is taken again from its first frame on."""
        if base in self.steppings:
            self.steppings[base] = PhaseStepping(self.block.num_periods, self.block.num_steps)
        else:
            self.dark_sum, self.darks = None, 0


class GratingContrasts(FrameCallback):
    """Makes intensity, dark-field and differential phase images of a `grating_stepping` run.

    Darks are averaged and steps summed up as they come; the images are there when the last step is.
    They become a run of their own that names the raw run; each is a stream of it: ``intensity``,
    ``dark_field``, ``differential_phase`` and, when the propagation distance is known,
    ``refraction_angle`` (both in rad). Its sign follows from which grating was stepped, and which way,
    as the run tells.

    When the stepping without the sample is complete, a processing run ``grating_preview`` shows its images
    ``reference`` and ``visibility`` to `callbacks`; it is not stored.

    Parameters
    ----------
    directory : str or Path, optional
        Where the directories of the processing runs are made; beside the raw run's by default.
    callbacks : sequence of callable
        Take the documents of the processing runs, besides a recorder and an image writer, such as a `LiveView`.
    name : str
        Name as a subscriber.
    necessary : bool
        Whether a run fails with it; otherwise it goes on without it, and `error` tells why.

    Examples
    --------
    >>> from concertino.callbacks import GratingContrasts
    >>> contrasts = GratingContrasts()
    """

    def __init__(
        self,
        *,
        directory: str | Path | None = None,
        callbacks: Sequence[DocumentCallback] = (),
        name: str = "grating",
        necessary: bool = False,
    ) -> None:
        super().__init__(name, necessary=necessary)
        self._directory = None if directory is None else Path(directory)
        self._callbacks = list(callbacks)
        self._job: _Job | None = None
        self._jobs: dict[str, _Job] = {}

    @property
    def run_directory(self) -> Path | None:
        """Directory of the last processing run."""
        return None if self._job is None else self._job.directory

    def wait(self, timeout_s: float | None = None) -> Contrasts:
        """Wait for the images of the last run.

        Parameters
        ----------
        timeout_s : float, optional
            How long, in seconds; as long as it takes by default.

        Returns
        -------
        Contrasts
            The images.

        Raises
        ------
        ReconstructionError
            If there was no such run, it took too long, or steps are missing.
        ConcertinoError
            What made it fail.
        """
        job = self._job
        if job is None:
            raise ReconstructionError(
                "There is no phase stepping to wait for: no run with a grating block came."
            )
        if not job.done.wait(timeout_s):
            raise ReconstructionError(
                f"The contrasts of run {job.start['uid']} are not there after {timeout_s:g} s."
            )
        if job.error is not None:
            raise job.error
        assert job.contrasts is not None
        return job.contrasts

    def run_started(self, start: Mapping[str, Any]) -> None:
        """Begin a job for a run of phase stepping; other runs are left alone."""
        if "grating" not in start:
            return
        try:
            job = _Job(start, GratingBlock.from_start(start))
        except DocumentError as error:
            LOG.warning("run %s: %s", start["uid"], error)
            return
        self._jobs[start["uid"]] = self._job = job

    def stream_started(self, stream: AnnouncedStream) -> None:
        """Subscribe to the streams of a run of phase stepping."""
        job = self._jobs.get(stream.start["uid"])
        if job is None:
            return
        base = job.tomo.segment(stream.name).base
        if base == "darks" or base in job.steppings:
            super().stream_started(stream)

    def subscribe(self, stream: AnnouncedStream) -> Subscription:
        """Subscribe to a stream, every frame."""
        job = self._jobs[stream.start["uid"]]
        with job.lock:
            job.due.expect(stream.name)
        return subscribe(stream.address, name=self.name, necessary=self.necessary)

    def take(self, stream: AnnouncedStream, subscription: Subscription) -> None:
        """Add up the frames; the last stream's end finishes the job."""
        job = self._jobs[stream.start["uid"]]
        try:
            self._add(job, stream, subscription)
        except Exception as error:
            if subscription.given_up or not isinstance(error, FrameStreamError):
                job.failure = job.failure or error
            raise
        subscription.finish()
        with job.lock:
            job.due.ended(stream.name)
            last = job.due.nothing
        if last:
            self._finish_in_thread(job)

    def _add(self, job: _Job, stream: AnnouncedStream, subscription: Subscription) -> None:
        segment = job.tomo.segment(stream.name)
        if not segment.first:
            job.begin_anew(segment.base)
        # By the camera's numbers: of a frame that it lost the step is missing, and not the last.
        places = FramePlaces(stream.descriptor, stream.data_key, segment.first, job.block.num_steps)
        for batch in subscription:
            if segment.base == "darks":
                added = batch.frames.sum(axis=0, dtype=np.float64)
                job.dark_sum = added if job.dark_sum is None else job.dark_sum + added
                job.darks += len(batch)
            else:
                for part, step in places.of(batch):
                    for offset, frame in enumerate(batch.frames[part]):
                        job.steppings[segment.base].add(frame, step + offset)
            job.due.came(stream.name, batch.start, batch.stop)
            subscription.acknowledge(batch.stop)
        complete = segment.base in job.steppings and not job.steppings[segment.base].missing
        if segment.base == REFERENCE_STEPPING and complete and self._callbacks:
            # Who looks takes time, and the next stream comes at once.
            threading.Thread(
                target=self._show_reference,
                args=(job, job.fringes(segment.base)),
                name=f"{self.name} preview",
                daemon=True,
            ).start()

    def run_stopped(self, start: Mapping[str, Any], stop: Mapping[str, Any]) -> None:
        """Finish with what is there, when the run did not get to its last stream."""
        job = self._jobs.pop(start["uid"], None)
        if job is not None:
            self._finish_in_thread(job)

    def detached(self, error: BaseException) -> None:
        """Finish the jobs of the runs that go on without this: with the reason."""
        super().detached(error)
        for uid in list(self._jobs):
            job = self._jobs.pop(uid)
            job.failure = job.failure or error
            self._finish_in_thread(job)

    def given_up(self, stream: str, error: FrameStreamError) -> None:
        """Note that frames were not taken: `wait` raises why."""
        super().given_up(stream, error)
        for job in self._jobs.values():
            job.failure = job.failure or error

    def _finish_in_thread(self, job: _Job) -> None:
        with job.lock:
            if job.finishing:
                return
            job.finishing = True
        threading.Thread(
            target=self._finish, args=(job,), name=f"{self.name} finish", daemon=True
        ).start()

    def _finish(self, job: _Job) -> None:
        if not job.darks:
            LOG.warning(
                "%s of run %s: there are no darks, so the camera's offset counts as light: transmission and "
                "dark field are too near to 1, and visibilities too small. Take darks.",
                self.name, job.start["uid"],
            )  # fmt: skip
        try:
            if job.failure is not None:
                raise failed_job(job.start, job.failure) from job.failure
            job.contrasts = grating_contrasts(
                job.fringes(OBJECT_STEPPING),
                job.fringes(REFERENCE_STEPPING),
                period_um=job.block.fringe_period_um,
                distance_mm=job.block.propagation_distance_mm,
                sign=job.block.refraction_sign,
            )
            images = _named(job.contrasts)
            self._store(job, images)
        except BaseException as error:
            job.error = error
            LOG.warning("%s of run %s: %s", self.name, job.start["uid"], error)
        finally:
            job.done.set()

    def _show_reference(self, job: _Job, fringes: Fringes) -> None:
        try:
            run = ProcessingRun(
                job.start, "grating_preview", job.block.model_dump(mode="json"), directory=None,
                callbacks=self._callbacks, more={"transient": True},
            )  # fmt: skip
            _publish(run, {"reference": fringes.intensity, "visibility": fringes.visibility})
            run.stop()
        except Exception as error:
            LOG.warning("%s does not show the reference: %s", self.name, error)

    def _store(self, job: _Job, images: Images) -> None:
        with stored_processing_run(
            job.start,
            "grating_contrasts",
            {**job.block.model_dump(mode="json"), "num_darks": job.darks},
            name=self.name,
            directory=self._directory,
            callbacks=self._callbacks,
        ) as run:
            if run is None:
                return
            job.directory = run.directory
            _publish(run, images)


def _publish(run: ProcessingRun, images: Images) -> None:
    for name, image in images.items():
        units = "rad" if name in ("differential_phase", "refraction_angle") else ""
        run.publish(image[None], stream=name, data_key=name, configuration={"units": units})


def _named(contrasts: Contrasts) -> dict[str, NDArray[np.float32]]:
    images = {
        "intensity": contrasts.intensity,
        "dark_field": contrasts.dark_field,
        "differential_phase": contrasts.differential_phase,
    }
    if contrasts.refraction_angle is not None:
        images["refraction_angle"] = contrasts.refraction_angle
    return images
