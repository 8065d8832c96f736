"""A TCP line that tests can cut."""

import select
import socket
import threading


class Line:
    """A TCP line to a publisher that can be cut, or go dead without a word, or be tapped."""

    def __init__(self, address: str, tap: list[bytes] | None = None) -> None:
        place, _, path = address.removeprefix("tcp://").partition("/")
        host, _, port = place.partition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}/{path}"
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self.down = False
        self.dead = False
        self._closed = False
        self.carried = 0
        self._tap = tap
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Close every connection."""
        with self._lock:
            for pair in self._pairs:
                for end in pair:
                    end.close()
            self._pairs.clear()

    def _run(self) -> None:
        while not self._closed:
            with self._lock:
                pairs = [] if self.dead else list(self._pairs)
            ends = {one: other for pair in pairs for one, other in (pair, pair[::-1])}
            watched = {end.fileno(): end for end in [self._listener, *ends]}
            poll = select.poll()  # select() itself takes no descriptor above 1023
            try:
                for number in watched:
                    poll.register(number, select.POLLIN)
                readable = [watched[number] for number, _ in poll.poll(10)]
            except (OSError, ValueError):
                continue  # Cut while we looked.
            for end in readable:
                if end is self._listener:
                    self._accept()
                else:
                    self._carry(end, ends[end])

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        if self.down:
            near.close()
            return
        try:
            far = socket.create_connection(self._target)
        except OSError:
            near.close()  # Nobody is left at the other end.
            return
        with self._lock:
            self._pairs.append((near, far))

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            octets = source.recv(2**16)
            sink.sendall(octets)
            self.carried += len(octets)
            if self._tap is not None:
                self._tap.append(octets)
        except OSError:
            octets = b""
        if not octets:
            with self._lock:
                self._pairs = [pair for pair in self._pairs if source not in pair]
            source.close()
            sink.close()

    def close(self) -> None:
        self._closed = True
        self._thread.join()
        self.cut()
        self._listener.close()
