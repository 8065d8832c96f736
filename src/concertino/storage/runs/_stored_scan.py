"""The frames of a scan that came in several streams, or in several runs, each frame once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino._errors import ParameterError, StorageError
from concertino.documents import (
    UNKNOWN_NUMBER,
    AngleRecord,
    ImageKind,
    TomoBlock,
    first_number,
    frame_places,
    index_ranges,
)
from concertino.storage.images._stored_frames import StoredFrames

from ._frame_values import FrameColumn, frame_columns
from ._linked_runs import linked_runs
from ._run import Run
from ._run_angles import angle_record


@dataclass(frozen=True)
class ScanPiece:
    """Frames of a scan that follow one another, in one stream of one run.

    Attributes
    ----------
    stream
        Name of the stream of the scan: ``projections``.
    kind
        What its images are.
    first
        Index in the scan of the first frame.
    frames
        All frames of the run's stream.
    start, stop
        Which of them, the last one excluded.
    exposure_s
        Exposure time in s, when the camera told it.
    """

    stream: str
    kind: ImageKind
    first: int
    frames: StoredFrames
    start: int
    stop: int
    exposure_s: float | None = None

    def __len__(self) -> int:
        return self.stop - self.start


class StoredScan:
    """A scan as if nothing had interrupted it.

    A pause leaves segments of a stream in one run (``projections_from_00057``), a crash leaves a
    run that a later one resumes. The frames are counted as the scan counts them; where several
    were taken of the same index, the last one counts.

    Parameters
    ----------
    run
        One of the scan's runs; the others are looked for beside it.
    camera
        Name of the camera whose frames are meant; the first of the scan's by default.

    Raises
    ------
    DocumentError
        If it is no imaging run, or has no such camera.
    StorageError
        If a run that it resumes is not there.

    Examples
    --------
    >>> scan = StoredScan(open_run("/data/scan_0002"))  # doctest: +SKIP
    >>> scan.missing("projections")  # doctest: +SKIP
    ()
    """

    def __init__(self, run: Run, camera: str | None = None) -> None:
        self.runs: tuple[Run, ...] = linked_runs(run)
        self.tomo = TomoBlock.from_start(self.runs[0].start).for_camera(camera)
        self._pieces: list[ScanPiece] = []
        streams = [
            (name, stored, kind)
            for stored in self.runs
            for name in stored.streams
            if (kind := self.tomo.kind(name)) is not None and stored[name].frame_keys
        ]
        for name, stored, kind in streams:
            key = self._key(stored, name)
            frames = stored.frames(name, key)
            exposure = stored[name].configuration.get(f"{key}-exposure")
            whole = ScanPiece(name, kind, 0, frames, 0, len(frames), exposure or None)
            if kind == "projection":
                number = first_number(stored[name].descriptors[0], key)
                for start, stop, place in _exposures(frames, number):
                    self._cover(replace(whole, start=start, stop=stop), place)
            else:
                self._cover(whole, 0)

    @property
    def name(self) -> str:
        """Name of the first run."""
        return self.runs[0].name

    @property
    def streams(self) -> tuple[str, ...]:
        """The scan's streams of images of which there are frames, in the order of acquisition."""
        return tuple(dict.fromkeys(piece.stream for piece in self._pieces))

    @property
    def pieces(self) -> tuple[ScanPiece, ...]:
        """Where the frames are, each frame of the scan once, in the order in which they were taken."""
        return tuple(self._pieces)

    def present(self, stream: str) -> NDArray[np.bool_]:
        """Return which frames of a stream there are: bool, (n,), n at least the planned number."""
        pieces = [piece for piece in self._pieces if piece.stream == stream]
        announced = self.runs[0].start.get("frames", {})
        planned = [
            segment.first + count
            for name, count in announced.items()
            if (segment := self.tomo.segment(name)).base == stream
        ]
        there = np.zeros(max([0, *planned, *(p.first + len(p) for p in pieces)]), bool)
        for piece in pieces:
            there[piece.first : piece.first + len(piece)] = True
        return there

    def missing(self, stream: str) -> tuple[range, ...]:
        """Return which frames of a stream are missing."""
        return index_ranges(np.flatnonzero(~self.present(stream)))

    def unreadable(self, stream: str) -> tuple[int, ...]:
        """Read every frame of a stream; return the indices of those that are damaged or gone."""
        found = []
        for piece in self._pieces:
            if piece.stream == stream:
                shift = piece.first - piece.start
                bad = piece.frames.unreadable(piece.start, piece.stop)
                found += [index + shift for index in bad]
        return tuple(sorted(found))

    def read(self, stream: str, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Read frames of a stream, by their index in the scan.

        Parameters
        ----------
        stream
            Name of the stream: ``projections``.
        start, stop
            First frame, and the one after the last; all to the end by default.

        Returns
        -------
        NDArray
            (stop - start, height, width).

        Raises
        ------
        ParameterError
            If there are no such frames.
        StorageError
            If a frame is missing or damaged.
        """
        there = self.present(stream)
        stop = len(there) if stop is None else stop
        if not 0 <= start <= stop <= len(there) or stream not in self.streams:
            has = ", ".join(f"{len(self.present(s))} {s}" for s in self.streams) or "none"
            raise ParameterError(
                f"Frames {start} to {stop} of {stream} were asked for; {self.name} has {has}. Ask for "
                "frames of these."
            )
        lost = np.flatnonzero(~there[start:stop])
        if len(lost):
            raise StorageError(
                f"Frame {start + lost[0]} of {stream} of {self.name} is missing, and "
                f"{len(lost) - 1} more; resume the run, or read the pieces that are there."
            )
        pieces = [piece for piece in self._pieces if piece.stream == stream]
        frames = pieces[0].frames
        out = np.empty((stop - start, *frames.shape[1:]), frames.dtype)
        for piece in pieces:
            low, high = max(start, piece.first), min(stop, piece.first + len(piece))
            if low < high:
                shift = piece.start - piece.first
                piece.frames.read(low + shift, high + shift, out[low - start : high - start])
        return out

    def angles(self) -> AngleRecord:
        """Return what is known of the angles of the projections.

        Raises
        ------
        DocumentError
            If the scan has no angles, as a radiography.
        """
        return angle_record(*self.runs)

    def frame_values(self) -> Mapping[str, FrameColumn]:
        """Return the signals that were told for each frame (``per_frame`` of the plan), by data key.

        ``KEY-apart`` says how long before or after the middle of the exposure the nearest reading was, in s.
        """
        pieces = [(each.stream, each.first, each.first + len(each)) for each in self._pieces]
        return frame_columns(self.runs, pieces, self.tomo.camera)

    def _cover(self, taken: ScanPiece, place: int) -> None:
        """Add frames of a stream, at a place in it, and leave out what they replace."""
        segment = self.tomo.segment(taken.stream)
        base, first = segment.base, segment.first + place
        stop = first + len(taken)
        if first == stop:
            return
        if taken.kind != "projection" and not first:
            stop = 2**62  # Darks and flats are taken on, or all anew: they are averaged.
        kept: list[ScanPiece] = []
        for piece in self._pieces:
            kept += [piece] if piece.stream != base else _without(piece, first, stop)
        new = replace(taken, stream=base, first=first)
        self._check_alike(new)
        self._pieces = [*kept, new]

    def _check_alike(self, new: ScanPiece) -> None:
        for piece in self._pieces:
            if (piece.frames.shape[1:], piece.frames.dtype) != (
                new.frames.shape[1:],
                new.frames.dtype,
            ):
                raise StorageError(
                    f"{new.frames.name} has frames of {new.frames.shape[1:]} {new.frames.dtype}, "
                    f"{piece.frames.name} of {piece.frames.shape[1:]} {piece.frames.dtype}: they "
                    "are no parts of one scan. Read each by itself."
                )

    def _key(self, run: Run, stream: str) -> str:
        keys = run[stream].frame_keys
        return self.tomo.camera if self.tomo.camera in keys else keys[0]

    def close(self) -> None:
        """Close the frames' files."""
        for run in self.runs:
            run.close()

    def __repr__(self) -> str:
        counts = ", ".join(f"{self.present(s).sum()} {s}" for s in self.streams) or "no frames"
        return f"<StoredScan {' + '.join(run.name for run in self.runs)}: {counts}>"


def _exposures(frames: StoredFrames, first: int) -> Iterator[tuple[int, int, int]]:
    """Yield for frames whose exposures followed one another: first, end, and which exposure it was.

    What the camera lost leaves a gap.
    """
    numbers = frames.index["number"]
    if not len(numbers) or (numbers < 0).any():  # Whoever stored them did not know.
        yield 0, len(frames), 0
        return
    base = int(numbers[0]) if first == UNKNOWN_NUMBER else first
    for part, place in frame_places(numbers, base):
        yield part.start, part.stop, place


def _without(piece: ScanPiece, start: int, stop: int) -> list[ScanPiece]:
    """Return what is left of a piece without the frames from start to stop of the scan."""
    shift = piece.start - piece.first
    left = [(piece.first, min(start, piece.first + len(piece))),
            (max(stop, piece.first), piece.first + len(piece))]  # fmt: skip
    return [
        replace(piece, first=low, start=low + shift, stop=high + shift)
        for low, high in left
        if low < high
    ]
