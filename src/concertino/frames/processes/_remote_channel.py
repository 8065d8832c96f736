"""A subscriber's end of a stream in another process: how it begins and ends."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Any

import numpy as np

from concertino._errors import FrameStreamError
from concertino.frames.core._batch import Claim
from concertino.frames.core._channel import Channel
from concertino.frames.core._messages import (
    VERSION,
    Alive,
    Bye,
    Claimed,
    ClaimFrames,
    End,
    Fail,
    Finish,
    Frames,
    FromPublisher,
    Heartbeat,
    Message,
    More,
    Nothing,
    ProtocolError,
    Refusal,
    Unknown,
    Welcome,
    shortened,
)
from concertino.frames.core._shared_ring import MappedRing
from concertino.frames.sockets._connection import Connection, Received

from ._hello import Hello

_PART_S = 5.0
#: A publisher that lives answers at once; what it says of its patience does not bind this side.
_ANSWER_S = 60.0


class RemoteChannel(Channel):
    """What all of them have in common.

    Parameters
    ----------
    connection : Connection
        To the publisher; closed by the channel.
    hello : Hello
        Who subscribes to what.
    welcome : Message
        What the publisher answered.
    """

    def __init__(self, connection: Connection, hello: Hello, welcome: Welcome) -> None:
        self._connection = connection
        self._hello = hello
        self._end: End | None = None
        self._given_up = False
        height, width = welcome.shape
        self.shape = (height, width)
        self.label = welcome.label
        self.dtype = self._pixel_type(welcome.dtype)
        self._published = welcome.published
        self._timeout_s = welcome.timeout_s
        self._ring: MappedRing | None = None
        if welcome.memory is not None:
            self._ring = MappedRing(welcome.memory, welcome.capacity, (height, width), self.dtype)
        self.verifies = self._ring is None
        path = None if self._ring is None else self._ring.path
        connection.attend(self.label, self._timeout_s, path)

    @property
    def given_up(self) -> bool:
        return self._given_up

    def _pixel_type(self, name: str) -> np.dtype[Any]:
        try:
            return np.dtype(name)
        except TypeError as error:
            raise self._malformed(error) from error

    def _next_message(self, deadline: float | None) -> Received | None:
        """Return the next message with frames or the end, None at the deadline."""
        while True:
            wait_s = None if deadline is None else deadline - time.monotonic()
            received = self._connection.get(wait_s)
            if received is None:
                return None
            message, _ = received
            if isinstance(message, Heartbeat | More | Nothing):
                self._published = message.published
            if isinstance(message, Frames | Nothing | More):
                return received
            if isinstance(message, End):
                self._end = message
                return received
            if isinstance(message, Refusal):
                self._given_up = True
                raise FrameStreamError(message.reason)
            if isinstance(message, Unknown):
                self._return()
            if deadline is not None and time.monotonic() >= deadline:
                return None

    def _return(self) -> None:
        """Introduce oneself again after the connection was cut."""
        self._hello.say(
            self._connection,
            resume=True,
            start=self._next_start(),
            timeout_s=min(_ANSWER_S, self._timeout_s),
        )

    @abstractmethod
    def _next_start(self) -> int | None:
        """Return the frame to go on with."""

    def _received(self) -> int:
        """Return how many frames were received."""
        return 0

    def _late(self, timeout_s: float | None) -> TimeoutError:
        return TimeoutError(
            f"No frame on stream {self.label} within {timeout_s or 0:g} s; "
            f"{self._published} were published."
        )

    def _failure(self) -> FrameStreamError | None:
        """Return why the stream failed, when its end has come."""
        if self._end is None or self._end.reason is None:
            return None
        return FrameStreamError(
            f"Frame stream {self.label} failed after {self._end.count} frames: {self._end.reason}"
        )

    def claim(self, claim: Claim) -> None:
        said = ClaimFrames(claim.uri, claim.mimetype, claim.parameters, claim.durability)
        wait_s = min(_ANSWER_S, self._timeout_s)
        if not self._tell(said, Claimed, wait_s):
            raise FrameStreamError(
                f"The publisher of frame stream {self.label} did not answer a claim within "
                f"{wait_s:g} s. See whether its process runs, or was stopped."
            )

    def _tell(self, said: Message, answer: type[Message], wait_s: float) -> bool:
        """Say something until it was heard; tell whether it was within its time.

        Raises
        ------
        FrameStreamError
            If the publisher will not hear it, or is dead.
        """
        self._connection.send(said)
        deadline = time.monotonic() + wait_s
        while (received := self._connection.get(deadline - time.monotonic())) is not None:
            message, payload = received
            if isinstance(message, answer):
                return True
            if isinstance(message, Refusal):
                self._given_up = True
                raise FrameStreamError(message.reason)
            if isinstance(message, Unknown):
                self._return()
                self._connection.send(said)
            self._set_aside(message, payload)
            if time.monotonic() >= deadline:
                break
        return False

    @abstractmethod
    def _set_aside(self, message: FromPublisher, payload: memoryview | None) -> None:
        """Keep a message that came while waiting for another."""

    def fail(self, reason: str) -> None:
        self._part(Fail(reason=shortened(reason)))

    def finish(self) -> None:
        if self._connection.lost:
            # Should it come to life again, it must not go on for nobody.
            self._part(Fail(reason="it took the publisher for dead, which was silent"))
        else:
            self._part(Finish(received=self._received()))

    def alive(self) -> None:
        self._connection.send(Alive())

    def _part(self, said: Fail | Finish) -> None:
        """Say goodbye, and wait until it is heard when the publisher counts on us."""
        try:
            counted_on = self._hello.delivery == "every" and not self._given_up
            if counted_on and self._failure() is None and not self._connection.lost:
                self._tell(said, Bye, min(_PART_S, self._timeout_s))
            else:
                self._connection.send(said)
        except FrameStreamError:
            return  # The publisher is dead, or has given us up: nobody is left to tell.
        finally:
            self._connection.close()

    def _malformed(self, error: Exception) -> ProtocolError:
        return ProtocolError(
            f"A message of frame stream {self.label} is malformed: {error}. Its publisher does not "
            f"speak version {VERSION} of the frame protocol; update it."
        )
