"""Images of a grating interferometer while the grating steps."""

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino import DocumentError
from concertino.consumers._frame_callback import AnnouncedStream
from concertino.documents import (
    OBJECT_STEPPING,
    REFERENCE_STEPPING,
    DocumentCallback,
    GratingBlock,
    TomoBlock,
)
from concertino.frames import Subscription
from concertino.processing._processing_run import ProcessingRun
from concertino.reconstruction import Contrasts, Fringes, PhaseStepping, grating_contrasts

from ._measured_angles import FramePlaces
from ._run_jobs import RunJob, RunJobs

LOG = logging.getLogger(__name__)

Images = Mapping[str, NDArray[np.float32]]


class SteppingJob(RunJob[Contrasts]):
    """The phase stepping of one run."""

    def __init__(self, start: Mapping[str, Any], block: GratingBlock) -> None:
        super().__init__(start, TomoBlock.from_start(start).for_camera())
        self.block = block
        self.dark_sum: NDArray[np.float64] | None = None
        self.darks = 0
        self.steppings = {
            stream: PhaseStepping(block.num_periods, block.num_steps)
            for stream in (REFERENCE_STEPPING, OBJECT_STEPPING)
        }

    def takes(self, stream: str) -> bool:
        """Whether it wants the frames of a stream."""
        base = self.tomo.segment(stream).base
        return base == "darks" or base in self.steppings

    def fringes(self, stream: str) -> Fringes:
        dark = None if self.dark_sum is None else self.dark_sum / self.darks
        return self.steppings[stream].fringes(dark)

    def begin_anew(self, base: str) -> None:
        """Forget the frames of a stream: it is taken again from its first frame on."""
        if base in self.steppings:
            self.steppings[base] = PhaseStepping(self.block.num_periods, self.block.num_steps)
        else:
            self.dark_sum, self.darks = None, 0


class GratingContrasts(RunJobs[SteppingJob, Contrasts]):
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

    _RUNS = "grating stepping"

    def __init__(
        self,
        *,
        directory: str | Path | None = None,
        callbacks: Sequence[DocumentCallback] = (),
        name: str = "grating",
        necessary: bool = False,
    ) -> None:
        super().__init__(name, directory, callbacks, necessary=necessary)

    def begin(self, start: Mapping[str, Any]) -> SteppingJob | None:
        """Begin a job for a run of phase stepping; other runs are left alone."""
        if "grating" not in start:
            return None
        try:
            return SteppingJob(start, GratingBlock.from_start(start))
        except DocumentError as error:
            LOG.warning("run %s: %s", start["uid"], error)
            return None

    def add(self, job: SteppingJob, stream: AnnouncedStream, subscription: Subscription) -> None:
        """Add up the frames."""
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
            job.completion.came(stream.name, batch.start, batch.stop)
            subscription.acknowledge(batch.stop)
        complete = segment.base in job.steppings and not job.steppings[segment.base].missing
        if segment.base == REFERENCE_STEPPING and complete and self._callbacks:
            # Viewers take time, and the next stream comes at once.
            threading.Thread(
                target=self._show_reference,
                args=(job, job.fringes(segment.base)),
                name=f"{self.name} preview",
                daemon=True,
            ).start()

    def make(self, job: SteppingJob) -> Contrasts:
        """Make the images, and have them stored."""
        if not job.darks:
            LOG.warning(
                "%s of run %s: there are no darks, so the camera's offset counts as light: transmission and "
                "dark field are too near to 1, and visibilities too small. Take darks.",
                self.name, job.start["uid"],
            )  # fmt: skip
        job.check()
        contrasts = grating_contrasts(
            job.fringes(OBJECT_STEPPING),
            job.fringes(REFERENCE_STEPPING),
            period_um=job.block.fringe_period_um,
            distance_mm=job.block.propagation_distance_mm,
            sign=job.block.refraction_sign,
        )
        parameters = {**job.block.model_dump(mode="json"), "num_darks": job.darks}
        with self.stored(job.start, "grating_contrasts", parameters) as run:
            if run is not None:
                job.directory = run.directory
                _publish(run, _named(contrasts))
        return contrasts

    def _show_reference(self, job: SteppingJob, fringes: Fringes) -> None:
        try:
            run = ProcessingRun(
                job.start, "grating_preview", job.block.model_dump(mode="json"), directory=None,
                callbacks=self._callbacks, more={"transient": True},
            )  # fmt: skip
            _publish(run, {"reference": fringes.intensity, "visibility": fringes.visibility})
            run.stop()
        except Exception as error:
            LOG.warning("%s does not show the reference: %s", self.name, error)


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
