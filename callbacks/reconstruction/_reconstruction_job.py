"""The reconstruction of one run: what it needs, what has changed meanwhile, how it ends."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from concertino import ConcertinoError, DocumentError, ReconstructionError
from concertino.documents import DocumentCallback, TomoBlock
from concertino.frames import Subscription
from concertino.processing._described_settings import described_settings
from concertino.processing._processing_run import ProcessingRun
from concertino.processing._scan_frames import ScanFrames
from concertino.reconstruction import (
    ReconstructionResult,
    ReconstructionSettings,
    Reconstructor,
    TomogramSeries,
)
from concertino.storage import open_run

from ._measured_angles import MeasuredAngles
from ._previews import Previews
from ._run_jobs import RunJob
from ._series_job import SeriesJob
from ._slices_run import store_series, store_slices

LOG = logging.getLogger(__name__)

Store = Callable[..., AbstractContextManager[ProcessingRun | None]]
KeptRows = Sequence[int] | Literal["needed", "planes", "all"]


def tomography_of(start: Mapping[str, Any], camera: str | None) -> TomoBlock:
    """Return the geometry of a run that can be reconstructed while it goes on.

    Parameters
    ----------
    start : mapping
        Start document of the run.
    camera : str, optional
        Name of the camera whose frames are reconstructed; by default the first of the run's.

    Raises
    ------
    DocumentError
        If it cannot be, with the reason.
    """
    tomo = TomoBlock.from_start(start).for_camera(camera)
    if tomo.scheme == "spiral":
        raise DocumentError(
            "In a spiral each slice has projections of its own; use "
            "concertino.reconstruction.rebin_helical."
        )
    if "resumes" in start:
        raise DocumentError(
            f"It resumes the run {start['resumes']}, and has only a part of the scan; reconstruct "
            "both as one scan with concertino.batch.reconstruct_run."
        )
    return tomo


class ReconstructionJob(RunJob[ReconstructionResult]):
    """The reconstruction of one run, from its start document to its slices.

    Parameters
    ----------
    start : mapping
        Start document of the raw run.
    tomo : TomoBlock
        Its geometry, for one camera.
    store : callable
        Opens the processing run of slices that were made with some parameters.
    """

    def __init__(self, start: Mapping[str, Any], tomo: TomoBlock, store: Store) -> None:
        super().__init__(start, tomo)
        self.store = store
        self.angles = MeasuredAngles(TomoBlock.from_start(start))  # Told by any camera.
        self.reconstructor: Reconstructor | TomogramSeries | None = None
        self.series: SeriesJob | None = None
        self.height = 0
        self.cut_short = ""  # Why the run that is reconstructed did not get to its end.
        self._previews: Previews | None = None
        self._reading: Subscription | None = None
        self._updating = threading.Lock()
        self._changes: list[dict[str, Any]] = []

    @property
    def complete(self) -> bool:
        """Whether all frames have come, and their angles."""
        return super().complete and self.angles.all_came

    def anew(self) -> Self:
        """Return a job that makes another result of what this one has."""
        other = super().anew()
        other._previews = None
        return other

    def check_settings(self, settings: ReconstructionSettings) -> None:
        """Check settings against what the start document says of the frames, before there are any.

        Raises
        ------
        ConcertinoError
            If they cannot work, such as rows that the frames do not have.
        """
        shape = self.start.get("frame_shape")
        if shape is None or self.tomo.camera != TomoBlock.from_start(self.start).camera:
            return  # Of another camera nothing is known before its first stream.
        number = self.tomo.num_projections // self.tomo.num_tomograms
        Reconstructor(
            settings,
            num_projections=number,
            frame_shape=(int(shape[0]), int(shape[1])),
            angles=self.tomo.angles_rad()[:number],
        )

    def prepare(
        self, settings: ReconstructionSettings, frame_shape: tuple[int, int], keep_rows: KeptRows
    ) -> None:
        """Make what the frames are given to, before the first stream.

        Parameters
        ----------
        settings : ReconstructionSettings
            As the user gave them; the run's geometry is added.
        frame_shape : tuple of int
            Height and width in pixels.
        keep_rows : sequence of int or str
            As for `OnlineReconstruction`.
        """
        with self.lock:
            if self.reconstructor is not None:
                return
            self.height = frame_shape[0]
            settings, angles = described_settings(settings, self.tomo), self.tomo.angles_rad()
            if self.tomo.num_tomograms == 1:
                self.reconstructor = Reconstructor(
                    settings, num_projections=self.tomo.num_projections, frame_shape=frame_shape,
                    angles=angles, keep_rows=keep_rows,
                )  # fmt: skip
                self.reconstructor.compute_beside()  # frames wait for no slices
                return
            assert self.tomo.projections_per_tomogram is not None
            series = self.reconstructor = TomogramSeries(
                settings, num_projections=self.tomo.projections_per_tomogram,
                frame_shape=frame_shape, angles=angles, keep_rows=keep_rows,
            )  # fmt: skip
            series.compute_beside()
            self.series = SeriesJob(series, self.angles, partial(store_series, self))

    def show(
        self,
        reading: Subscription,
        callbacks: Sequence[DocumentCallback],
        *,
        rows: Sequence[float] | None,
        planes: tuple[float, float, int | None] | None,
        period_s: float,
        stream_address: str,
    ) -> None:
        """Begin to show what is there, if anybody could see it; see `Previews`."""
        with self.lock:
            self._reading = reading
            if callbacks and self._previews is None and self.pending:
                self._previews = Previews(
                    self.newest, self.start, callbacks,
                    rows=rows, planes=planes, period_s=period_s, stream_address=stream_address,
                    intact=self.is_intact,
                )  # fmt: skip

    def came(self) -> None:
        """Tell those who wait for projections that some came."""
        if self.series is not None:
            self.series.look()
        if (previews := self._previews) is not None:
            previews.came()

    def update(self, changes: Mapping[str, Any]) -> None:
        """Change settings of the reconstruction that goes on.

        Raises
        ------
        ReconstructionError
            If that cannot change any more, or the result is being made.
        ParameterError
            If the values cannot work.
        """
        with self._updating:
            previews = self._update(changes)
        if previews is not None:
            previews.changed()

    def _update(self, changes: Mapping[str, Any]) -> Previews | None:
        # Not within `lock`: what is being computed can take long, and the run's documents wait for that one.
        with self.lock:
            if not self.pending:
                raise ReconstructionError(
                    f"The reconstruction of run {self.start['uid']} has all its projections and is "
                    "being finished; wait for it and call rereconstruct with the new settings."
                )
            reconstructor = self.reconstructor
            if reconstructor is None:
                return None
            if not isinstance(reconstructor, Reconstructor):
                raise ReconstructionError(
                    f"Run {self.start['uid']} is a time series, whose settings cannot change while it "
                    "runs; reconstruct the stored run with other ones."
                )
        reconstructor.update(**changes)
        self._changes.append(
            {
                "time": time.time(),
                "projections": reconstructor.received,
                "changes": _plain(reconstructor.settings, changes),
            }
        )
        return self._previews

    def make(self, resolution: bool | None) -> ReconstructionResult:
        """Make the result of what came, and publish it.

        Raises
        ------
        ConcertinoError
            What went wrong instead.
        """
        with self._updating:
            pass  # Those that come later are refused.
        previews, self._previews = self._previews, None
        volume, error = None, None
        try:
            if previews is not None:
                previews.stop()
            reconstructor = self._with_frames()
            if not isinstance(reconstructor, Reconstructor):
                assert self.series is not None
                last = self.series.finish()
                assert last is not None
                return last
            result = reconstructor.finish()
            volume = result.volume
            if previews is not None:
                previews.end(volume)
            return store_slices(self, reconstructor, resolution, result, self._changes)
        except BaseException as caught:
            error = caught
            if self.reconstructor is not None:
                self.reconstructor.compute_no_more()
            raise
        finally:
            if self.series is not None:
                with suppress(Exception):  # It is told above.
                    self.series.finish()
            if previews is not None and volume is None:
                previews.end(None, error)

    def _with_frames(self) -> Reconstructor | TomogramSeries:
        """Return what all frames were given to, with their angles."""
        try:
            self.check()
        except ReconstructionError as failed:
            # tomograms of a series that came before are stored, and are no success
            self.cut_short = self.cut_short or str(failed)
            raise
        if self.reconstructor is None or not self.angles.received:
            raise ReconstructionError(
                f"Run {self.start['uid']} cannot be reconstructed: it gave no projections. See in "
                "its log why it ended before."
            )
        self.angles.tell(self.reconstructor)
        return self.reconstructor

    def ended(self, stop: Mapping[str, Any]) -> None:
        """Note how the run that is reconstructed ended: of one that was cut short the result is no success."""
        status = stop["exit_status"]
        if status != "success":
            self.cut_short = (
                f"the run that was reconstructed ended with {status}: {stop.get('reason', '')}"
            )

    def is_intact(self) -> bool:
        """Whether all frames that it was given are what was published."""
        return self.failure is None and (self._reading is None or self._reading.intact)

    def newest(self) -> Reconstructor:
        """Return what can be looked at: of a time series, the tomogram that has begun last."""
        assert self.reconstructor is not None
        if isinstance(self.reconstructor, TomogramSeries):
            return self.reconstructor.newest()
        return self.reconstructor

    def rereconstruct(
        self, settings: ReconstructionSettings, resolution: bool | None
    ) -> ReconstructionResult:
        """Reconstruct again: from the rows that are kept, or else from the stored frames.

        Raises
        ------
        ConcertinoError
            If neither has what the settings need.
        """
        if not isinstance(self.reconstructor, Reconstructor):
            raise ReconstructionError(
                f"Run {self.start['uid']} is a time series, of which no projections are kept; "
                "reconstruct the stored run."
            )
        try:
            other = self.reconstructor.with_settings(settings)
        except ReconstructionError as error:
            other = self._from_storage(settings, error)
        return store_slices(self, other, resolution, other.finish())

    def _from_storage(
        self, settings: ReconstructionSettings, error: ReconstructionError
    ) -> Reconstructor:
        try:
            scan = ScanFrames(open_run(Path(self.start["run_directory"])), self.tomo.camera)
        except (KeyError, ConcertinoError):
            raise error from None
        reconstructor = scan.reconstructor(settings)
        scan.feed(reconstructor, lambda _count: None)
        return reconstructor


def _plain(settings: ReconstructionSettings, changes: Mapping[str, Any]) -> dict[str, Any]:
    whole = settings.model_dump(mode="json")
    return {name: whole[name] for name in changes}
