"""How a subscriber introduces itself to a publisher in another process."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

from concertino._errors import FrameStreamError

from ._batch import Delivery
from ._connection import Connection
from ._parts import Part
from ._wire import VERSION, Message


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
        Where it lives, if it would find frames in the publisher's memory there.
    part : Part, optional
        What it takes of the stream; all by default.
    """

    address: str
    path: str
    name: str
    delivery: Delivery
    messages: int
    computer: str = ""
    part: Part | None = None

    def say(
        self, connection: Connection, *, resume: bool, start: int | None, timeout_s: float
    ) -> Message:
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
        """
        connection.send(
            "hello",
            version=VERSION,
            stream=self.path,
            name=self.name,
            delivery=self.delivery,
            resume=resume,
            start=start,
            messages=self.messages,
            computer=self.computer,
            part=None if self.part is None else asdict(self.part),
        )
        deadline = time.monotonic() + timeout_s
        while (received := connection.get(deadline - time.monotonic())) is not None:
            message, _ = received
            if message["kind"] == "welcome":
                return message
            if message["kind"] == "refused":
                raise RefusedError(str(message["reason"]))
        raise RefusedError(
            f"Subscriber {self.name!r} found no frame stream at {self.address}: nobody answered "
            f"within {timeout_s:g} s. It has ended, or its process or computer cannot be reached."
        )
