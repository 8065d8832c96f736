"""Where subscribers from other processes reach a stream: one thread that speaks the protocol."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import zmq

from concertino._errors import FrameStreamError, ParameterError
from concertino.frames.core._batch import Delivery
from concertino.frames.core._flow import SubscriberState
from concertino.frames.core._messages import (
    LONGEST_S,
    VERSION,
    Alive,
    Credit,
    Hello,
    Newest,
    ProtocolError,
    Refusal,
    Refused,
    Unknown,
    Welcome,
    from_subscriber,
    pack,
    shortened,
    version_error,
)
from concertino.frames.core._shared_ring import this_computer
from concertino.frames.sockets._door import Door
from concertino.frames.sockets._listening import next_listening

from ._subscriber_connection import Outgoing, SubscriberConnection

if TYPE_CHECKING:
    from concertino.frames.core._published import PublishedStream

_LOG = logging.getLogger(__name__)
_LOOK_S = 0.4
_MESSAGES_AT_ONCE = 64
_JOIN_S = 5.0
#: What changes nothing for the publisher.
_NO_NEWS = (Credit, Newest, Alive)


class StreamServer:
    """Serves one stream on one ROUTER socket.

    Parameters
    ----------
    stream : PublishedStream
        What is served.
    socket : zmq.Socket
        Bound; the gate's thread uses and closes it.
    door : Door
        Of that socket.
    address : str
        What subscribers connect to.
    path : str
        What they must say to get this stream.
    """

    def __init__(
        self,
        stream: PublishedStream,
        socket: zmq.Socket[bytes],
        door: Door,
        address: str,
        path: str,
    ) -> None:
        self.address = address
        self._stream = stream
        self._socket = socket
        self._door = door
        door.be_patient(stream.timeout_s)
        self._path = path
        self._computer = this_computer()
        self._peers: dict[bytes, SubscriberConnection] = {}
        self._hungry = True
        self._all_share, self._any_every = True, False
        self._news = 0
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        weakref.finalize(self, os.close, self._bell)
        self._look_s = min(_LOOK_S, stream.timeout_s / 8)
        self._looked_s = time.monotonic()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"frames {stream.name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Have the thread look what is new, unless nobody can be sent anything now."""
        if self._closing or not (self._hungry or self._urgent):
            return
        self._hungry = False
        os.eventfd_write(self._bell, 1)

    @property
    def _urgent(self) -> bool:
        """Whether the publisher waits for what somebody here says, or somebody here for its end."""
        flow = self._stream.flow
        return (flow.wants_credit and self._any_every) or (flow.ended and bool(self._peers))

    def close(self) -> None:
        """Tell subscribers what they have not been told, and become unreachable."""
        if self._closing:
            return
        self._closing = True
        os.eventfd_write(self._bell, 1)
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        bell, both = zmq.Poller(), zmq.Poller()
        bell.register(self._bell, zmq.POLLIN)
        both.register(self._bell, zmq.POLLIN)
        both.register(self._socket, zmq.POLLIN)
        both.register(self._door.monitor, zmq.POLLIN)
        flow, heard_s, messages = self._stream.flow, 0.0, 0
        try:
            while not self._closing:
                listens, wait_ms = next_listening(
                    1000 * (time.monotonic() - heard_s),
                    messages,
                    urgent=self._urgent,
                    spare=self._all_share and flow.credit > flow.capacity // 2,
                    strangers=self._door.waiting,
                    look_ms=int(1000 * self._look_s),
                )
                events = dict((both if listens else bell).poll(wait_ms))
                if self._bell in events:
                    os.eventfd_read(self._bell)
                if self._door.monitor in events or self._door.waiting:
                    self._door.look()
                if self._socket in events:
                    messages, heard_s = self._hear(), time.monotonic()
                self._serve()
                self._look_for_silence()
            self._part()
        except Exception as error:
            self._end_with(error)
        finally:
            # Nobody waits for a publisher that does not serve: it is as unreachable as after its end.
            self._closing = True
            self._door.close()
            self._socket.close()

    def _end_with(self, error: Exception) -> None:
        """Fail the stream, which nobody can be served any more, and tell all whom it concerns."""
        _LOG.exception("The thread that serves frame stream %s has ended", self._stream.name)
        failure = FrameStreamError(
            f"The thread that serves frame stream {self._stream.name} to other processes has ended: "
            f"{type(error).__name__}: {error}. This is a fault of Concertino; please report it."
        )
        failure.__cause__ = error
        self._stream.fail(failure)
        for identity, peer in self._peers.items():
            with self._stream.changed:
                self._stream.flow.fail_party(peer.party, str(failure))
                self._stream.changed.notify_all()
            with suppress(zmq.ZMQError):  # It may be what has failed.
                self._send(identity, (Refusal(shortened(str(failure))), None))
        self._stream.notify()

    def _hear(self) -> int:
        """Take the messages that are there, at most so many that frames still leave in time; count them."""
        before, count = self._news, 0
        while count < _MESSAGES_AT_ONCE and int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            count += 1
            try:
                line, identity, parts = self._receive()
            except zmq.Again:
                break
            for outgoing in self._answer(identity, parts):
                self._send(identity, outgoing)
            if line is not None and identity in self._peers:
                self._door.admit(line)
        if self._news > before:
            with self._stream.changed:
                self._stream.changed.notify_all()
            self._stream.notify()
        return count

    def _receive(self) -> tuple[int | None, bytes, list[bytes]]:
        """Return the next message, and the number of the line it came on if somebody waits at the door."""
        if not self._door.waiting:
            identity, *parts = self._socket.recv_multipart(zmq.NOBLOCK)
            return None, identity, parts
        frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
        line = -1
        with suppress(zmq.ZMQError):  # those who speak a very old protocol have none
            line = int(frames[0].get(zmq.SRCFD))
        return line, frames[0].bytes, [frame.bytes for frame in frames[1:]]

    def _answer(self, identity: bytes, parts: list[bytes]) -> list[Outgoing]:
        """Act on a message and return the answers; whoever breaks the protocol is refused, nobody else."""
        try:
            if len(parts) != 1:
                raise ProtocolError(
                    f"A message of {len(parts)} parts arrived; a subscriber's has one."
                )
            message = from_subscriber(parts[0])
            self._news += not isinstance(message, _NO_NEWS)
            peer = self._peers.get(identity)
            if isinstance(message, Hello):
                return [self._welcome(identity, message)]
            if peer is None:
                return [(Unknown(), None)]
            with self._stream.changed:
                return list(peer.take(message))
        except FrameStreamError as error:
            reason = str(error)
        except Exception as error:
            _LOG.exception("A message of a subscriber of frame stream %s", self._stream.name)
            reason = f"It could not be acted on: {type(error).__name__}: {error}."
        self._news += 1
        return [self._refuse(identity, reason)]

    def _refuse(self, identity: bytes, reason: str) -> Outgoing:
        """Give up the subscriber of one connection, if it has one."""
        peer = self._peers.get(identity)
        if peer is not None:
            peer.wanted, peer.told_end = None, True
            with self._stream.changed:
                self._stream.flow.fail_party(peer.party, reason)
        return Refusal(shortened(reason)), None

    def _welcome(self, identity: bytes, hello: Hello) -> Outgoing:
        """Admit a subscriber, or refuse it with a sentence."""
        stream = self._stream
        flow, ring = stream.flow, stream.ring
        try:
            party = self._admit(hello)
        except (FrameStreamError, ParameterError) as error:
            return Refused(shortened(str(error))), None
        near = bool(hello.computer) and hello.computer == self._computer
        memory = ring.lend() if near else None
        self._peers[identity] = SubscriberConnection(
            stream, party, memory is not None, hello.messages
        )
        self._all_share = all(peer.shares_memory for peer in self._peers.values())
        self._any_every = any(peer.every for peer in self._peers.values())
        return (
            Welcome(
                version=VERSION,
                label=flow.label,
                shape=ring.shape,
                dtype=ring.dtype.str,
                capacity=ring.capacity,
                timeout_s=min(flow.timeout_s, LONGEST_S),
                start=party.received,
                digest=party.digest,
                published=flow.published,
                memory=memory,
            ),
            None,
        )

    def _admit(self, hello: Hello) -> SubscriberState:
        flow, name = self._stream.flow, hello.name
        if hello.version != VERSION:
            raise ProtocolError(version_error(f"Subscriber {name!r}", hello.version))
        if hello.stream != self._path:
            raise FrameStreamError(
                f"Subscriber {name!r} found no frame stream at the address it gave; there is "
                "another stream, perhaps a newer one. Use the address in the descriptor."
            )
        delivery = cast(Delivery, hello.delivery)  # `Flow.join` refuses others
        with self._stream.changed:
            party = flow.resume(name, delivery, hello.start) if hello.resume else None
            if party is None:
                party = flow.join(name, delivery, hello.necessary)
            return party

    def _serve(self) -> None:
        # While this looks, a frame that comes must ring the bell, or it might be overlooked.
        self._hungry = True
        hungry = False
        for identity, peer in self._peers.items():
            if peer.party.state != "replaced":
                for outgoing in peer.due():
                    self._send(identity, outgoing)
                hungry = hungry or peer.hungry
        self._hungry = hungry

    def _send(self, identity: bytes, outgoing: Outgoing) -> None:
        message, payload = outgoing
        # A ROUTER never blocks: what a subscriber that is gone, or does not listen, has not taken is dropped.
        if payload is None:
            self._socket.send_multipart((identity, pack(message)), zmq.NOBLOCK)
        else:
            self._socket.send_multipart((identity, pack(message), payload), zmq.NOBLOCK, copy=False)

    def _look_for_silence(self) -> None:
        flow, now_s = self._stream.flow, time.monotonic()
        if flow.error is None and now_s - self._looked_s > self._look_s:
            self._looked_s = now_s
            with self._stream.changed:
                flow.check_silence()
                if flow.error is None:
                    return
                self._stream.changed.notify_all()
            self._stream.notify()

    def _part(self) -> None:
        """Let nobody wait for what will not come."""
        self._serve()
        for identity, peer in self._peers.items():
            if peer.told_end or peer.party.state == "replaced":
                continue
            if not peer.every and self._stream.flow.newest >= 0:
                self._send(identity, peer.newest(-1, inline=True))
            self._send(identity, peer.end())
