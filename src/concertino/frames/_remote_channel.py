"""A subscriber's end of a stream in another process: how it begins and ends."""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino._errors import FrameStreamError

from ._batch import Claim, Delivery
from ._connection import Connection
from ._shared_ring import map_frames
from ._transport import Channel
from ._wire import VERSION, Message, ProtocolError

_CONNECT_S = 5.0
_PART_S = 5.0


@dataclass(frozen=True)
class Hello:
    """How a subscriber introduces itself.

    Parameters
    ----------
    address : str
        Of the stream.
    path : str
        What the publisher wants to hear.
    name, delivery : str
        The subscriber.
    messages : int
        How many messages with frames may be under way to it.
    """

    address: str
    path: str
    name: str
    delivery: Delivery
    messages: int


class RemoteChannel(Channel):
    """What both kinds of delivery have in common.

    Parameters
    ----------
    connection : Connection
        To the publisher; closed by the channel.
    hello : Hello
        Who subscribes to what.
    resume : bool
        Whether to go on as the subscriber of that name that was lost.
    timeout_s : float or None
        How long to wait for the publisher's answer, in seconds.
    """

    def __init__(
        self, connection: Connection, hello: Hello, resume: bool, timeout_s: float | None
    ) -> None:
        self._connection = connection
        self._hello = hello
        self._end: Message | None = None
        self._given_up = False
        try:
            welcome = self._enter(resume, None, _CONNECT_S if timeout_s is None else timeout_s)
            height, width = welcome["shape"]
            self.shape = (int(height), int(width))
            self.dtype = np.dtype(welcome["dtype"])
            self.label = str(welcome["label"])
            self._published = int(welcome["published"])
            self._timeout_s = float(welcome["timeout_s"])
            self._start = int(welcome["start"])
            self._start_digest = int(welcome["digest"])
            memory = welcome["memory"]
            self._capacity = int(welcome["capacity"])
            self._shared: NDArray[Any] | None = None
            if memory is not None:
                self._shared = map_frames(memory, self._capacity, self.shape, self.dtype)
            connection.attend(self.label, self._timeout_s, memory)
        except BaseException as error:
            if not isinstance(error, _RefusedError):
                connection.send("fail", reason=f"it could not subscribe: {error}")
            connection.close()
            raise

    def _enter(self, resume: bool, start: int | None, timeout_s: float) -> Message:
        hello = self._hello
        self._connection.send(
            "hello",
            version=VERSION,
            stream=hello.path,
            name=hello.name,
            delivery=hello.delivery,
            resume=resume,
            start=start,
            messages=hello.messages,
        )
        deadline = time.monotonic() + timeout_s
        while (received := self._connection.get(deadline - time.monotonic())) is not None:
            message, _ = received
            if message["kind"] == "welcome":
                return message
            if message["kind"] == "refused":
                raise _RefusedError(str(message["reason"]))
        raise _RefusedError(
            f"Subscriber {hello.name!r} found no frame stream at {hello.address}: nobody answered "
            f"within {timeout_s:g} s. It has ended, or its process or computer cannot be reached."
        )

    def _next_message(self, deadline: float | None) -> tuple[Message, memoryview | None] | None:
        """Return the next message with frames or the end, None at the deadline."""
        while True:
            wait_s = None if deadline is None else deadline - time.monotonic()
            received = self._connection.get(wait_s)
            if received is None:
                return None
            message, _ = received
            kind = message["kind"]
            if "published" in message:
                self._published = int(message["published"])
            if kind in ("frames", "nothing"):
                return received
            if kind == "end":
                self._end = message
                return received
            if kind == "error":
                self._given_up = True
                raise FrameStreamError(str(message["reason"]))
            if kind == "unknown":
                self._return()

    def _return(self) -> None:
        """Introduce oneself again after the connection was cut."""
        self._enter(True, self._next_start(), self._timeout_s)

    @abstractmethod
    def _next_start(self) -> int | None:
        """Return the frame to go on with."""

    def _late(self, timeout_s: float | None) -> TimeoutError:
        return TimeoutError(
            f"No frame on stream {self.label} within {timeout_s or 0:g} s; "
            f"{self._published} were published."
        )

    def _failure(self) -> FrameStreamError | None:
        """Return why the stream failed, when its end has come."""
        if self._end is None or self._end["reason"] is None:
            return None
        return FrameStreamError(
            f"Frame stream {self.label} failed after {self._end['count']} frames: "
            f"{self._end['reason']}"
        )

    def claim(self, claim: Claim) -> None:
        if not self._tell("claim", ("claimed",), self._timeout_s, **asdict(claim)):
            raise FrameStreamError(
                f"The publisher of frame stream {self.label} did not answer a claim within "
                f"{self._timeout_s:g} s."
            )

    def _tell(self, kind: str, answers: tuple[str, ...], wait_s: float, **fields: Any) -> bool:
        """Say something until it was heard; tell whether it was within its time.

        Raises
        ------
        FrameStreamError
            If the publisher will not hear it, or is dead.
        """
        self._connection.send(kind, **fields)
        deadline = time.monotonic() + wait_s
        while (received := self._connection.get(deadline - time.monotonic())) is not None:
            message, payload = received
            if message["kind"] in answers:
                return True
            if message["kind"] == "error":
                self._given_up = True
                raise FrameStreamError(str(message["reason"]))
            if message["kind"] == "unknown":
                self._return()
                self._connection.send(kind, **fields)
            self._set_aside(message, payload)
        return False

    @abstractmethod
    def _set_aside(self, message: Message, payload: memoryview | None) -> None:
        """Keep a message that came while waiting for another."""

    def fail(self, reason: str) -> None:
        self._part("fail", reason=reason)

    def finish(self) -> None:
        if self._connection.lost:
            # Should it come to life again, it must not go on for nobody.
            self._part("fail", reason="it took the publisher for dead, which was silent")
        else:
            self._part("finish")

    def alive(self) -> None:
        self._connection.send("alive")

    def _part(self, kind: str, **fields: object) -> None:
        """Say goodbye, and wait until it is heard when the publisher counts on us."""
        try:
            counted_on = self._hello.delivery == "every" and not self._given_up
            if counted_on and self._failure() is None and not self._connection.lost:
                self._tell(kind, ("bye",), min(_PART_S, self._timeout_s), **fields)
            else:
                self._connection.send(kind, **fields)
        except FrameStreamError:
            return  # The publisher is dead, or has given us up: nobody is left to tell.
        finally:
            self._connection.close()

    def _malformed(self, error: Exception) -> ProtocolError:
        return ProtocolError(
            f"A message of frame stream {self.label} is malformed: {error}. Its publisher does not "
            f"speak version {VERSION} of the frame protocol."
        )


class _RefusedError(FrameStreamError):
    """The publisher does not know us, so that there is nothing to take back."""
