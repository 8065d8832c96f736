"""The subscriber's side of a frame stream."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np

from ._batch import Claim, Delivery, FrameBatch
from ._transport import Channel, transport_for


class Subscription:
    """Reads the frames of one stream. Made by `subscribe`; used by one thread.

    Attributes
    ----------
    address, name : str
        The stream and the subscriber.
    delivery : {"every", "latest"}
        How frames are delivered.
    """

    def __init__(self, channel: Channel, address: str, name: str, delivery: Delivery) -> None:
        self._channel = channel
        self._open = True
        self._ended = False
        self.address = address
        self.name = name
        self.delivery = delivery

    @property
    def shape(self) -> tuple[int, int]:
        """Frame shape (height, width) in pixels."""
        return self._channel.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""
        return self._channel.dtype

    def read(
        self, max_frames: int | None = None, timeout_s: float | None = None
    ) -> FrameBatch | None:
        """Return the next frames, or None when the stream has ended and all were read.

        Parameters
        ----------
        max_frames : int, optional
            At most so many frames; as many as are there by default.
        timeout_s : float, optional
            How long to wait for one, in seconds; as long as it takes by default.

        Raises
        ------
        TimeoutError
            If no frame came within `timeout_s`.
        FrameStreamError
            If the stream failed; all that was published before is delivered first.
        """
        batch = self._channel.receive(max_frames, timeout_s)
        self._ended = batch is None
        return batch

    def __iter__(self) -> Iterator[FrameBatch]:
        while (batch := self.read()) is not None:
            yield batch

    def claim(self, claim: Claim) -> None:
        """Say where the frames are stored and how they can be read back."""
        self._channel.claim(claim)

    def acknowledge(self, stop: int) -> None:
        """Declare frames ``[0, stop)`` safe; their slots may be used again.

        Raises
        ------
        FrameStreamError
            If they were not received.
        """
        self._channel.acknowledge(stop)

    def alive(self) -> None:
        """Say that a long piece of work goes on, so that silence is not taken for death."""
        self._channel.alive()

    def fail(self, error: BaseException | str) -> None:
        """Tell the publisher that this subscriber failed, and why; its run fails with that."""
        reason = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        self._open = False
        self._channel.fail(reason)

    def finish(self) -> None:
        """Say that all frames were read and all work on them is done."""
        if self._open:
            self._open = False
            self._channel.finish()

    def close(self) -> None:
        """Leave the stream: `finish` when it has ended or only displays, else `fail`."""
        if not self._open:
            return
        if self._ended or self.delivery == "latest":
            self.finish()
        else:
            self.fail("it left before the end of the stream")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and self._open and self.delivery == "every":
            self.fail(error)
        self.close()

    def __repr__(self) -> str:
        return f"<Subscription {self.name!r} to {self.delivery} frame of {self.address}>"


def subscribe(
    address: str,
    *,
    name: str,
    delivery: Delivery = "every",
    claim: Claim | None = None,
    timeout_s: float | None = None,
) -> Subscription:
    """Connect to a frame stream.

    Parameters
    ----------
    address : str
        Of the stream, as its descriptor shows it.
    name : str
        Who subscribes; unique among the stream's subscribers, and shown in messages.
    delivery : {"every", "latest"}
        ``every``: each frame, in order, once, acknowledged when safe. ``latest``: only the newest,
        whenever ready; never slows anybody.
    claim : Claim, optional
        Where the frames will be stored, when this subscriber stores them.
    timeout_s : float, optional
        How long to try to connect, in seconds.

    Returns
    -------
    Subscription
        Use it as a context manager: leaving it with an error fails the stream.

    Raises
    ------
    FrameStreamError
        If there is no such stream, the name is taken, or frames are gone already.
    """
    channel = transport_for(address).connect(
        address, name=name, delivery=delivery, timeout_s=timeout_s
    )
    subscription = Subscription(channel, address, name, delivery)
    if claim is not None:
        subscription.claim(claim)
    return subscription
