"""Frame streams through a relay, which is a process of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from concertino import FrameStreamError, SubscriberSilentError
from concertino.frames import (
    KEYS_VARIABLE,
    FrameStream,
    Relay,
    add_route,
    make_keys,
    subscribe,
)
from concertino.frames import _routes as routes

from .contract.readers import Reader, eventually, numbered_frames

SHAPE = (64, 128)
COMMAND = [sys.executable, "-c", "from concertino.cli import main; main()", "relay"]

StartRelay = Callable[[str, str], "subprocess.Popen[str]"]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture
def stream() -> Iterator[FrameStream]:
    with FrameStream(
        f"tcp://127.0.0.1:{free_port()}/*", shape=SHAPE, dtype="u2", ring_bytes=2**22, timeout_s=4.0
    ) as stream:
        yield stream


@pytest.fixture
def start() -> Iterator[StartRelay]:
    """Give a function that starts ``concertino relay`` and waits until it listens."""
    started: list[subprocess.Popen[str]] = []

    def start(publisher: str, address: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [*COMMAND, "--from", publisher, "--to", address],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        started.append(process)
        assert process.stdout is not None
        assert "are reached at" in process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(autouse=True)
def _no_routes_are_left() -> Iterator[None]:
    yield
    routes._routes.clear()


def place_of(stream: FrameStream) -> str:
    return stream.address.rpartition("/")[0]


def publish_for_ever(stream: FrameStream) -> None:
    while True:
        stream.publish(numbered_frames(stream.published, 1, SHAPE))
        time.sleep(0.02)


def test_every_frame_passes_to_several_subscribers(stream: FrameStream, start: StartRelay) -> None:
    way = f"tcp://127.0.0.1:{free_port()}"
    relay = start(place_of(stream), way)
    add_route(place_of(stream), way)
    with (
        Reader(stream.address, name="one") as one,
        Reader(stream.address, name="other") as other,
        subscribe(stream.address, name="viewer", delivery="latest") as viewer,
    ):
        for first in range(0, 400, 8):
            stream.publish(numbered_frames(first, 8, SHAPE))
        newest = viewer.read()
        assert newest is not None
        assert (newest.frames == numbered_frames(newest.start, 1, SHAPE)).all()
        stream.end().check()
    assert one.count == other.count == 400
    relay.send_signal(signal.SIGTERM)
    out, _ = relay.communicate(timeout=10)
    assert relay.returncode == 0
    carried = re.search(r"([\d.]+) MB were carried", out)
    assert carried is not None
    assert float(carried[1]) > 1.99 * 400 * SHAPE[0] * SHAPE[1] * 2 / 1e6


def test_a_relay_that_is_back_in_time_loses_nothing(stream: FrameStream, start: StartRelay) -> None:
    way = f"tcp://127.0.0.1:{free_port()}"
    relay = start(place_of(stream), way)
    add_route(place_of(stream), way)
    with Reader(stream.address) as reader:
        stream.publish(numbered_frames(0, 100, SHAPE))
        eventually(lambda: stream.acknowledged > 10)
        relay.kill()
        relay.wait()
        stream.publish(numbered_frames(100, 100, SHAPE))
        start(place_of(stream), way)
        stream.publish(numbered_frames(200, 100, SHAPE))
        stream.end().check()
    assert reader.count == 300


def test_a_relay_that_stays_away_is_noticed_on_both_sides(
    stream: FrameStream, start: StartRelay
) -> None:
    way = f"tcp://127.0.0.1:{free_port()}"
    relay = start(place_of(stream), way)
    add_route(place_of(stream), way)
    with subscribe(stream.address, name="writer") as subscription:
        stream.publish(numbered_frames(0, 5, SHAPE))
        batch = subscription.read()
        assert batch is not None
        subscription.acknowledge(batch.stop)
        eventually(lambda: stream.acknowledged == batch.stop)
        relay.kill()
        relay.wait()
        begin_s = time.monotonic()
        with pytest.raises(SubscriberSilentError, match=f"it has {batch.stop} safe"):
            publish_for_ever(stream)
        assert time.monotonic() - begin_s < 7
        with pytest.raises(FrameStreamError, match="no sign of life"):
            list(subscription)


def test_a_relay_that_is_stopped_for_a_while_loses_nothing(
    stream: FrameStream, start: StartRelay
) -> None:
    way = f"tcp://127.0.0.1:{free_port()}"
    relay = start(place_of(stream), way)
    add_route(place_of(stream), way)
    with Reader(stream.address) as reader:
        stream.publish(numbered_frames(0, 100, SHAPE))
        eventually(lambda: stream.acknowledged > 10)
        relay.send_signal(signal.SIGSTOP)
        stream.publish(numbered_frames(100, 100, SHAPE))
        time.sleep(0.5)
        relay.send_signal(signal.SIGCONT)
        stream.publish(numbered_frames(200, 100, SHAPE))
        stream.end().check()
    assert reader.count == 300


def test_a_relay_that_is_stopped_for_good_is_noticed_on_both_sides(
    stream: FrameStream, start: StartRelay
) -> None:
    way = f"tcp://127.0.0.1:{free_port()}"
    relay = start(place_of(stream), way)
    add_route(place_of(stream), way)
    with subscribe(stream.address, name="writer") as subscription:
        stream.publish(numbered_frames(0, 5, SHAPE))
        assert subscription.read(timeout_s=30) is not None
        relay.send_signal(signal.SIGSTOP)
        with pytest.raises(SubscriberSilentError, match="'writer'"):
            publish_for_ever(stream)
        with pytest.raises(FrameStreamError, match="no sign of life"):
            list(subscription)


def test_no_more_lines_are_carried_than_a_relay_can() -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=200) as publisher,
        Relay(f"tcp://127.0.0.1:{publisher.getsockname()[1]}", "tcp://127.0.0.1:0") as relay,
    ):
        port = int(relay.address.rpartition(":")[2])

        def connect() -> socket.socket:
            return socket.create_connection(("127.0.0.1", port), timeout=30)

        lines = [connect() for _ in range(100)]
        eventually(lambda: relay.connections == 100, 30.0)
        with connect() as turned_away:
            assert turned_away.recv(1) == b""
        for line in lines:
            line.close()
        eventually(lambda: relay.connections == 0, 30.0)
        with connect() as again:
            eventually(lambda: relay.connections == 1, 30.0)
            again.sendall(b"x")
            eventually(lambda: relay.carried == 1, 30.0)


def test_a_slow_subscriber_beyond_a_relay_holds_up_the_publisher(stream: FrameStream) -> None:
    with Relay(place_of(stream), "tcp://127.0.0.1:0") as relay:
        add_route(place_of(stream), relay.address)
        with subscribe(stream.address, name="slow") as subscription:
            while stream.published < stream.capacity:
                stream.publish(numbered_frames(stream.published, 8, SHAPE))
            with pytest.raises(FrameStreamError, match=r"'slow' has 0 of .* safe"):
                stream.reserve(1, timeout_s=0.3)
            count = 0
            while count < stream.capacity:
                batch = subscription.read()
                assert batch is not None
                assert (batch.frames == numbered_frames(batch.start, len(batch), SHAPE)).all()
                subscription.acknowledge(batch.stop)
                count = batch.stop
            stream.reserve(1, timeout_s=5.0)
            subscription.finish()


def test_what_is_encrypted_passes_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = make_keys(tmp_path / "keys", "detector")
    monkeypatch.setenv(KEYS_VARIABLE, str(keys.folder))
    with (
        FrameStream(
            f"tcp://127.0.0.1:{free_port()}/*", shape=SHAPE, dtype="u2", timeout_s=5.0
        ) as stream,
        Relay(place_of(stream), "tcp://127.0.0.1:0") as relay,
    ):
        add_route(place_of(stream), relay.address)
        with Reader(stream.address) as reader:
            stream.publish(numbered_frames(0, 30, SHAPE))
            stream.end().check()
        assert reader.count == 30
        assert relay.carried > 30 * SHAPE[0] * SHAPE[1] * 2


def test_a_relay_waits_for_its_publisher_and_serves_streams_in_turn() -> None:
    port = free_port()
    with Relay(f"tcp://127.0.0.1:{port}", "tcp://127.0.0.1:0") as relay:
        add_route(f"tcp://127.0.0.1:{port}", relay.address)
        for name in ("darks", "flats"):
            with (
                FrameStream(
                    f"tcp://127.0.0.1:{port}/*", shape=SHAPE, dtype="u2", name=name, timeout_s=5.0
                ) as stream,
                Reader(stream.address) as reader,
            ):
                stream.publish(numbered_frames(0, 10, SHAPE))
                stream.end().check()
            assert reader.count == 10
        eventually(lambda: relay.connections == 0)


@pytest.mark.parametrize(
    ("publisher", "address", "sentence"),
    [
        ("ipc://camera", "tcp://127.0.0.1:0", "'ipc://camera' cannot be relayed; write tcp://HOST"),
        ("tcp://camera", "tcp://127.0.0.1:0", "'tcp://camera' cannot be relayed"),
        ("tcp://camera:0", "tcp://127.0.0.1:0", "'tcp://camera:0' cannot be relayed"),
        ("tcp://camera:1", "tcp://203.0.113.1:0", "cannot listen at tcp://203.0.113.1:0: "),
    ],
)
def test_addresses_that_cannot_be_relayed(publisher: str, address: str, sentence: str) -> None:
    with pytest.raises(FrameStreamError, match=re.escape(sentence)):
        Relay(publisher, address)
