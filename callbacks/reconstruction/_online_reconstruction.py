"""Reconstructs slices while the projections of a run arrive."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from concertino import DocumentError
from concertino.consumers._frame_callback import AnnouncedStream
from concertino.documents import DocumentCallback
from concertino.frames import Subscription
from concertino.processing._described_settings import described_settings
from concertino.reconstruction import ReconstructionResult, ReconstructionSettings
from concertino.storage import check_image_format

from ._measured_angles import FramePlaces
from ._reconstruction_job import KeptRows, ReconstructionJob, tomography_of
from ._run_jobs import RunJobs

LOG = logging.getLogger(__name__)

PlanesAt = tuple[float, float, int | None]


class OnlineReconstruction(RunJobs[ReconstructionJob, ReconstructionResult]):
    """Averages darks and flats as they come and reconstructs while projections arrive.

    When all frames have come, or the run has ended, what is there is reconstructed, and the slices
    become a run of their own that names the raw run, the settings and the software; if the raw run was
    cut short before, it ends with ``abort``, and its reason says so. A projection
    that is taken again, after a pause, replaces the earlier one. Of a time series each tomogram is
    reconstructed when its turn is over; the run of the slices has all of them, one after the other.

    To see slices before that, take them from frame streams, for instance in a `LiveView` or a `FrameConsumer`:
    a processing run of its own, ``reconstruction_preview``, announces them to `callbacks`. Nothing that is looked
    at changes the result or holds up the scan.

    Parameters
    ----------
    settings : ReconstructionSettings, optional
        Which slices, and how. The rotation axis is found by itself when they do not tell it.
    preview_s : float
        Time between two previews, in seconds; more when they take long.
    preview_slices : sequence of int, optional
        Detector rows to show, out of those of the settings; all of them by default when there are at
        most four, else four at equal distances.
    planes : bool or tuple of float, float and int or None
        Show three orthogonal planes, too: through the axis and the middle row, or at x and y in px
        from the axis and a detector row. The rows that they need are kept.
    keep_rows : sequence of int, "needed", "planes" or "all"
        Detector rows to keep in memory beside those that are needed, for `update`; `rereconstruct`
        also finds them in the stored run.
    resolution : bool, optional
        Tell resolution and signal-to-noise ratio of the middle slice with the result; by default
        where it is cheap.
    output : {"tiff", "hdf5", "zarr"}
        Format of the slices, see `concertino.storage.open_sink`.
    directory : str or Path, optional
        Where the directories of the processing runs are made; beside the raw run's by default.
    callbacks : sequence of callable
        Take the documents of the processing runs, besides a recorder and an image writer.
    stream_address : str
        Where subscribers find slices, as of a camera: on this computer by default; ``"tcp://host:0"`` for
        those on other computers, too.
    camera : str, optional
        Name of the camera whose frames are reconstructed; by default the first of a run's cameras.
    name : str
        Name as a subscriber.
    necessary : bool
        Whether a run fails with it; otherwise it goes on without it, and `wait` raises why.

    Examples
    --------
    >>> from concertino.callbacks import OnlineReconstruction
    >>> from concertino.reconstruction import ReconstructionSettings
    >>> reconstruction = OnlineReconstruction(ReconstructionSettings(slices=(100, 200)), planes=True)
    """

    _RUNS = "tomography"

    def __init__(
        self,
        settings: ReconstructionSettings | None = None,
        *,
        preview_s: float = 1.0,
        preview_slices: Sequence[int] | None = None,
        planes: bool | PlanesAt = False,
        keep_rows: KeptRows = "needed",
        resolution: bool | None = None,
        output: str = "tiff",
        directory: str | Path | None = None,
        callbacks: Sequence[DocumentCallback] = (),
        stream_address: str = "tcp://127.0.0.1:0",
        camera: str | None = None,
        name: str = "reconstruction",
        necessary: bool = False,
    ) -> None:
        check_image_format(output, "output")
        super().__init__(name, directory, callbacks, necessary=necessary)
        self.output = output
        self.camera = camera
        self.settings = settings or ReconstructionSettings()
        self.stream_address = stream_address
        self._preview_s = preview_s
        self._preview_slices = preview_slices
        self._planes: PlanesAt | None = (0.0, 0.0, None) if planes is True else planes or None
        self._keep_rows = "planes" if self._planes and keep_rows == "needed" else keep_rows
        self._resolution = resolution

    @property
    def reconstructs(self) -> bool:
        """Whether there is a last run that can be waited for, be it done, failed or still going on."""
        return self._job is not None or self.error is not None

    @property
    def result(self) -> ReconstructionResult | None:
        """The last run's result, or None while it is not there."""
        if self._job is None or not self._job.result.done():
            return None
        return None if self._job.result.exception() is not None else self._job.result.result()

    def update(
        self, changes: Mapping[str, Any] | None = None, /, **more: Any
    ) -> ReconstructionSettings:
        """Change settings of the run that is being reconstructed, and of those after it.

        They take effect in the next preview and in the result, which records them. What has been
        kept of the frames decides what can change.

        Parameters
        ----------
        changes : mapping, optional
            Settings by name.
        **more
            Settings, such as ``center=512.3``, ``slices=(10, 20)`` or ``filter="hann"``.

        Returns
        -------
        ReconstructionSettings
            All settings from now on.

        Raises
        ------
        ParameterError
            If there is no such setting, or it cannot work.
        ReconstructionError
            If that cannot change any more in this run, with the reason. Nothing has changed then.
        """
        asked = {**(changes or {}), **more}
        settings = self.settings.updated(**asked)
        job = self._job
        if job is not None and not job.result.done():
            job.update(asked)
        self.settings = settings
        return settings

    def rereconstruct(
        self, settings: ReconstructionSettings | None = None, /, **changes: Any
    ) -> ReconstructionResult:
        """Reconstruct the last run again, into a processing run of its own.

        The rows that are kept in memory serve it; when they do not suffice, the stored frames do.

        Parameters
        ----------
        settings : ReconstructionSettings, optional
            How; as the last time by default.
        **changes
            Settings to change.

        Returns
        -------
        ReconstructionResult
            As from `wait`, which returns it from now on.

        Raises
        ------
        ReconstructionError
            If there is no such run, or its frames do not suffice.
        ConcertinoError
            What went wrong the first time, if there are no frames because of it.
        """
        last = self.wait()
        job = self._job
        assert job is not None
        chosen = settings or last.settings
        again = job.anew()
        again.result.set_result(
            again.rereconstruct(chosen.updated(**changes) if changes else chosen, self._resolution)
        )
        if self._job is job:
            self._job = again
        return again.result.result()

    def begin(self, start: Mapping[str, Any]) -> ReconstructionJob | None:
        """Begin a job for a tomography run; other runs are left alone."""
        store = partial(
            self.stored, start, "reconstruction",
            output=self.output, stream_address=self.stream_address,
        )  # fmt: skip
        try:
            job = ReconstructionJob(start, tomography_of(start, self.camera), store)
        except DocumentError as error:
            LOG.info("run %s is not reconstructed: %s", start["uid"], error)
            return None
        job.check_settings(
            described_settings(self.settings, job.tomo)
        )  # Known before the first dark.
        return job

    def subscribe(self, stream: AnnouncedStream) -> Subscription:
        """Subscribe to a stream, every frame."""
        self._jobs[stream.start["uid"]].prepare(self.settings, stream.shape, self._keep_rows)
        return super().subscribe(stream)

    def needed_rows(self, stream: AnnouncedStream) -> Sequence[int] | None:
        """Return the rows that are kept of projections; darks and flats are looked at as a whole."""
        job = self._jobs[stream.start["uid"]]
        assert job.reconstructor is not None
        return job.reconstructor.rows if job.tomo.kind(stream.name) == "projection" else None

    def add(
        self, job: ReconstructionJob, stream: AnnouncedStream, subscription: Subscription
    ) -> None:
        """Give the frames to the reconstruction."""
        reconstructor = job.reconstructor
        assert reconstructor is not None
        kind, first = job.tomo.kind(stream.name), job.tomo.segment(stream.name).first
        places = FramePlaces(stream.descriptor, stream.data_key, first, job.tomo.num_projections)
        if kind == "projection":
            job.show(
                subscription, self._callbacks,
                rows=self._preview_slices, planes=self._planes, period_s=self._preview_s,
                stream_address=self.stream_address,
            )  # fmt: skip
            job.angles.tell(reconstructor)
        if not first and kind == "dark":
            reconstructor.forget_darks()  # Those that came were spoiled: all are taken again.
        elif not first and kind == "flat":
            reconstructor.forget_flats()
        for batch in subscription:
            if kind == "dark":
                reconstructor.add_darks(batch.frames)
            elif kind == "flat":
                reconstructor.add_flats(batch.frames)
            else:
                for part, start in places.of(batch):
                    reconstructor.add_projections(batch.frames[part], start, replace=True)
                    job.angles.came(start, part.stop - part.start)
                job.angles.tell(reconstructor)
            job.completion.came(stream.name, batch.start, batch.stop)
            subscription.acknowledge(batch.stop)
            if kind == "projection":
                job.came()

    def make(self, job: ReconstructionJob) -> ReconstructionResult:
        """Make the slices, and have them stored."""
        return job.make(self._resolution)

    def take_document(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document; those that tell angles are noted."""
        if name in ("descriptor", "event", "event_page"):
            for job in list(self._jobs.values()):
                if job.angles.take(name, document):
                    if job.series is not None:
                        job.series.look()
                    self._finish_if_all_came(job)
        super().take_document(name, document)
