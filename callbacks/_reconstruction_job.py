"""The reconstruction of one run: what it needs, what has changed meanwhile, how it ends."""

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from concertino import ConcertinoError, ReconstructionError
from concertino._scan_frames import ScanFrames
from concertino.documents import TomoBlock
from concertino.frames import Subscription
from concertino.reconstruction import (
    AxisEstimate,
    ReconstructionResult,
    ReconstructionSettings,
    Reconstructor,
    TomogramSeries,
)
from concertino.storage import open_run

from ._consumer import failed_job
from ._frames_due import FramesDue
from ._measured_angles import MeasuredAngles
from ._previews import Preview, Previews
from ._processing_run import DocumentCallback, ProcessingRun, stored_processing_run
from ._series_job import SeriesJob, previewed
from ._slices import slice_rows, slices_configuration, volumes_of, without_slices

LOG = logging.getLogger(__name__)

_SIGN_S = 1.0
CHEAP_SLICES = 64  # a look at one more, in two halves, is little beside as many


@dataclasses.dataclass(frozen=True)
class Destination:
    """Where the slices of a job go.

    Parameters
    ----------
    name : str
        Of the callback, and so of the directories.
    output : str
        Format of the slices.
    directory : Path, optional
        Where the directories of processing runs are made; beside the raw run's by default.
    callbacks : sequence of callable
        Take the documents.
    stream_address : str
        Where subscribers find the slices.
    """

    name: str
    output: str
    directory: Path | None
    callbacks: Sequence[DocumentCallback]
    stream_address: str


