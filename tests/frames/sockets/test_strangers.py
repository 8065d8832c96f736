"""Strangers at the port: junk, half a handshake, messages without an end. The subscribers notice nothing."""

import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil
import pytest

from concertino.frames import FrameStream, Ring, _direct
from tests.frames.contract.readers import Reader, eventually, numbered_frames

pytestmark = pytest.mark.disturbed_by_load(
    "who gives no sign of life for a short time-out counts as dead, and gets no processor in time"
)

SHAPE = (16, 32)
PATIENCE_S = 60.0
GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL" + bytes(16) + b"\0" + bytes(31)
READY = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", 6) + b"DEALER"
MIB = 2**20

SERVE = """
import sys
from concertino.frames import FrameStream
stream = FrameStream("tcp://", shape=(16, 32), dtype="u2", ring_bytes=2**18, timeout_s=5)
print(stream.address, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def publisher() -> Iterator[tuple[psutil.Process, int]]:
    """Give the process of a publisher, and its port."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline()
        yield psutil.Process(process.pid), int(address.rpartition("/")[0].rpartition(":")[2])
        process.kill()


def shake_hands(port: int) -> socket.socket:
    """Connect as ZeroMQ's own DEALER would; say no hello."""
    line = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    line.sendall(GREETING)
    heard = b""
    while len(heard) < 64:
        heard += line.recv(64 - len(heard))
    line.sendall(b"\x04" + bytes([len(READY)]) + READY)
    return line


def one_long_message(line: socket.socket) -> None:
    line.sendall(b"\x02" + struct.pack(">Q", 1500 * MIB))
    for _ in range(400):
        line.sendall(bytes(MIB))


def parts_without_end(line: socket.socket) -> None:
    part = b"\x03" + struct.pack(">Q", MIB // 8) + bytes(MIB // 8)
    for _ in range(400 * 8):
        line.sendall(part)


def many_messages(line: socket.socket) -> None:
    message = b"\x02" + struct.pack(">Q", MIB // 8) + bytes(MIB // 8)
    for _ in range(400 * 8):
        line.sendall(message)


@pytest.mark.parametrize("send", [one_long_message, parts_without_end, many_messages])
def test_what_strangers_send_is_not_kept(
    publisher: tuple[psutil.Process, int], send: Callable[[socket.socket], None]
) -> None:
    process, port = publisher
    before = process.memory_info().rss
    with shake_hands(port) as line:
        with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
            send(line)
        assert process.memory_info().rss - before < 150 * MIB


def test_who_says_no_hello_may_not_stay(publisher: tuple[psutil.Process, int]) -> None:
    _, port = publisher
    silent = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    with silent, shake_hands(port) as polite:
        begin_s = time.monotonic()
        for line in (silent, polite):
            with suppress(ConnectionResetError):
                while line.recv(4096):
                    pass
        assert time.monotonic() - begin_s < PATIENCE_S


def connect(address: str) -> socket.socket:
    host, _, port = address.removeprefix("tcp://").partition("/")[0].rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


JUNK = [
    b"",
    b"\0",
    b"GET / HTTP/1.1\r\nHost: camera\r\n\r\n",
    GREETING[:11],
    GREETING,
    GREETING + b"\x04" + bytes([len(READY)]) + READY,
    GREETING + b"\x04" + bytes([len(READY)]) + READY + b"\x02" + b"\xff" * 8,
    GREETING + b"\x04" + bytes([len(READY)]) + READY + b"\0\x05hello",
    b"\xff" * 4096,
    bytes(65536),
    bytes(range(256)) * 256,
    os.urandom(20_000),
]


def molest(address: str, stop: threading.Event, sent: list[int]) -> None:
    """Send all kinds of junk until told to stop; some lines are kept open meanwhile."""
    kept: list[socket.socket] = []
    while not stop.is_set():
        for junk in JUNK:
            line = connect(address)
            line.settimeout(PATIENCE_S)
            with suppress(OSError):  # it may have had enough
                line.sendall(junk)
            sent[0] += 1
            kept.append(line)
            if len(kept) > 20:
                kept.pop(0).close()
    for line in kept:
        line.close()


@pytest.mark.parametrize("ring", [None, Ring(SHAPE, "u2", 2**18)], ids=["memory", "wire"])
def test_subscribers_notice_nothing_of_junk_at_the_port(ring: Ring | None) -> None:
    stop, sent = threading.Event(), [0]
    with FrameStream(
        shape=SHAPE, dtype="u2", ring_bytes=2**18, ring=ring, timeout_s=PATIENCE_S
    ) as stream:
        _direct.hide(stream)
        stranger = threading.Thread(target=molest, args=(stream.address, stop, sent))
        with Reader(stream.address) as reader:
            stranger.start()
            try:
                for start in range(0, 3000, 10):
                    stream.publish(numbered_frames(start, 10, SHAPE))
                eventually(lambda: sent[0] > 3 * len(JUNK), PATIENCE_S)
                stream.publish(numbered_frames(3000, 1, SHAPE))
            finally:
                stop.set()
                stranger.join()
            stream.end().check()
    assert reader.count == 3001
