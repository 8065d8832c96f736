"""What a live reconstruction begins with: a run that it can do, a reconstructor, and previews."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from concertino import DocumentError
from concertino._described_settings import described_settings
from concertino.documents import TomoBlock
from concertino.frames import Subscription
from concertino.reconstruction import ReconstructionSettings, Reconstructor, TomogramSeries

from ._previews import Preview, Previews
from ._processing_run import DocumentCallback
from ._reconstruction_job import Destination, ReconstructionJob
from ._series_job import SeriesJob


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
        raise DocumentError("in a spiral each slice has projections of its own; see level_spiral")
    if "resumes" in start:
        raise DocumentError(
            f"it resumes the run {start['resumes']}, and has only a part of the scan; "
            "reconstruct both as one scan with concertino.batch.reconstruct_run"
        )
    return tomo


def new_reconstructor(
    job: ReconstructionJob,
    settings: ReconstructionSettings,
    frame_shape: tuple[int, int],
    keep_rows: Sequence[int] | Literal["needed", "planes", "all"],
    where: Destination,
    preview: Preview | None,
) -> Reconstructor | TomogramSeries:
    """Return what the frames of a run are given to.

    Parameters
    ----------
    job : ReconstructionJob
        Of the run; of a time series it gets a `SeriesJob`.
    settings : ReconstructionSettings
        As the user gave them; the run's geometry is added.
    frame_shape : tuple of int
        Height and width in pixels.
    keep_rows : sequence of int or str
        As for `OnlineReconstruction`.
    where : Destination
        Where the slices of a time series go.
    preview : callable, optional
        Is given them.
    """
    settings = described_settings(settings, job.tomo)
    if job.tomo.num_tomograms > 1:
        assert job.tomo.projections_per_tomogram is not None
        series = TomogramSeries(
            settings,
            num_projections=job.tomo.projections_per_tomogram,
            frame_shape=frame_shape,
            angles=job.tomo.angles_rad(),
            keep_rows=keep_rows,
        )
        job.series = SeriesJob(
            series, job.angles, lambda results: job.store_series(results, where, preview)
        )
        return series
    return Reconstructor(
        settings,
        num_projections=job.tomo.num_projections,
        frame_shape=frame_shape,
        angles=job.tomo.angles_rad(),
        keep_rows=keep_rows,
    )


def begin_previews(
    job: ReconstructionJob,
    reading: Subscription,
    callbacks: Sequence[DocumentCallback],
    *,
    preview: Preview | None,
    rows: Sequence[float] | None,
    planes: tuple[float, float, int | None] | None,
    period_s: float,
    stream_address: str,
) -> None:
    """Begin to show what is there, if anybody could see it; see `Previews`."""
    with job.lock:
        job.reading = reading
        if job.previews is not None or job.finishing or job.reconstructor is None:
            return
        if preview is None and not callbacks:
            return
        job.previews = Previews(
            job.newest,
            job.start,
            callbacks,
            preview=preview,
            rows=rows,
            planes=planes,
            period_s=period_s,
            stream_address=stream_address,
            intact=job.is_intact,
        )
