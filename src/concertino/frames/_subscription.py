"""The subscriber's side of a frame stream."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from numbers import Real
from typing import Any, Self

import numpy as np

from concertino._errors import FrameStreamError, ParameterError

from ._direct import enter_here
from .core._batch import Claim, Delivery, FrameBatch
from .core._channel import Channel
from .core._ring import frame_checksum
from .core._rows import stretches
from .processes._tcp import connect
from .sockets._routes import routed

#: The share of its time that a subscriber to the newest frame spends on fetching: eight of them leave nine tenths of two processor cores.
_SHARE = 1 / 40
_LONGEST_S = 0.5  # that it rests: by a socket, waiting for a frame costs processor time, too


class _PollPace:
    """When to look again: not sooner than there is something to see, nor than can be spared.

    Without it, a subscriber to the newest frame fetches one after the other, and takes the processor and the memory from
    the camera.

    Parameters
    ----------
    refresh_hz : float
        Frames taken a second at most.
    """

    def __init__(self, refresh_hz: float) -> None:
        self._period_s = 1 / refresh_hz
        self._due_s = 0.0

    def rest(self) -> None:
        """Wait until it is time."""
        time.sleep(max(0.0, self._due_s - time.monotonic()))

    def looked(self, cpu_s: float) -> None:
        """Note that a frame was fetched, and how much processor time it took in seconds."""
        self._due_s = time.monotonic() + max(self._period_s, min(cpu_s / _SHARE, _LONGEST_S))


class Subscription:
    """Reads the frames of one stream. Made by `subscribe`; used by one thread.

    Attributes
    ----------
    address, name : str
        The stream and the subscriber.
    delivery : {"every", "latest"}
        How frames are delivered.
    """

    def __init__(
        self,
        channel: Channel,
        address: str,
        name: str,
        delivery: Delivery,
        verify: bool,
        refresh_hz: float | None = None,
    ) -> None:
        self._channel = channel
        self._verify = verify
        self._open = True
        self._ended = False
        self._stream_failed = False
        self._abandoned = ""
        self._pace = _PollPace(refresh_hz) if refresh_hz and delivery == "latest" else None
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

    @property
    def given_up(self) -> bool:
        """Whether the publisher gave this subscriber up, as far as that was heard."""
        return self._channel.given_up

    @property
    def intact(self) -> bool:
        """Whether the frames that were read and not acknowledged still are what was published."""
        return self._channel.intact

    def read(
        self, max_frames: int | None = None, timeout_s: float | None = None
    ) -> FrameBatch | None:
        """Return the next frames, or None when the stream has ended and all were read.

        Parameters
        ----------
        max_frames : int, optional
            At most so many frames; as many as are there by default.
        timeout_s : float, optional
            How long to wait for one, in seconds; as long as it takes by default, and then the newest frame is not
            fetched more often than `refresh_hz` allows.

        Raises
        ------
        TimeoutError
            If no frame came within `timeout_s`.
        FrameStreamError
            If the stream failed; all that was published before is delivered first. Or if this
            subscription is closed, was given up, or got other bytes than were published.
        """
        if not self._open:
            raise FrameStreamError(
                f"Subscriber {self.name!r} of frame stream {self.address} has left it; subscribe "
                "again to read on."
            )
        if self._abandoned:
            raise FrameStreamError(
                f"{self.name} left frame stream {self.address}: {self._abandoned.rstrip('.')}."
            )
        if max_frames is not None and max_frames < 1:
            raise ParameterError(f"max_frames: {max_frames} was given; give 1 or more, or None.")
        pace = self._pace if timeout_s is None else None
        if pace is not None:
            pace.rest()
            began_s = time.thread_time()
        try:
            batch = self._channel.receive(max_frames, timeout_s)
        except FrameStreamError:
            self._stream_failed = True
            raise
        self._ended = batch is None
        if batch is not None and self._verify:
            self._check_bytes(batch)
        if pace is not None:
            pace.looked(time.thread_time() - began_s)
        return batch

    def _check_bytes(self, batch: FrameBatch) -> None:
        for offset in range(len(batch)):
            found, sent = frame_checksum(batch.frames[offset]), int(batch.checksums[offset])
            if found != sent:
                error = FrameStreamError(
                    f"Frame {batch.start + offset} of frame stream {self.address} reached "
                    f"{self.name!r} with other bytes than were published: its checksum is "
                    f"{found:016x} instead of {sent:016x}. Check the network and the memory between them."
                )
                self.fail(error)
                raise error

    def __iter__(self) -> Iterator[FrameBatch]:
        while (batch := self.read()) is not None:
            yield batch

    def claim(self, claim: Claim) -> None:
        """Say where the frames are stored and how they can be read back."""
        self._channel.claim(claim)

    def acknowledge(self, stop: int) -> None:
        """Declare frames ``[0, stop)`` safe; their slots may be used again.

        As long as this returns, all that was read of them is what was published: the slots of frames that are not
        acknowledged are used again only after this subscriber was given up, and then it raises.

        Raises
        ------
        FrameStreamError
            If they were not received, or this subscriber was given up and they may have been overwritten.
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

    def abandon(self, reason: str) -> None:
        """Have the next `read` fail with a reason, and with it this subscriber; from any thread."""
        self._abandoned = reason

    def finish(self) -> None:
        """Say that all frames were read and all work on them is done."""
        if self._open:
            self._open = False
            self._channel.finish()

    def close(self) -> None:
        """Leave the stream: `finish` when it has ended or failed or only displays, else `fail`."""
        if not self._open:
            return
        if self._ended or self._stream_failed or self.delivery == "latest":
            self.finish()
        else:
            self.fail("it left before the end of the stream")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None and self._open and not self._stream_failed:
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
    verify: bool | None = None,
    resume: bool = False,
    timeout_s: float | None = None,
    necessary: bool = True,
    refresh_hz: float | None = 25.0,
    rows: Iterable[int] | None = None,
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
    verify : bool, optional
        Whether to compare the bytes of each frame with its checksum when it is read. By default
        when they came over a network.
    resume : bool
        Go on as the subscriber of that name that was lost, with the first frame that it had not
        acknowledged. It may also be the first of that name.
    timeout_s : float, optional
        How long to try to connect, in seconds.
    necessary : bool
        Whether the stream must fail when this subscriber fails or falls silent. One that is not
        necessary is detached instead: a warning and the stream's ledger say why, and publisher and
        others go on. It also is when it is a whole ring behind and has held up the publisher for the
        stream's `patience_s` in all: a third of its time-out, or half a frame's time (at least 0.1 s) while
        something moves; and when it is not done a time-out after all frames were safe.
    refresh_hz : float, optional
        For ``latest``: so many frames a second are fetched at most, and fewer, but about two, when fetching them takes
        more than a fortieth of the time, so that who looks lives on what is left by those who take every frame. None:
        as many as can be. A read with a time-out keeps no pace: its caller does.
    rows : iterable of int, optional
        For ``every``: the rows of the frames that are needed; what the others hold is not said then. All by default.
        Where nobody needs the others a camera that reads its frames from a file may leave them out, which spares whoever
        writes it. Of a stream of another process all rows come.

    Returns
    -------
    Subscription
        Use it as a context manager: leaving it with an error fails the stream.

    Raises
    ------
    FrameStreamError
        If there is no such stream, the name is taken, or frames are gone already.
    ParameterError
        If `refresh_hz` is not above 0.
    """
    if refresh_hz is not None and not (isinstance(refresh_hz, Real) and refresh_hz > 0):
        raise ParameterError(
            f"refresh_hz: {refresh_hz!r} was given for subscriber {name!r}; give more than 0 frames a second, or "
            "None for as many as can be."
        )
    address = routed(address)
    needed = None if rows is None or delivery != "every" or verify else stretches(rows)
    channel: Channel = enter_here(
        address, name, delivery, resume, necessary, needed
    ) or connect(
        address, name=name, delivery=delivery, resume=resume, timeout_s=timeout_s,
        necessary=necessary,
    )  # fmt: skip
    if verify is None:
        verify = channel.verifies
    subscription = Subscription(channel, address, name, delivery, verify, refresh_hz)
    if claim is not None:
        try:
            subscription.claim(claim)
        except BaseException as error:
            subscription.fail(error)
            raise
    return subscription
