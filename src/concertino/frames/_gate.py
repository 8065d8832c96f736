"""Where subscribers from other processes reach a stream: one thread that speaks the protocol."""

from __future__ import annotations

import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import zmq

from concertino._errors import FrameStreamError, ParameterError

from ._parts import Part
from ._peer import Outgoing, Peer
from ._transport import Endpoint
from ._wire import VERSION, Message, ProtocolError, pack, unpack

if TYPE_CHECKING:
    from ._stream import FrameStream

_LOOK_S = 1.0
_MESSAGES_AT_ONCE = 64
#: Unless the publisher waits for it, what subscribers say is heard at most so often: each time costs more
#: than a message.
_NAP_MS = 1
#: Many acknowledgements of frames in shared memory, which the publisher can do without for a while, are heard
#: together: each waking of this thread takes the interpreter from the one that publishes.
_LONG_NAP_MS = 8
_JOIN_S = 5.0
#: What changes nothing for the publisher.
_NO_NEWS = ("credit", "newest", "alive")


class Gate(Endpoint):
    """Serves one stream on one ROUTER socket.

    Parameters
    ----------
    stream : FrameStream
        What is served.
    socket : zmq.Socket
        Bound; the gate's thread uses and closes it.
    address : str
        What subscribers connect to.
    path : str
        What they must say to get this stream.
    memory : dict or None
        What lies where in the ring's memory, when subscribers map it.
    computer : str
        Only those who say that they live there map it; empty when all can.
    """

    def __init__(
        self,
        stream: FrameStream,
        socket: zmq.Socket[bytes],
        address: str,
        path: str,
        memory: dict[str, Any] | None,
        computer: str = "",
    ) -> None:
        self.address = address
        self._stream = stream
        self._socket = socket
        self._path = path
        self._memory = memory
        self._computer = computer
        self._peers: dict[bytes, Peer] = {}
        self._hungry = True
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
        flow = self._stream.flow
        if self._closing or not (self._hungry or flow.wants_credit or flow.ended):
            return
        self._hungry = False
        os.eventfd_write(self._bell, 1)

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
        flow, heard_s = self._stream.flow, 0.0
        look_ms, nap_ms = int(1000 * self._look_s), _NAP_MS
        try:
            while not self._closing:
                rested = time.monotonic() - heard_s >= nap_ms / 1000
                nap = not (rested or flow.wants_credit or flow.ended)
                events = dict(bell.poll(nap_ms) if nap else both.poll(look_ms))
                if self._bell in events:
                    os.eventfd_read(self._bell)
                if self._socket in events:
                    nap_ms = self._nap_after(self._hear())
                    heard_s = time.monotonic()
                self._serve()
                self._look_for_silence()
            self._part()
        finally:
            self._socket.close()

    def _nap_after(self, messages: int) -> int:
        """Return how long nobody needs to be heard after so many messages, in milliseconds."""
        flow = self._stream.flow
        if self._memory is None or flow.credit <= flow.capacity // 2:
            return _NAP_MS
        return min(max(_NAP_MS, messages * _NAP_MS), _LONG_NAP_MS)

    def _hear(self) -> int:
        """Take the messages that are there, at most so many that frames still leave in time; count them."""
        before, count = self._news, 0
        while count < _MESSAGES_AT_ONCE and int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            count += 1
            identity, *parts = self._socket.recv_multipart()
            for outgoing in self._answer(identity, parts):
                self._send(identity, outgoing)
        if self._news > before:
            with self._stream.changed:
                self._stream.changed.notify_all()
            self._stream.notify()
        return count

    def _answer(self, identity: bytes, parts: list[bytes]) -> list[Outgoing]:
        try:
            message = unpack(b"".join(parts))
            self._news += message["kind"] not in _NO_NEWS
            if message["kind"] == "hello":
                return [self._welcome(identity, message)]
            peer = self._peers.get(identity)
            if peer is None:
                return [(pack("unknown"), None)]
            with self._stream.changed:
                return list(peer.take(message))
        except FrameStreamError as error:
            reason = str(error)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"A message of kind {message['kind']!r} is malformed: {error!r}."
        peer = self._peers.get(identity)
        if peer is not None and peer.turn == peer.party.turn:
            with self._stream.changed:
                self._stream.flow.fail_party(peer.party, reason)
        return [(pack("error", reason=reason), None)]

    def _welcome(self, identity: bytes, message: Message) -> Outgoing:
        """Admit a subscriber, or refuse it with a sentence."""
        stream = self._stream
        flow, ring = stream.flow, stream.ring
        name, delivery = str(message["name"]), message["delivery"]
        try:
            if message["version"] != VERSION:
                raise ProtocolError(
                    f"Subscriber {name!r} speaks version {message['version']} of the frame protocol "
                    f"and frame stream {stream.name} version {VERSION}; update the older of the two."
                )
            if message["stream"] != self._path:
                raise FrameStreamError(
                    f"Subscriber {name!r} found no frame stream at the address it gave; there is "
                    "another stream, perhaps a newer one. Use the address in the descriptor."
                )
            with stream.changed:
                party = None
                part = None if message.get("part") is None else Part(**message["part"])
                if message["resume"]:
                    party = flow.resume(name, delivery, message["start"])
                if party is None:
                    party = flow.join(name, delivery, part)
        except (FrameStreamError, ParameterError) as error:
            return pack("refused", reason=str(error)), None
        shares = self._memory is not None and message.get("computer", "") == self._computer
        self._peers[identity] = Peer(stream, party, shares, int(message["messages"]))
        welcome: dict[str, Any] = {
            "version": VERSION,
            "label": flow.label,
            "shape": list(ring.shape),
            "dtype": ring.dtype.str,
            "capacity": ring.capacity,
            "timeout_s": flow.timeout_s,
            "start": party.received,
            "digest": party.digest,
            "published": flow.published,
            "memory": self._memory if shares else None,
        }
        return pack("welcome", **welcome), None

    def _serve(self) -> None:
        # While this looks, a frame that comes must ring the bell, or it might be overlooked.
        self._hungry = True
        hungry = False
        for identity, peer in self._peers.items():
            if peer.turn == peer.party.turn:
                for outgoing in peer.due():
                    self._send(identity, outgoing)
                hungry = hungry or peer.hungry
        self._hungry = hungry

    def _send(self, identity: bytes, outgoing: Outgoing) -> None:
        header, payload = outgoing
        if payload is None:
            self._socket.send_multipart((identity, header))
        else:
            self._socket.send_multipart((identity, header, payload), copy=False)

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
            if peer.told_end or peer.turn != peer.party.turn:
                continue
            if not peer.every and self._stream.flow.published:
                self._send(identity, peer.newest(-1, inline=True))
            self._send(identity, peer.end())
