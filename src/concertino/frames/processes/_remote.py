"""A subscriber's end of a stream in another process: which kind it needs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from concertino._errors import FrameStreamError
from concertino.frames.core._messages import Fail, Welcome, shortened
from concertino.frames.sockets._connection import Connection

from ._hello import Hello, RefusedError
from ._remote_channel import RemoteChannel
from ._remote_every import SharedChannel, WireChannel
from ._remote_latest import LatestChannel

_CONNECT_S = 5.0
_AGAIN_S = 60.0


def enter(
    connection: Connection, hello: Hello, resume: bool, timeout_s: float | None
) -> RemoteChannel:
    """Introduce a subscriber and return its channel.

    Parameters
    ----------
    connection : Connection
        To the publisher; closed by the channel, or when there is none.
    hello : Hello
        Who subscribes to what.
    resume : bool
        Whether to go on as the subscriber of that name that was lost.
    timeout_s : float or None
        How long to wait for the publisher's answer, in seconds.

    Raises
    ------
    FrameStreamError
        If the publisher does not answer, refuses, or cannot be understood.
    """
    try:
        welcome = hello.say(
            connection,
            resume=resume,
            start=None,
            timeout_s=_CONNECT_S if timeout_s is None else timeout_s,
        )
        try:
            return _channel(connection, hello, welcome)
        except FrameStreamError:
            if not hello.computer or welcome.memory is None:
                raise
        # The memory is out of reach, perhaps of another user: have the pixels travel.
        hello = replace(hello, computer="")
        welcome = hello.say(
            connection, resume=True, start=None, timeout_s=min(_AGAIN_S, welcome.timeout_s)
        )
        return _channel(connection, hello, welcome)
    except RefusedError as error:
        connection.close()
        # Its kind crosses to other processes: those know the public ones.
        raise FrameStreamError(str(error)) from error
    except BaseException as error:
        with suppress(FrameStreamError):
            connection.send(Fail(reason=shortened(f"it could not subscribe: {error}")))
        connection.close()
        raise


def _channel(connection: Connection, hello: Hello, welcome: Welcome) -> RemoteChannel:
    kind: type[RemoteChannel] = LatestChannel
    if hello.delivery != "latest":
        kind = WireChannel if welcome.memory is None else SharedChannel
    return kind(connection, hello, welcome)
