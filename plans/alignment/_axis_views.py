"""Views of a sample at several angles, for plans that align the rotation axis."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from bluesky.utils import MsgGenerator
from numpy.typing import NDArray

from concertino import ParameterError
from concertino.documents import DARKS, FLATS
from concertino.plans._asides import said
from concertino.plans.core._awaited import OnlyARunCanTellError
from concertino.plans.run._pause_request import PauseRequest
from concertino.plans.run._sample_use import SampleToTheEnd
from concertino.plans.run._segments import AcquisitionSegment, Take
from concertino.plans.stubs._frame_tap import FrameTap
from concertino.plans.stubs._frames import move_together
from concertino.plans.stubs._scan_setup import ScanSetup


class AxisViews:
    """Looks at darks and flats, takes views, and gives them as attenuation.

    Parameters
    ----------
    setup : ScanSetup
        The devices.
    degree : float
        What one degree is in the rotation's unit.
    stream : str
        Name of the stream of the first views.

    Raises
    ------
    ParameterError
        If there are several cameras, or no darks and flats before the views.
    """

    def __init__(self, setup: ScanSetup, degree: float, stream: str) -> None:
        setup.cameras.check_one("the axis is looked at with one")
        _check_corrected(setup.streams, stream)
        self._setup, self._degree = setup, degree
        self._rotation = setup.motors["rotation"]
        self._tap = FrameTap(setup.cameras.first, "alignment")
        self._means: dict[str, NDArray[np.float64]] = {}

    def around(self, stream: str, take: Take) -> Take:
        """Return what takes a stream of the run, undivided, and looks at darks and flats."""
        return partial(self._undivided, take)

    def _undivided(
        self, take: Take, piece: AcquisitionSegment, hold: PauseRequest | None
    ) -> MsgGenerator[bool]:
        yield from said(SampleToTheEnd())
        if piece.base not in (DARKS, FLATS):
            return (yield from take(piece, None))
        frames = yield from self._seen(take(piece, None), piece)
        self._means[piece.base] = frames.mean(axis=0)
        return True

    def take(self, angles_deg: Sequence[float], stream: str) -> MsgGenerator[NDArray[np.float64]]:
        """Take a view at each angle, and bring the rotation back to the first.

        Returns
        -------
        ndarray, shape (n, height, width), float64
            Attenuation.
        """
        angles = [angle * self._degree for angle in angles_deg]
        piece = AcquisitionSegment.whole(stream, len(angles))
        taking = self._setup.steps([(self._rotation, angles)], self._setup.radio, piece, None)
        frames = yield from self._seen(taking, piece)
        yield from move_together((self._rotation, angles[0]))
        return self._attenuation(frames)

    def _seen(
        self, taking: MsgGenerator[Any], piece: AcquisitionSegment
    ) -> MsgGenerator[NDArray[Any]]:
        yield from self._tap.listening(taking)
        return (yield from self._tap.taken(piece.count))

    def _attenuation(self, frames: NDArray[Any]) -> NDArray[np.float64]:
        dark, flat = self._means[DARKS], self._means[FLATS]
        light = np.maximum(frames - dark, 1.0) / np.maximum(flat - dark, 1.0)
        attenuation: NDArray[np.float64] = -np.log(light)
        return attenuation


def measured(found: Mapping[str, Any], what: str) -> Any:
    """Return what was measured in a scan.

    Raises
    ------
    OnlyARunCanTellError
        If nothing was, as nobody ran the scan.
    """
    if what not in found:
        raise OnlyARunCanTellError
    return found[what]


def _check_corrected(streams: Sequence[str], views: str) -> None:
    before = streams[: streams.index(views)] if views in streams else streams
    missing = [stream for stream in (DARKS, FLATS) if stream not in before]
    if missing and views in streams:
        raise ParameterError(
            f"order: {', '.join(streams)} are taken, and the {views} want {' and '.join(missing)} before them. "
            "Name these first."
        )
