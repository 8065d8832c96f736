"""What a subscriber is told when something else than its publisher listens at the address, and when."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import zmq

from concertino import FrameStreamError
from concertino.frames import FrameStream, subscribe
from concertino.frames.sockets._monitor import monitor
from tests.frames.contract.readers import Reader, numbered_frames

pytestmark = pytest.mark.disturbed_by_load(
    "who gives no sign of life for a short time-out counts as dead, and gets no processor in time"
)

SHAPE = (8, 16)
#: However busy the computer is: what has no deadline never comes back.
PATIENCE_S = 40.0

Server = Callable[[socket.socket], None]


def told(address: str, timeout_s: float = 1.0) -> tuple[str, float]:
    """Return what a subscriber is told, and after how many seconds."""
    answers: list[tuple[str, float]] = []

    def ask() -> None:
        begin_s = time.monotonic()
        try:
            subscribe(address, name="writer", timeout_s=timeout_s).close()
        except FrameStreamError as error:
            answers.append((str(error), time.monotonic() - begin_s))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "subscribe() never came back"
    return answers[0]


@pytest.fixture
def listen() -> Iterator[Callable[[str], str]]:
    """Give a function that has a socket of another program listen, and returns its address."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    theirs: list[zmq.Socket[bytes]] = []

    def listen(kind: str, place: str = "tcp://127.0.0.1:*") -> str:
        theirs.append(context.socket(getattr(zmq, kind)))
        theirs[-1].bind(place)
        return f"{theirs[-1].getsockopt_string(zmq.LAST_ENDPOINT)}/darks"

    yield listen
    context.destroy(0)


@pytest.fixture
def serve() -> Iterator[Callable[[Server], str]]:
    """Give a function that has every connection to a new port served, and returns its address."""
    held: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(what: Server) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        held.append(listener)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                    held.append(connection)
                    what(connection)
                except OSError:
                    return

        threads.append(threading.Thread(target=accept, daemon=True))
        threads[-1].start()
        return f"tcp://127.0.0.1:{listener.getsockname()[1]}/darks"

    yield serve
    for listener in held[:1]:
        listener.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()
    for connection in held:
        connection.close()


@pytest.mark.parametrize("kind", ["PUB", "XPUB", "SUB", "XSUB", "PULL", "PUSH", "PAIR"])
def test_another_program_s_socket_is_told_at_once(listen: Callable[[str], str], kind: str) -> None:
    address = listen(kind)
    sentence, after_s = told(address, timeout_s=30.0)
    assert f"At {address} listens another program, not a frame stream" in sentence
    assert "check what listens at that port" in sentence
    assert after_s < 15


@pytest.mark.parametrize("kind", ["REP", "ROUTER", "DEALER"])
def test_another_program_that_does_not_answer_is_told_in_time(
    listen: Callable[[str], str], kind: str
) -> None:
    sentence, _ = told(listen(kind))
    assert "nobody answered within 1 s. A ZeroMQ program is there that does not answer" in sentence


@pytest.mark.parametrize(
    ("server", "sentence"),
    [
        (lambda connection: None, "The connection was made, but nothing was said"),
        (lambda connection: connection.close(), "cut the connection before a word"),
    ],
    ids=["silent", "closes"],
)
def test_what_is_no_zeromq_is_told(
    serve: Callable[[Server], str], server: Server, sentence: str
) -> None:
    assert sentence in told(serve(server))[0]


@pytest.mark.parametrize(
    "words",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"\xff" + bytes(range(256)),
        bytes(4096),
        os.urandom(256),
    ],
    ids=["http", "ssh", "counting", "zeros", "random"],
)
def test_whatever_a_stranger_says_is_an_error(serve: Callable[[Server], str], words: bytes) -> None:
    assert told(serve(lambda connection: connection.sendall(words)))[0]


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    sentence, _ = told(f"tcp://127.0.0.1:{port}/darks")
    assert "nobody answered within 1 s. It has ended, or its process or computer" in sentence
    assert "nothing listens there" in sentence
    assert "for others have it published at stream_address='tcp://HOST:0'" in sentence


def test_a_publisher_that_is_stopped_is_told() -> None:
    code = (
        "import sys; from concertino.frames import FrameStream\n"
        "stream = FrameStream(shape=(8, 16), dtype='u2')\n"
        "print(stream.address, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            process.send_signal(signal.SIGSTOP)
            os.waitpid(process.pid, os.WUNTRACED)
            assert "is stopped" in told(address)[0]
        finally:
            process.kill()


def test_a_port_is_used_again_when_the_other_program_has_left() -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as theirs:
        port = theirs.bind_to_random_port("tcp://127.0.0.1")
        told(f"tcp://127.0.0.1:{port}/darks")
    with (
        FrameStream(f"tcp://127.0.0.1:{port}/darks", shape=SHAPE, dtype="u2") as stream,
        Reader(stream.address) as reader,
    ):
        stream.publish(numbered_frames(0, 5, SHAPE))
        stream.end().check()
    assert reader.count == 5


def test_a_publisher_whose_port_another_program_takes_is_lost_with_a_sentence(
    listen: Callable[[str, str], str],
) -> None:
    code = (
        "import sys; import numpy as np; from concertino.frames import FrameStream, Ring\n"
        "ring = Ring((8, 16), 'u2', 2560)  # whose memory is not lent, so that nobody misses it first\n"
        "stream = FrameStream(shape=(8, 16), dtype='u2', ring_bytes=2560, ring=ring, timeout_s=60.0)\n"
        "print(stream.address, flush=True); sys.stdin.readline()\n"
        "stream.publish(np.ones((3, 8, 16), 'u2')); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        address = process.stdout.readline().strip()
        reader = subscribe(address, name="writer", timeout_s=PATIENCE_S)
        process.stdin.write("\n")
        process.stdin.flush()
        assert reader.read(timeout_s=PATIENCE_S) is not None
        process.kill()
        process.wait()
        listen("PUB", address.rpartition("/")[0])
        begin_s = time.monotonic()
        with pytest.raises(FrameStreamError, match="listens another program, not a frame stream"):
            reader.read(timeout_s=PATIENCE_S)
        assert time.monotonic() - begin_s < PATIENCE_S
        # What was found cannot be said to anybody any more, and nobody waits.
        reader.acknowledge(3)
        reader.close()


def test_a_connection_that_nobody_looks_after_holds_up_no_other() -> None:
    """ZeroMQ's thread must not wait for somebody to read that a connection failed once more."""
    with zmq.Context() as context:
        left = context.socket(zmq.DEALER)
        left.linger, left.reconnect_ivl = 0, 1
        events = monitor(left, zmq.EVENT_ALL)
        left.connect("tcp://127.0.0.1:1")  # nothing listens there
        time.sleep(5)
        here, there = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
        here.linger = there.linger = 0
        there.connect(f"tcp://127.0.0.1:{here.bind_to_random_port('tcp://127.0.0.1')}")
        there.send(b"hello")
        heard = here.poll(10_000)
        left.disable_monitor()
        for socket in (events, left, here, there):
            socket.close(0)
    assert heard
