"""Gives frames to a function of the user's."""

from collections.abc import Callable
from typing import Any, Literal

from numpy.typing import NDArray

from concertino import ParameterError
from concertino.consumers._capabilities import name_of
from concertino.consumers._frame_callback import AnnouncedStream, FrameCallback
from concertino.frames import Subscription, subscribe

Consume = Callable[[NDArray[Any], str, int], Any]


class FrameConsumer(FrameCallback):
    """Calls a function with each frame, in a thread of each stream's own.

    What the function raises ends that for the stream, and fails the run if this is `necessary`.

    Parameters
    ----------
    function : callable
        Takes the frame (height, width), the name of its stream and its index from 0. The frame is
        valid during the call only: copy what is to be kept.
    streams : collection of str, optional
        Streams to take; all by default.
    delivery : {"every", "latest"}
        ``every``: each frame, in order, and a slow function slows the scan: for as long as it takes if
        this is `necessary`, else for a third of the camera's `subscriber_timeout_s` in all, or for half a
        frame's time, at least a tenth of a second, while something moves. ``latest``: the newest one whenever the function has returned, at
        most `refresh_hz` a second.
    name : str
        Name as a subscriber; the function's by default.
    necessary : bool
        Whether a run fails with it; otherwise it goes on without it, and `error` tells why.
    refresh_hz : float, optional
        For ``latest``: frames taken a second at most; fewer when they are so large that copying them would slow the
        camera. None: as many as can be. See `concertino.frames.subscribe`.

    Examples
    --------
    >>> from concertino.callbacks import FrameConsumer
    >>> means = []
    >>> consumer = FrameConsumer(lambda frame, stream, index: means.append(frame.mean()))
    """

    def __init__(
        self,
        function: Consume,
        *,
        streams: tuple[str, ...] | None = None,
        delivery: Literal["every", "latest"] = "every",
        name: str | None = None,
        necessary: bool = False,
        refresh_hz: float | None = 25.0,
    ) -> None:
        if refresh_hz is not None and not refresh_hz > 0:
            raise ParameterError(
                f"refresh_hz: {refresh_hz!r} was given; give more than 0 frames a second, or None."
            )
        if not callable(function):
            raise ParameterError(
                f"function: {function!r} cannot be called. Give a function of a frame, the name of "
                "its stream and its index."
            )
        if delivery not in ("every", "latest"):
            raise ParameterError(f"delivery: {delivery!r} was given; give 'every' or 'latest'.")
        super().__init__(name or name_of(function), streams, necessary=necessary)
        self._function = function
        self._delivery: Literal["every", "latest"] = delivery
        self._refresh_hz = refresh_hz

    def subscribe(self, stream: AnnouncedStream) -> Subscription:
        """Subscribe to a stream."""
        return subscribe(
            stream.address, name=self.name, delivery=self._delivery, necessary=self.necessary,
            refresh_hz=self._refresh_hz,
        )  # fmt: skip

    def take(self, stream: AnnouncedStream, subscription: Subscription) -> None:
        """Call the function."""
        for batch in subscription:
            for index, frame in enumerate(batch.frames, batch.start):
                self._function(frame, stream.name, index)
                if self._delivery == "every":
                    subscription.acknowledge(index + 1)
