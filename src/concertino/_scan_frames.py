"""The frames of a stored tomography run, as the reconstruction wants them."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from concertino._described_settings import described_settings
from concertino._errors import DocumentError, ParameterError, ReconstructionError
from concertino.documents import TomoBlock
from concertino.reconstruction import ReconstructionSettings, Reconstructor, TomogramSeries
from concertino.storage import Run, ScanPiece, StoredScan

READ_BYTES = 16 * 2**20  # at a time; from 32 MiB on the C library gets new memory for each batch


class ScanFrames:
    """The frames of a tomography run, as the reconstruction wants them.

    With those of the runs that it resumes, or that resume it, as one scan: see `StoredScan`.

    Parameters
    ----------
    run
        A stored run, see `open_run`.
    camera
        Name of the camera whose frames are wanted; the first of the run's by default.
    tomogram
        Only the projections of one tomogram of a time series, counted from 0; all by default.

    Attributes
    ----------
    tomo
        The run's geometry, as its start document has it for the camera.
    frame_shape
        (height, width) of a frame in px.
    angles
        The angle of each projection, as measured.
    num_projections
        Projections that are stored.
    tomogram
        Which tomogram of a time series it is; None: all projections.
    num_frames
        Darks, flats and projections that are stored, in all.
    num_darks, num_flats
        How many of these are darks and flats.

    Raises
    ------
    DocumentError
        If it is no tomography run, a spiral, or has no such camera.
    ParameterError
        If it has no such tomogram.
    ReconstructionError
        If no projections of it are stored.
    """

    def __init__(self, run: Run, camera: str | None = None, *, tomogram: int | None = None) -> None:
        self.run = run
        self.tomo = TomoBlock.from_start(run.start).for_camera(camera)
        if self.tomo.scheme == "spiral":
            raise DocumentError(
                f"{run.name} is a spiral, in which each slice has projections of its own; level its "
                "rows with concertino.reconstruction.level_spiral first."
            )
        scan = StoredScan(run, camera)
        self._pieces = scan.pieces
        self.angles = scan.angles()
        projections = [piece.frames for piece in self._pieces if piece.kind == "projection"]
        if not projections:
            raise ReconstructionError(
                f"{run.name} cannot be reconstructed: no projections of it are stored."
            )
        self.num_projections, self.num_darks, self.num_flats = (
            sum(len(piece) for piece in self._pieces if piece.kind == kind)
            for kind in ("projection", "dark", "flat")
        )
        self.dtype = projections[0].dtype
        self.frame_shape: tuple[int, int] = projections[0].shape[1:]
        self.num_frames = sum(map(len, self._pieces))
        self.tomogram = tomogram
        self._chosen = self._projections_of(tomogram)

    def _projections_of(self, tomogram: int | None) -> slice:
        """Return which projections count."""
        number, each = self.tomo.num_tomograms, self.tomo.projections_per_tomogram
        if tomogram is None:
            return slice(0, self.tomo.num_projections)
        if not 0 <= tomogram < number:
            raise ParameterError(
                f"tomogram: {tomogram} was given; {self.run.name} has {number}, counted from 0."
            )
        size = each if number > 1 and each else self.tomo.num_projections
        return slice(tomogram * size, (tomogram + 1) * size)

    def reconstructor(
        self, settings: ReconstructionSettings, *, all_rows: bool = False
    ) -> Reconstructor:
        """Return a reconstructor made for the scan, without its frames; it may keep all their rows."""
        chosen = self._chosen
        reconstructor = Reconstructor(
            settings,
            num_projections=chosen.stop - chosen.start,
            frame_shape=self.frame_shape,
            angles=self.tomo.angles_rad()[chosen],
            keep_rows="all" if all_rows else "needed",
        )
        reconstructor.expect(self.dtype)
        if self.angles.expected:
            reconstructor.set_angles(self.angles.all_rad()[chosen], self.angles.known[chosen])
        return reconstructor

    def series(self, settings: ReconstructionSettings) -> TomogramSeries:
        """Return what reconstructs all tomograms of a time series, without their frames."""
        assert self.tomo.projections_per_tomogram is not None
        series = TomogramSeries(
            settings,
            num_projections=self.tomo.projections_per_tomogram,
            frame_shape=self.frame_shape,
            angles=self.tomo.angles_rad(),
        )
        if self.angles.expected:
            series.set_angles(self.angles.all_rad(), np.ones(self.tomo.num_projections, bool))
        return series

    def feed(
        self, reconstructor: Reconstructor | TomogramSeries, step: Callable[[int], Any]
    ) -> None:
        """Give all frames to a reconstructor, in the order in which they were taken."""
        for count in self.feeding(reconstructor):
            step(count)

    def feeding(self, reconstructor: Reconstructor | TomogramSeries) -> Iterator[int]:
        """Give the frames to a reconstructor batch by batch, and yield how many each time."""
        for piece in self._pieces:
            frames = piece.frames
            at_once = max(1, READ_BYTES // max(1, frames.nbytes // max(1, len(frames))))
            for start in range(piece.start, piece.stop, at_once):
                yield self._give(reconstructor, piece, start, min(start + at_once, piece.stop))

    def _give(
        self,
        reconstructor: Reconstructor | TomogramSeries,
        piece: ScanPiece,
        start: int,
        stop: int,
    ) -> int:
        """Read some frames and hand them over; they are gone when the next are read."""
        batch = piece.frames.read(start, stop)
        if piece.kind == "dark":
            reconstructor.add_darks(batch)
        elif piece.kind == "flat":
            reconstructor.add_flats(batch)
        else:
            chosen = self._chosen
            first = piece.first + start - piece.start
            low, high = max(first, chosen.start), min(first + len(batch), chosen.stop)
            if low < high:
                part = batch[low - first : high - first]
                reconstructor.add_projections(part, low - chosen.start)
        return len(batch)

    def with_known_axis(self, settings: ReconstructionSettings) -> ReconstructionSettings:
        """Return settings completed by what the run's documents say: see `described_settings`."""
        return described_settings(settings, self.tomo)
