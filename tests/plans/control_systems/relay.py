"""A network between a session and a server of a control system, which can be cut: then nobody is told anything."""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

from tests.ports import free_port

_HEADER = struct.Struct(">HHHHII")
#: Of Channel Access: where a PV is.
_FOUND = 6


class Relay:
    """Carries connections by TCP on to a port of this computer.

    Cut, it takes everything and passes nothing on: no connection ends, as when a cable is pulled. What was under way comes
    when it is mended. Only one program may search through it.

    Parameters
    ----------
    server : int
        Port of the server.
    channel_access : bool
        Whether that is an IOC: what is searched for by UDP at the same port is found here, too.
    """

    def __init__(self, server: int, *, channel_access: bool = False) -> None:
        self.port = free_port()
        self._server = ("127.0.0.1", server)
        self._whole = threading.Event()
        self._whole.set()
        self._ended = False
        self._sockets: list[socket.socket] = []
        self._listening = self._kept(socket.create_server(("127.0.0.1", self.port)))
        self._begin(self._accept)
        if channel_access:
            self._asked = self._kept(socket.socket(type=socket.SOCK_DGRAM))
            self._asked.bind(("127.0.0.1", self.port))
            self._to_server = self._kept(socket.socket(type=socket.SOCK_DGRAM))
            self._to_server.bind(("127.0.0.1", 0))
            self._begin(self._search)
            self._begin(self._find)

    def end(self) -> None:
        """Close all connections."""
        self._ended = True
        self.mend()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def cut(self) -> None:
        """Pass nothing on from now on."""
        self._whole.clear()

    def mend(self) -> None:
        """Pass on what waits, and what comes."""
        self._whole.set()

    def _kept(self, made: socket.socket) -> socket.socket:
        self._sockets.append(made)
        return made

    def _begin(self, work: Callable[..., None], *given: socket.socket) -> None:
        threading.Thread(target=work, args=given, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near = self._kept(self._listening.accept()[0])
                far = self._kept(socket.create_connection(self._server))
                self._begin(self._carry, near, far)
                self._begin(self._carry, far, near)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while octets := source.recv(2**16):
                self._whole.wait()
                sink.sendall(octets)
        # Who is gone is told to the other side, unless the cable is pulled.
        self._whole.wait()
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def _search(self) -> None:
        """Carry what somebody searches for by UDP."""
        while not self._ended:
            with suppress(OSError):
                asked, self._who = self._asked.recvfrom(2**16)
                if self._whole.is_set():
                    self._to_server.sendto(asked, self._server)

    def _find(self) -> None:
        """Carry what is found, and have the finder connect to this port."""
        while not self._ended:
            with suppress(OSError):  # One that is not there is told by the system.
                found = self._to_server.recv(2**16)
                if found and self._whole.is_set():
                    self._asked.sendto(self._found_here(found), self._who)

    def _found_here(self, datagram: bytes) -> bytes:
        found, place = bytearray(datagram), 0
        while place + _HEADER.size <= len(found):
            command, length, port, *_ = _HEADER.unpack_from(found, place)
            if command == _FOUND and port == self._server[1]:
                struct.pack_into(">H", found, place + 4, self.port)
            place += _HEADER.size + length
        return bytes(found)
