"""Fires a recording trigger when the image changes."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino import ParameterError
from concertino.consumers._frame_callback import AnnouncedStream, FrameCallback
from concertino.frames import RecordingTrigger, Subscription, subscribe

LOG = logging.getLogger("concertino.recording")

_BLOCKS = 64
_MEMORY = 0.2
_SETTLE = 3  # frames that are only averaged at first


def _mean_change(image: NDArray[np.float32], before: NDArray[np.float32]) -> float:
    """Return the mean absolute difference of two images, over the mean of the second.

    Parameters
    ----------
    image, before : ndarray of float32, shape (rows, columns)
        The newest image and a mean of those before.
    """
    level = float(np.abs(before).mean())
    return float(np.abs(image - before).mean()) / level if level else 0.0


class ChangeTrigger(FrameCallback):
    """Fires a trigger when the frames that a waiting camera shows change more than they should.

    It looks at some of the frames that the camera exposes into its ring while it waits in
    `retrospective_radiography`. Each is averaged over blocks, which keeps noise out, and compared
    with a running mean of those before. The trigger is fired with the time of the frame that
    differs, so it does not matter how late that is noticed, as long as the ring holds the frames
    from before.

    Parameters
    ----------
    trigger : RecordingTrigger
        Is fired.
    above : float
        Change that fires: the mean absolute difference from those before, over their mean.
    name : str
        Name as a subscriber.
    necessary : bool
        Whether a run fails with it; otherwise it goes on without it, and `error` tells why.

    Attributes
    ----------
    values : list of float
        The change of each frame looked at in the last run.

    Examples
    --------
    >>> from concertino.callbacks import ChangeTrigger
    >>> from concertino.frames import RecordingTrigger
    >>> change = ChangeTrigger(RecordingTrigger(), above=0.05)
    """

    def __init__(
        self,
        trigger: RecordingTrigger,
        *,
        above: float,
        name: str = "change",
        necessary: bool = False,
    ) -> None:
        if not above > 0:
            raise ParameterError(
                f"above: {above!r} was given; give the change that fires, more than 0."
            )
        super().__init__(name, necessary=necessary)
        self.values: list[float] = []
        self._trigger = trigger
        self._above = above

    def run_started(self, start: Mapping[str, Any]) -> None:
        """Forget the run before."""
        self.values = []

    def stream_started(self, stream: AnnouncedStream) -> None:
        """Look at the frames that a waiting camera shows, if the stream is of one."""
        if stream.preview:
            super().stream_started(stream)

    def subscribe(self, stream: AnnouncedStream) -> Subscription:
        """Subscribe to the newest frame that the camera shows, as often as there is one: it must not be late."""
        return subscribe(stream.preview, name=self.name, delivery="latest", refresh_hz=None)

    def take(self, stream: AnnouncedStream, subscription: Subscription) -> None:
        """Compare each frame with those before."""
        mean: NDArray[np.float32] | None = None
        for count, batch in enumerate(subscription):
            image = _blocks(batch.frames[-1])
            if mean is None:
                mean = image
            value = _mean_change(image, mean)
            self.values.append(value)
            if count >= _SETTLE and value > self._above:
                reason = (
                    f"{self.name}: {value:.4g} in frame {batch.numbers[-1]}, above {self._above:g}"
                )
                if self._trigger.fire(reason, time_ns=int(batch.timestamps[-1]) - 1, value=value):
                    LOG.info("%s", reason)
                return
            mean = mean + np.float32(_MEMORY) * (image - mean)


def _blocks(frame: NDArray[Any]) -> NDArray[np.float32]:
    """Return the means of blocks of a frame, at most 64 × 64 of them."""
    height, width = frame.shape
    rows, columns = -(-height // _BLOCKS), -(-width // _BLOCKS)
    cut = frame[: height // rows * rows, : width // columns * columns]
    blocks = cut.reshape(height // rows, rows, width // columns, columns)
    means: NDArray[np.float32] = blocks.mean(axis=(1, 3), dtype=np.float32)
    return means
