"""Views of a sample at several angles, for plans that align the rotation axis."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from bluesky.utils import MsgGenerator
from numpy.typing import NDArray

from ._frame_tap import FrameTap
from ._frames import move_together, take_darks, take_flats, take_stepped_frames
from ._imaging import Imaging


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
        count, asked = self._asked.numbers["darks"], self._asked
        yield from self._tap.listening(
            take_darks(asked.cameras, asked.beam, count, on_lost=asked.on_lost)
        )
        self._dark = (yield from self._tap.taken(count)).mean(axis=0)

    def flats(self, position: float) -> MsgGenerator[None]:
        """Take frames without sample."""
        count, asked = self._asked.numbers["flats"], self._asked
        yield from self._tap.listening(
            take_flats(
                asked.cameras,
                asked.beam,
                asked.sample_stage,
                position,
                count,
                on_lost=asked.on_lost,
            )
        )
        self._flat = (yield from self._tap.taken(count)).mean(axis=0)

    def take(
        self, angles_deg: Sequence[float], stream: str, radio: float
    ) -> MsgGenerator[NDArray[np.float64]]:
        """Take a view at each angle, and bring the rotation back to the first.

        Returns
        -------
        ndarray, shape (n, height, width), float64
            Attenuation.
        """
        asked = self._asked
        angles = [angle * self._degree for angle in angles_deg]
        yield from move_together((asked.sample_stage, radio), (self._rotation, angles[0]))
        yield from self._tap.listening(
            take_stepped_frames(
                asked.cameras,
                self._rotation,
                angles,
                stream,
                on_lost=asked.on_lost,
                beam=asked.beam,
            )
        )
        frames = yield from self._tap.taken(len(angles))
        yield from move_together((self._rotation, angles[0]))
        return self._attenuation(frames)

    def _attenuation(self, frames: NDArray[Any]) -> NDArray[np.float64]:
        dark = 0.0 if self._dark is None else self._dark
        # Without flats the brightest that a pixel was: the sample moves.
        flat = frames.max(axis=0) if self._flat is None else self._flat
        light = np.maximum(frames - dark, 1.0) / np.maximum(flat - dark, 1.0)
        attenuation: NDArray[np.float64] = -np.log(light)
        return attenuation