class ReconstructionJob:
    """The reconstruction of one run, from its start document to its slices.

    Parameters
    ----------
    start : mapping
        Start document of the raw run.
    tomo : TomoBlock
        Its geometry, for one camera.
    """

    def __init__(self, start: Mapping[str, Any], tomo: TomoBlock) -> None:
        self.start = start
        self.tomo = tomo
        self.angles = MeasuredAngles(TomoBlock.from_start(start))  # Told by any camera.
        self.due = FramesDue(start, tomo)
        self.reconstructor: Reconstructor | TomogramSeries | None = None
        self.series: SeriesJob | None = None
        self.height = 0
        self.previews: Previews | None = None
        self.reading: Subscription | None = None
        self.result: ReconstructionResult | None = None
        self.run: ProcessingRun | None = None
        self.error: BaseException | None = None
        self.failure: BaseException | None = None
        self.cut_short = ""  # Why the run that is reconstructed did not get to its end.
        self.finishing = False
        self.again = False
        self.done = threading.Event()
        self.lock = threading.Lock()
        self._updating = threading.Lock()
        self._changes: list[dict[str, Any]] = []

    def check(self, settings: ReconstructionSettings) -> None:
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
            if self.finishing:
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
        return self.previews

    def reopen(self, alive: Callable[[], None]) -> None:
        """Reconstruct anew, when frames are taken again after all had come."""
        if not self.again:
            return
        while not self.done.wait(_SIGN_S):
            alive()
        with self.lock:
            self.again = self.finishing = False
            self.result = self.error = None
            self.done.clear()

    def finish(self, where: Destination, resolution: bool | None) -> None:
        """Make the result, publish it, and note what went wrong instead."""
        volume = None
        with self._updating:
            pass  # Those that come later are refused.
        try:
            if self.previews is not None:
                self.previews.stop()
            reconstructor = self.reconstructor
            if self.failure is not None:
                failed = failed_job(self.start, self.failure)
                # tomograms of a series that came before are stored, and are no success
                self.cut_short = self.cut_short or str(failed)
                raise failed from self.failure
            if reconstructor is None or not self.angles.received:
                raise ReconstructionError(
                    f"Run {self.start['uid']} cannot be reconstructed: it gave no projections."
                )
            self.angles.tell(reconstructor)
            if not isinstance(reconstructor, Reconstructor):
                assert self.series is not None
                self.result = self.series.finish()
                return
            result = reconstructor.finish()
            volume = result.volume
            if self.previews is not None:
                self.previews.end(volume)
            self.result = self.publish(
                result, where, self._later(reconstructor, result, resolution), self._changes
            )
        except BaseException as error:
            self.error = error
            LOG.warning("%s of run %s: %s", where.name, self.start["uid"], error)
        finally:
            if self.series is not None:
                with suppress(Exception):  # It is told above.
                    self.series.finish()
            if self.previews is not None and volume is None:
                self.previews.end(None, self.error)
            self.previews = None
            self.done.set()

    def note_end(self, stop: Mapping[str, Any]) -> None:
        """Note how the run that is reconstructed ended: of one that was cut short the result is no success."""
        status = stop["exit_status"]
        if status != "success":
            self.cut_short = (
                f"the run that was reconstructed ended with {status}: {stop.get('reason', '')}"
            )

    def is_intact(self) -> bool:
        """Whether all frames that it was given are what was published."""
        return self.failure is None and (self.reading is None or self.reading.intact)

    def newest(self) -> Reconstructor:
        """Return what can be looked at: of a time series, the tomogram that has begun last."""
        assert self.reconstructor is not None
        if isinstance(self.reconstructor, TomogramSeries):
            return self.reconstructor.newest()
        return self.reconstructor

    def store_series(
        self,
        results: Iterator[ReconstructionResult],
        where: Destination,
        preview: Preview | None,
    ) -> None:
        """Publish the slices of tomograms as they come, as one processing run."""
        first = next(results, None)
        if first is None:
            return
        volumes = volumes_of(first, results)
        each, first = len(first.volume), without_slices(first)
        if preview is not None:
            volumes = previewed(volumes, preview)
        with self._processing_run(first, where, []) as run:
            if run is None:
                for _ in volumes:
                    pass
                return
            run.publish_parts(
                volumes,
                first.volume.shape[1:],
                first.volume.dtype,
                stream="slices",
                data_key="slices",
                configuration=self._configuration(first, each, series=True),
            )

    def _configuration(
        self, result: ReconstructionResult, slices: int, *, series: bool = False
    ) -> dict[str, Any]:
        """What the slices are made with, how many a tomogram has, and where they are."""
        return slices_configuration(
            result,
            AxisEstimate(result.center_px, result.confidence, "found"),
            self.tomo,
            slice_rows(result.settings, self.height),
            series=series,
        ) | {
            "rows": [float(row) for row in result.slice_rows],
            "slices_per_tomogram": slices,
        }

    @contextmanager
    def _processing_run(
        self,
        result: ReconstructionResult,
        where: Destination,
        changes: Sequence[Mapping[str, Any]],
    ) -> Iterator[ProcessingRun | None]:
        with stored_processing_run(
            self.start,
            "reconstruction",
            result.settings.model_dump(mode="json")
            | {"center": result.center_px, "camera": self.tomo.camera},
            name=where.name,
            output=where.output,
            directory=where.directory,
            callbacks=where.callbacks,
            more={"settings_changed": list(changes)} if changes else None,
            stream_address=where.stream_address,
            backend={"name": result.backend, "reason": result.backend_reason},
        ) as run:
            self.run = run or self.run
            yield run
            if run is not None:
                run.cut_short = self.cut_short  # of a series it is known only now

    def rereconstruct(
        self, settings: ReconstructionSettings, where: Destination, resolution: bool | None
    ) -> ReconstructionResult:
        """Reconstruct again: from the rows that are kept, or else from the stored frames.

        Raises
        ------
        ConcertinoError
            If neither has what the settings need.
        """
        reconstructor = self.reconstructor
        if isinstance(reconstructor, TomogramSeries):
            raise ReconstructionError(
                f"Run {self.start['uid']} is a time series, of which no projections are kept; "
                "reconstruct the stored run."
            )
        if reconstructor is None:
            raise self.error or ReconstructionError(
                f"Run {self.start['uid']} cannot be reconstructed again: it gave no projections."
            )
        try:
            other = reconstructor.with_settings(settings)
        except ReconstructionError as error:
            other = self._from_storage(settings, error)
        result = other.finish()
        return self.publish(result, where, self._later(other, result, resolution), [])

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

    @staticmethod
    def _later(
        reconstructor: Reconstructor, result: ReconstructionResult, wanted: bool | None
    ) -> Callable[[], ReconstructionResult]:
        """What adds the resolution to the result, once the slices are on their way."""

        def with_resolution() -> ReconstructionResult:
            settings = result.settings
            cheap = not settings.general and settings.phase_method == "none"
            if wanted is None and not (cheap and len(result.volume) <= CHEAP_SLICES):
                return result
            if wanted is False or settings.z_parameter is not None:
                return result
            if min(result.volume.shape[1:]) < 8 or reconstructor.received < 4:
                return result
            found = reconstructor.resolution(one_slice=True)
            return dataclasses.replace(result, resolution=found)

        return with_resolution

    def publish(
        self,
        result: ReconstructionResult,
        where: Destination,
        later: Callable[[], ReconstructionResult],
        changes: Sequence[Mapping[str, Any]],
    ) -> ReconstructionResult:
        """Give the slices to a processing run; return the result with what came later."""
        with self._processing_run(result, where, changes) as run:
            if run is None:
                return later()
            run.publish(
                result.volume,
                stream="slices",
                data_key="slices",
                configuration=self._configuration(result, len(result.volume)),
            )
            if result.missing:
                run.record(
                    "missing",
                    {
                        "projections": list(result.missing),
                        "angles": [float(angle) for angle in result.missing_angles],
                    },
                )
            result = later()
            if result.resolution is not None:
                found = result.resolution
                run.record(
                    "resolution",
                    {
                        "resolution_px": float(found.resolution_px),
                        "signal_to_noise": float(found.signal_to_noise),
                        "frequency": found.frequency.tolist(),
                        "correlation": found.correlation.tolist(),
                        "threshold": found.threshold.tolist(),
                    },
                )
            return result


def _plain(settings: ReconstructionSettings, changes: Mapping[str, Any]) -> dict[str, Any]:
    whole = settings.model_dump(mode="json")
    return {name: whole[name] for name in changes}
