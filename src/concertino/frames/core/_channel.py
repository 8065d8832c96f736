"""What a subscriber asks of its connection to a publisher, wherever that lives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from ._batch import Claim, FrameBatch


class Channel(ABC):
    """A subscriber's end of its connection to a publisher.

    Attributes
    ----------
    shape : tuple of int
        Frame shape (height, width) in pixels.
    dtype : dtype
        Type of a pixel.
    verifies : bool
        Whether the bytes of each frame are compared with its checksum unless told not to.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    verifies = False

    @property
    @abstractmethod
    def given_up(self) -> bool:
        """Whether the publisher has said that it counts on this subscriber no more."""

    @property
    def intact(self) -> bool:
        """Whether nothing was written over frames that were received and not acknowledged."""
        return True

    @abstractmethod
    def receive(self, max_frames: int | None, timeout_s: float | None) -> FrameBatch | None:
        """Return the next frames, or None when the stream ended and all were taken.

        Raises
        ------
        TimeoutError
            If nothing came within `timeout_s`.
        FrameStreamError
            If the stream failed and all that was published before has been taken.
        """

    @abstractmethod
    def acknowledge(self, stop: int) -> None:
        """Declare frames ``[0, stop)`` safe."""

    @abstractmethod
    def claim(self, claim: Claim) -> None:
        """Say where the frames can be read back."""

    @abstractmethod
    def fail(self, reason: str) -> None:
        """Tell the publisher that this subscriber failed."""

    @abstractmethod
    def finish(self) -> None:
        """Tell the publisher that this subscriber has done all it had to."""

    @abstractmethod
    def alive(self) -> None:
        """Tell the publisher that this subscriber is busy, not dead."""
