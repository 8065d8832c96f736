"""The values that stand beside the frames of a stored scan."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from concertino.documents import PER_FRAME

from ._run import Run

_STREAM, _FRAME = "stream", "frame"


@dataclass(frozen=True)
class FrameColumn:
    """One value for each frame of a scan.

    Attributes
    ----------
    values
        float64, (frames,): in the order of `StoredScan.pieces`; NaN where none could be had.
    unit
        Empty when none is stated.
    """

    values: NDArray[np.float64]
    unit: str


def frame_columns(
    runs: Iterable[Run], pieces: Iterable[tuple[str, int, int]], camera: str
) -> Mapping[str, FrameColumn]:
    """Return what was told for each frame of a scan, by data key; a frame that was taken again counts last.

    Parameters
    ----------
    runs
        Of the scan.
    pieces
        Where the frames are: stream, first frame, and the one after the last.
    camera
        Whose frames they are: the streams of another than the first have its name.
    """
    first: dict[str, list[tuple[int, int, int]]] = {}
    total = 0
    for stream_name, start, stop in pieces:
        base = stream_name.removesuffix(f"-{camera}")
        first.setdefault(base, []).append((start, stop, total))
        total += stop - start
    found: dict[str, FrameColumn] = {}
    for stream in (run[PER_FRAME] for run in runs if PER_FRAME in run.streams):
        for descriptor in stream.descriptors:
            for key, told in descriptor["data_keys"].items():
                if key not in (_STREAM, _FRAME) and key not in found:
                    nothing = np.full(total, np.nan)
                    found[key] = FrameColumn(nothing, str(told.get("units") or ""))
        for event in stream.events:
            data = event["data"]
            places = first.get(data[_STREAM], ())
            frame = int(data[_FRAME])
            for start, stop, begin in places:
                if start <= frame < stop:
                    for key in data.keys() - {_STREAM, _FRAME}:
                        value = data[key]
                        found[key].values[begin + frame - start] = (
                            np.nan if value is None else value
                        )
    return found
