"""What travels on a frame stream."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Delivery = Literal["every", "latest"]
Durability = Literal["written", "synced"]


@dataclass(frozen=True)
class Claim:
    """Where and how the frames of a stream can be read back.

    Parameters
    ----------
    uri : str
        Place of the stored frames, for instance ``file://localhost/data/scan_0001/darks/``.
    mimetype : str
        Format of the stored frames.
    parameters : dict
        What a reader of that format needs, JSON-safe (``template``, ``chunk_shape``, …).
    durability : {"written", "synced"}
        What an acknowledgement of the claimant means: ``written``, the operating system has the
        frame and it survives the death of any process; ``synced``, it survives a power cut.
    """

    uri: str
    mimetype: str
    parameters: dict[str, Any] = field(default_factory=dict)
    durability: Durability = "written"


@dataclass(frozen=True)
class FrameBatch:
    """Consecutive frames of one stream.

    Parameters
    ----------
    start : int
        Index of the first frame; the frames of a stream are numbered from 0 without gaps.
    frames : ndarray, shape (n, height, width)
        The pixels. With delivery ``every`` a read-only view of the ring, valid until it is
        acknowledged; with ``latest`` a copy.
    timestamps : ndarray of int64, shape (n,)
        Time of each exposure in nanoseconds since the epoch.
    numbers : ndarray of int64, shape (n,)
        The camera's own frame numbers.
    checksums : ndarray of uint64, shape (n,)
        XXH3-64 of each frame's bytes, computed by the publisher.
    """

    start: int
    frames: NDArray[Any]
    timestamps: NDArray[np.int64]
    numbers: NDArray[np.int64]
    checksums: NDArray[np.uint64]

    @property
    def stop(self) -> int:
        """Index after the last frame."""
        return self.start + len(self.frames)

    def __len__(self) -> int:
        return len(self.frames)
