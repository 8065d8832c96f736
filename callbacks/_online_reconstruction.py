"""Reconstructs slices while the projections of a run arrive."""

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from concertino import DocumentError, FrameStreamError, ReconstructionError
from concertino._described_settings import described_settings
from concertino.frames import Subscription, subscribe
from concertino.reconstruction import ReconstructionResult, ReconstructionSettings
from concertino.storage import check_image_format

from ._consumer import told
from ._frame_callback import AnnouncedStream, FrameCallback
from ._live_reconstructor import begin_previews, new_reconstructor, tomography_of
from ._measured_angles import FramePlaces
from ._previews import Preview
from ._processing_run import DocumentCallback
from ._reconstruction_job import Destination, ReconstructionJob

LOG = logging.getLogger(__name__)

PlanesAt = tuple[float, float, int | None]


class OnlineReconstruction(FrameCallback):
    """Averages darks and flats as they come and reconstructs while projections arrive.

    When all frames have come, or the run has ended, what is there is reconstructed, and the slices
    become a run of their own that names the raw run, the settings and the software; if the raw run was
    cut short before, it ends with ``abort``, and its reason says so. A projection
    that is taken again, after a pause, replaces the earlier one. Of a time series each tomogram is
    reconstructed when its turn is over; the run of the slices has all of them, one after the other.

    Who wants to see slices before gets them by `preview`, or on frame streams, for instance in a
    `LiveView`: a processing run of its own, ``reconstruction_preview``, announces them to `callbacks`.
    Nothing that is looked at changes the result or holds up the scan.

    Parameters
    ----------
    settings : ReconstructionSettings, optional
        Which slices, and how. The rotation axis is found by itself when they do not tell it.
    preview : callable, optional
        Is given the slices (slice, y, x), float32, reconstructed from what is there so far, and the
        result.
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

    def __init__(
        self,
        settings: ReconstructionSettings | None = None,
        *,
        preview: Preview | None = None,
        preview_s: float = 1.0,
        preview_slices: Sequence[int] | None = None,
        planes: bool | PlanesAt = False,
        keep_rows: Sequence[int] | Literal["needed", "planes", "all"] = "needed",
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
        super().__init__(name, necessary=necessary)
        self.output = output
        self.camera = camera
        self.settings = settings or ReconstructionSettings()
        self.stream_address = stream_address
        self._preview = preview
        self._preview_s = preview_s
        self._preview_slices = preview_slices
        self._planes: PlanesAt | None = (0.0, 0.0, None) if planes is True else planes or None
        self._keep_rows = "planes" if self._planes and keep_rows == "needed" else keep_rows
        self._resolution = resolution
        self._directory = None if directory is None else Path(directory)
        self._callbacks = list(callbacks)
        self._job: ReconstructionJob | None = None
        self._jobs: dict[str, ReconstructionJob] = {}

    def add_callback(self, callback: DocumentCallback) -> None:
        """Give the documents of the processing runs to one more callback."""
        self._callbacks.append(callback)

    @property
    def busy(self) -> bool:
        """Whether a run is still being reconstructed."""
        return self._job is not None and not self._job.done.is_set()

    @property
    def reconstructs(self) -> bool:
        """Whether there is a last run that can be waited for, be it done, failed or still going on."""
        return self._job is not None or self.error is not None

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
        if job is None and self.error is not None:
            raise ReconstructionError(
                f"The last run cannot be reconstructed live: {told(self.error)}"
            ) from self.error
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
        if job is not None and not job.done.is_set():
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
        self.wait()
        job = self._job
        assert job is not None
        assert job.result is not None
        chosen = settings or job.result.settings
        chosen = chosen.updated(**changes) if changes else chosen
        job.result = job.rereconstruct(chosen, self._destination(), self._resolution)
        return job.result

    def settle(self, timeout_s: float = 60.0) -> None:
        """Wait until every stream was read, and until a reconstruction that finishes has."""
        super().settle(timeout_s)
        if self._job is not None and self._job.finishing:
            self._job.done.wait(timeout_s)

    def run_started(self, start: Mapping[str, Any]) -> None:
        """Begin a job for a tomography run; other runs are left alone."""
        try:
            job = ReconstructionJob(start, tomography_of(start, self.camera))
        except DocumentError as error:
            LOG.info("run %s is not reconstructed: %s", start["uid"], error)
            return
        job.check(described_settings(self.settings, job.tomo))  # Known before the first dark.
        self._jobs[start["uid"]] = self._job = job

    def stream_started(self, stream: AnnouncedStream) -> None:
        """Subscribe to streams of known kind of a run that is reconstructed."""
        job = self._jobs.get(stream.start["uid"])
        if job is not None and job.tomo.kind(stream.name) is not None:
            super().stream_started(stream)

    def subscribe(self, stream: AnnouncedStream) -> Subscription:
        """Subscribe to a stream, every frame."""
        job = self._jobs[stream.start["uid"]]
        with job.lock:
            if job.reconstructor is None:
                job.reconstructor = new_reconstructor(
                    job,
                    self.settings,
                    stream.shape,
                    self._keep_rows,
                    self._destination(),
                    self._preview,
                )
                job.height = stream.shape[0]
            job.due.expect(stream.name)
            job.again = job.finishing
        return subscribe(stream.address, name=self.name, necessary=self.necessary)

    def take(self, stream: AnnouncedStream, subscription: Subscription) -> None:
        """Add the frames to the job; the last stream's end finishes it."""
        job = self._jobs[stream.start["uid"]]
        reconstructor = job.reconstructor
        assert reconstructor is not None
        kind, first = job.tomo.kind(stream.name), job.tomo.segment(stream.name).first
        job.reopen(subscription.alive)
        places = FramePlaces(stream.descriptor, stream.data_key, first, job.tomo.num_projections)
        try:
            if kind == "projection":
                begin_previews(
                    job, subscription, self._callbacks, preview=self._preview,
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
                    if job.series is not None:
                        job.series.look()
                job.due.came(stream.name, batch.start, batch.stop)
                subscription.acknowledge(batch.stop)
                if kind == "projection" and (previews := job.previews) is not None:
                    previews.came()
        except Exception as error:
            # A stream that failed is not ours: what came until then is reconstructed when the run stops.
            if subscription.given_up or not isinstance(error, FrameStreamError):
                job.failure = job.failure or error
            raise
        subscription.finish()
        with job.lock:
            job.due.ended(stream.name)
        self._finish_if_all_came(job)

    def take_document(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document; those that tell angles are noted."""
        if name in ("descriptor", "event", "event_page"):
            for job in list(self._jobs.values()):
                if job.angles.take(name, document):
                    if job.series is not None:
                        job.series.look()
                    self._finish_if_all_came(job)
        super().take_document(name, document)

    def run_stopped(self, start: Mapping[str, Any], stop: Mapping[str, Any]) -> None:
        """Finish with what is there, when the run did not get to its last stream."""
        job = self._jobs.pop(start["uid"], None)
        if job is not None:
            job.note_end(stop)
            self._finish_in_thread(job)

    def detached(self, error: BaseException) -> None:
        """Finish the jobs of the runs that go on without this: `wait` raises why."""
        super().detached(error)
        if not self._jobs:
            self._job = None  # What there is belongs to a run before.
        for uid in list(self._jobs):
            job = self._jobs.pop(uid)
            job.failure = job.failure or error
            self._finish_in_thread(job)

    def given_up(self, stream: str, error: FrameStreamError) -> None:
        """Note that frames were not taken: `wait` raises why."""
        super().given_up(stream, error)
        for job in self._jobs.values():
            job.failure = job.failure or error

    def _destination(self) -> Destination:
        return Destination(
            self.name, self.output, self._directory, self._callbacks, self.stream_address
        )

    def _finish_if_all_came(self, job: ReconstructionJob) -> None:
        with job.lock:
            last = job.due.nothing and job.angles.all_came
        if last:
            self._finish_in_thread(job)

    def _finish_in_thread(self, job: ReconstructionJob) -> None:
        with job.lock:
            if job.finishing:
                return
            job.finishing = True
        threading.Thread(
            target=job.finish,
            args=(self._destination(), self._resolution),
            name=f"{self.name} finish",
            daemon=True,
        ).start()
