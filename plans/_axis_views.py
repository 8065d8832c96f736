"""Views of a sample at several angles, for plans that align the rotation axis."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from bluesky.utils import MsgGenerator
from numpy.typing import NDArray

from ._frame_tap import FrameTap
from ._frames import move_together
from ._imaging import Imaging
from ._pieces import Piece


class AxisViews:
    """Takes darks and flats once, then views, and gives them as attenuation.

    Parameters
    ----------
    asked : Imaging
        Parameters that all imaging plans take.
    rotation : device
        Rotation stage.
    degree : float
        What one degree is in the rotation's unit.

    Raises
    ------
    ParameterError
        If there are several cameras.
    """

    def __init__(self, asked: Imaging, rotation: Any, degree: float) -> None:
        asked.check_one_camera("the axis is looked at with one")
        self._asked = asked
        self._rotation = rotation
        self._degree = degree
        self._tap = FrameTap(asked.cameras.first, "alignment")
        self._dark: NDArray[np.float64] | None = None
        self._flat: NDArray[np.float64] | None = None

    def darks(self) -> MsgGenerator[None]:
        """Take frames without beam."""
        piece = Piece.whole("darks", self._asked.numbers["darks"])
        self._dark = (yield from self._seen(self._asked.darks(piece, None), piece)).mean(axis=0)

    def flats(self, position: float) -> MsgGenerator[None]:
        """Take frames without sample."""
        piece = Piece.whole("flats", self._asked.numbers["flats"])
        taking = self._asked.frames_at(position, piece, None)
        self._flat = (yield from self._seen(taking, piece)).mean(axis=0)

    def take(
        self, angles_deg: Sequence[float], stream: str, radio: float
    ) -> MsgGenerator[NDArray[np.float64]]:
        """Take a view at each angle, and bring the rotation back to the first.

        Returns
        -------
        ndarray, shape (n, height, width), float64
            Attenuation.
        """
        angles = [angle * self._degree for angle in angles_deg]
        piece = Piece.whole(stream, len(angles))
        taking = self._asked.steps([(self._rotation, angles)], radio, piece, None)
        frames = yield from self._seen(taking, piece)
        yield from move_together((self._rotation, angles[0]))
        return self._attenuation(frames)

    def _seen(self, taking: MsgGenerator[Any], piece: Piece) -> MsgGenerator[NDArray[Any]]:
        yield from self._tap.listening(taking)
        return (yield from self._tap.taken(piece.count))

    def _attenuation(self, frames: NDArray[Any]) -> NDArray[np.float64]:
        dark = 0.0 if self._dark is None else self._dark
        # Without flats the brightest that a pixel was: the sample moves.
        flat = frames.max(axis=0) if self._flat is None else self._flat
        light = np.maximum(frames - dark, 1.0) / np.maximum(flat - dark, 1.0)
        attenuation: NDArray[np.float64] = -np.log(light)
        return attenuation
