"""How a subscriber introduces itself to a publisher in another process."""

from __future__ import annotations

import time
from dataclasses import dataclass

from concertino._errors import FrameStreamError
from concertino.frames.core._batch import Delivery
from concertino.frames.core._messages import VERSION, Refusal, Refused, Welcome, version_error
from concertino.frames.core._messages import Hello as HelloMessage
from concertino.frames.sockets._connection import Connection


class RefusedError(FrameStreamError):
    """The publisher does not know the subscriber, so that there is nothing to take back."""


@dataclass(frozen=True)
class Hello:
    """Who subscribes to what.

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
    computer : str
        Where it lives, if it would find frames in the publisher's memory there; empty otherwise.
    necessary : bool
        Whether the stream fails with it.
    """

    address: str
    path: str
    name: str
    delivery: Delivery
    messages: int
    computer: str
    necessary: bool

    def say(
        self, connection: Connection, *, resume: bool, start: int | None, timeout_s: float
    ) -> Welcome:
        """Say it and return the publisher's welcome.

        Parameters
        ----------
        connection : Connection
            To the publisher.
        resume : bool
            Whether to go on as the subscriber of that name that was lost.
        start : int or None
            The frame to go on with; None for the first that was not acknowledged.
        timeout_s : float
            How long to wait for the answer, in seconds.

        Raises
        ------
        RefusedError
            If the publisher does not answer, or refuses.
        FrameStreamError
            At once if what listens there is none, or keys are on one side only.
        """
        connection.send(
            HelloMessage(
                version=VERSION,
                stream=self.path,
                name=self.name,
                delivery=self.delivery,
                resume=resume,
                start=start,
                messages=self.messages,
                computer=self.computer,
                necessary=self.necessary,
            )
        )
        deadline = time.monotonic() + timeout_s
        while (received := connection.get(deadline - time.monotonic())) is not None:
            message, _ = received
            if isinstance(message, Welcome):
                if message.version != VERSION:
                    raise RefusedError(
                        version_error(f"The publisher at {self.address}", message.version)
                    )
                return message
            if isinstance(message, Refused | Refusal):
                raise RefusedError(message.reason)
            if time.monotonic() >= deadline:
                break
        raise RefusedError(
            f"Subscriber {self.name!r} found no frame stream at {self.address}: nobody answered "
            f"within {timeout_s:g} s. {connection.found()}"
        )
