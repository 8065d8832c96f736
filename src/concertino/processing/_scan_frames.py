"""The frames of a stored tomography run, as the reconstruction wants them."""

from collections.abc import Callable, Iterator
from typing import Any

from concertino._errors import DocumentError, ParameterError, ReconstructionError
from concertino.documents import TomoBlock
from concertino.reconstruction import ReconstructionSettings, Reconstructor
from concertino.storage import Run, ScanPiece, StoredScan

from ._described_settings import described_settings

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
                "rows with concertino.reconstruction.rebin_helical first."
            )
        scan = StoredScan(run, camera)
        self._pieces = scan.pieces
        self.angles = scan.angles()
        projections = [piece.frames for piece in self._pieces if piece.kind == "projection"]
        if not projections:
            raise ReconstructionError(
                f"{run.name} cannot be reconstructed: no projections of it are stored. Take the "
                "scan again with an ImageWriter subscribed."
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
                f"tomogram: {tomogram} was given, and {self.run.name} has {number}; give one of 0 "
                f"to {number - 1}."
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
            live=False,
        )
        reconstructor.expect(self.dtype)
        if self.angles.expected:
            reconstructor.set_angles(self.angles.all_rad()[chosen], self.angles.known[chosen])
        return reconstructor

    def feed(self, reconstructor: Reconstructor, step: Callable[[int], Any]) -> None:
        """Give all frames to a reconstructor, in the order in which they were taken."""
        for count in self.feeding(reconstructor):
            step(count)

    def feeding(
        self, reconstructor: Reconstructor, share: tuple[int, int] = (0, 1)
    ) -> Iterator[int]:
        """Give the frames to a reconstructor batch by batch, and yield how many each time.

        Parameters
        ----------
        reconstructor
            Takes them. Of projections it gets the rows that it keeps.
        share
            Which one of how many shares of the projections, counted from 0, is read whole and compared with the
            checksums. Of the others only the rows are read: somebody else reads those whole.
        """
        kept = slice(min(reconstructor.rows), max(reconstructor.rows) + 1)
        for piece in self._pieces:
            passed = len(piece)
            for start, stop, rows in self._reads(piece, kept, share):
                frames = piece.frames.read(start, stop, rows=rows)
                if piece.kind == "dark":
                    reconstructor.add_darks(frames)
                elif piece.kind == "flat":
                    reconstructor.add_flats(frames)
                else:
                    index = start - piece.start + piece.first - self._chosen.start
                    reconstructor.add_projections(frames, index, first_row=rows.start)
                passed -= len(frames)
                yield len(frames)
            yield passed  # those of other tomograms

    def _reads(
        self, piece: ScanPiece, kept: slice, share: tuple[int, int]
    ) -> Iterator[tuple[int, int, slice]]:
        """Yield from which frame to which to read at a time, and which rows."""
        shift = piece.start - piece.first
        low, high, whole = piece.start, piece.stop, slice(0, piece.frames.shape[1])
        spans = [(low, high, whole)]
        if piece.kind == "projection":
            low = min(max(low, self._chosen.start + shift), high)
            high = max(min(high, self._chosen.stop + shift), low)
            number, shares = share
            first, last = (
                low + (high - low) * min(n, shares) // shares for n in (number, number + 1)
            )
            spans = [(low, first, kept), (first, last, whole), (last, high, kept)]
        for begin, end, rows in spans:
            row_bytes = piece.frames.shape[2] * piece.frames.dtype.itemsize
            at_once = max(1, READ_BYTES // max(1, (rows.stop - rows.start) * row_bytes))
            for start in range(begin, end, at_once):
                yield start, min(start + at_once, end), rows

    def with_known_axis(self, settings: ReconstructionSettings) -> ReconstructionSettings:
        """Return settings completed by what the run's documents say: see `described_settings`."""
        return described_settings(settings, self.tomo)
