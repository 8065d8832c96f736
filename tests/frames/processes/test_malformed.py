"""Malformed messages: who sends them is refused, all others are served, and nobody waits for ever."""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgpack
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from concertino import FrameStreamError, SubscriberFailedError
from concertino.frames import FrameStream, Ring, Subscription, _direct, subscribe
from concertino.frames.core._shared_ring import this_computer
from tests.frames.contract.readers import eventually, numbered_frames

from .test_protocol import MEMORY, SHAPE, WELCOME, Publisher, Raw, frames_message

INF, NAN = float("inf"), float("nan")
PATIENCE_S = 40.0

NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.sampled_from([-1, 0, 1, 2**31, 2**62, 2**63])
SCALARS = (
    st.none()
    | st.booleans()
    | NUMBERS
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def mutated(message: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return the message with some keys left out, some changed and some added."""

    def change(
        left_out: set[str], changed: dict[str, Any], added: dict[str, Any]
    ) -> dict[str, Any]:
        return {k: v for k, v in (message | changed).items() if k not in left_out} | added

    keys = sorted(message)
    return st.builds(
        change,
        st.sets(st.sampled_from(keys), max_size=2),
        st.dictionaries(st.sampled_from(keys), VALUES, max_size=3),
        st.dictionaries(st.text(min_size=1, max_size=5), VALUES, max_size=1),
    )


def packed(message: Any) -> bytes:
    octets: bytes = msgpack.packb(message)
    return octets


SAID: list[dict[str, Any]] = [
    {"kind": "credit", "messages": 1},
    {"kind": "wait", "stop": 0},
    {"kind": "acknowledge", "stop": 0, "digest": 0, "messages": 0},
    {"kind": "claim", "uri": "file:///x", "mimetype": "image/tiff", "parameters": {}, "durability": "synced"},
    {"kind": "newest", "id": 1, "seen": -1, "wait": True, "inline": False},
    {"kind": "alive"},
    {"kind": "fail", "reason": "x"},
    {"kind": "finish", "received": 0},
    {"kind": "hello", "version": 1, "stream": "another", "name": "x", "delivery": "latest", "resume": True,
     "start": None, "messages": 1, "computer": ""},
]  # fmt: skip
NONSENSE = (
    st.sampled_from(SAID).flatmap(mutated).map(packed).map(lambda octets: [octets])
    | VALUES.map(packed).map(lambda octets: [octets])
    | st.lists(st.binary(max_size=60), min_size=1, max_size=3)
)


def hello(path: str, name: str, **changes: Any) -> dict[str, Any]:
    said: dict[str, Any] = {
        "kind": "hello", "version": 1, "stream": path, "name": name, "delivery": "latest",
        "resume": False, "start": None, "messages": 2, "computer": this_computer(),
    }  # fmt: skip
    return said | changes


@pytest.fixture(params=["memory", "wire"])
def stream(request: pytest.FixtureRequest) -> Iterator[FrameStream]:
    with FrameStream(
        ring=Ring(SHAPE, "u2", 960) if request.param == "wire" else None,
        shape=SHAPE,
        dtype="u2",
        ring_bytes=960,
        name="camera/darks",
        timeout_s=PATIENCE_S,
    ) as stream:
        _direct.hide(stream)
        yield stream


@pytest.fixture
def reader(stream: FrameStream) -> Iterator[Subscription]:
    """Read on; it has done nothing wrong."""
    reader = subscribe(stream.address, name="reader")
    yield reader
    reader.close()


def raw_to(stream: FrameStream) -> tuple[Raw, str]:
    place, _, path = stream.address.rpartition("/")
    return Raw(zmq.DEALER, place), path


def is_served(stream: FrameStream, reader: Subscription) -> None:
    """Check that one more frame reaches the reader, and its word the publisher."""
    index = stream.published
    stream.publish(numbered_frames(index, 1, SHAPE))
    batch = reader.read(timeout_s=PATIENCE_S)
    assert batch is not None
    assert (batch.frames == numbered_frames(index, 1, SHAPE)).all()
    reader.acknowledge(batch.stop)
    eventually(lambda: stream.acknowledged == index + 1, PATIENCE_S)
    assert stream.error is None


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(messages=st.lists(NONSENSE, min_size=1, max_size=5))
def test_nonsense_of_one_subscriber_harms_no_other(
    stream: FrameStream, reader: Subscription, messages: list[list[bytes]]
) -> None:
    raw, path = raw_to(stream)
    try:
        raw.socket.send(packed(hello(path, f"bad {stream.published}")))
        assert raw.receive()[0]["kind"] == "welcome"
        for message in messages:
            raw.socket.send_multipart(message)
        is_served(stream, reader)
    finally:
        raw.close()


@pytest.mark.parametrize(
    "message",
    [
        {"kind": "newest"},
        {"kind": "newest", "id": 1, "seen": "abc", "wait": True, "inline": True},
        {"kind": "newest", "id": 1, "seen": INF, "wait": True, "inline": True},
        {"kind": "wait"},
        {"kind": "wait", "stop": INF},
        {"kind": "wait", "stop": NAN},
        {"kind": "credit", "messages": INF},
        {"kind": "credit", "messages": -(10**15)},
        {"kind": "acknowledge", "messages": 1, "stop": INF, "digest": 0},
        {"kind": "acknowledge", "messages": 1, "stop": -10, "digest": 0},
        {"kind": "claim", "uri": 5, "mimetype": 7, "parameters": 3, "durability": []},
        {"kind": "claim", "uri": "x", "mimetype": "y", "parameters": {"z": INF}, "durability": "synced"},
        {"kind": "claim", "uri": "x", "mimetype": "y", "parameters": {"z": b"z"}, "durability": "synced"},
        {"kind": "finish", "received": INF},
        {"kind": "fail", "reason": 5},
        hello("{path}", "bad", messages=INF),
        hello("{path}", "bad", resume=True, start=INF),
        hello("{path}", "bad", delivery=["every"]),
        hello("{path}", "n" * 2**17),
    ],
    ids=lambda message: str(message)[:60],
)  # fmt: skip
@pytest.mark.parametrize("delivery", ["latest", "every"])
def test_who_sends_a_malformed_message_is_refused_with_the_reason(
    stream: FrameStream, message: dict[str, Any], delivery: str
) -> None:
    raw, path = raw_to(stream)
    other, _ = raw_to(stream)
    try:
        assert raw.hello(path, name="bad", delivery=delivery)["kind"] == "welcome"
        assert other.hello(path, name="viewer", delivery="latest")["kind"] == "welcome"
        stream.publish(numbered_frames(0, 1, SHAPE))
        said = dict(message)
        if said.get("stream") == "{path}":
            said["stream"] = path
        raw.socket.send(packed(said))
        while (answer := raw.receive()[0])["kind"] == "frames":
            pass
        assert answer["kind"] in ("error", "refused")
        assert (
            "malformed" in answer["reason"]
            or "needs" in answer["reason"]
            or "which is" in answer["reason"]
        )
        if delivery == "latest":
            assert stream.error is None
        elif answer["kind"] == "error":
            eventually(lambda: isinstance(stream.error, SubscriberFailedError), PATIENCE_S)
            assert (
                f"Subscriber 'bad' of frame stream camera/darks failed: {answer['reason']}"
                in str(stream.error)
            )
        other.send("newest", id=7, seen=-1, wait=False, inline=True)
        assert other.receive()[0]["id"] == 7
    finally:
        raw.close()
        other.close()


def no_memory(monkeypatch: pytest.MonkeyPatch, *, lasting: bool) -> None:
    """Have ZeroMQ, which is not ours, refuse a message of a publisher, or all from now on."""
    send, refused = zmq.Socket.send_multipart, threading.Event()

    def without_memory(socket: zmq.Socket[bytes], *arguments: Any, **more: Any) -> Any:
        if socket.type == zmq.ROUTER and (lasting or not refused.is_set()):
            refused.set()
            raise zmq.ZMQError(errno.ENOMEM)
        return send(socket, *arguments, **more)

    monkeypatch.setattr(zmq.Socket, "send_multipart", without_memory)


ENDED = "camera/darks to other processes has ended: ZMQError: Cannot allocate memory"


def test_a_serving_thread_that_ends_fails_the_stream_with_its_own_reason(
    stream: FrameStream, reader: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, path = raw_to(stream)
    try:
        viewer.hello(path, name="viewer", delivery="latest")
        is_served(stream, reader)
        no_memory(monkeypatch, lasting=False)
        viewer.send("newest", id=1, seen=-1, wait=False, inline=True)
        answer = viewer.receive()[0]
        assert answer["kind"] == "error"
        assert ENDED in answer["reason"]
        with pytest.raises(FrameStreamError, match=ENDED):
            stream.reserve(1)
        with pytest.raises(FrameStreamError, match=ENDED):
            reader.read(timeout_s=PATIENCE_S)
        assert ENDED in stream.end(timeout_s=PATIENCE_S).reason
    finally:
        viewer.close()


def test_a_serving_thread_that_can_tell_nobody_fails_every_subscriber(
    stream: FrameStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewers = [raw_to(stream) for _ in range(2)]
    try:
        for number, (viewer, path) in enumerate(viewers):
            viewer.hello(path, name=f"viewer {number}", delivery="latest")
        no_memory(monkeypatch, lasting=True)
        viewers[0][0].send("newest", id=1, seen=-1, wait=False, inline=True)
        eventually(lambda: stream.error is not None, PATIENCE_S)
        with pytest.raises(FrameStreamError, match=ENDED):
            stream.reserve(1)
        states = [subscriber.state for subscriber in stream.end(timeout_s=PATIENCE_S).subscribers]
        assert states == ["failed", "failed"]
    finally:
        for viewer, _ in viewers:
            viewer.close()


FRAMES, PIXELS = frames_message(0, 2)
ANSWERED: list[dict[str, Any]] = [
    FRAMES,
    FRAMES | {"id": 1, "inline": True},
    {"kind": "more", "published": 3},
    {"kind": "nothing", "id": 1, "published": 3},
    {"kind": "heartbeat", "published": 3},
    {"kind": "claimed"},
    {"kind": "bye"},
    {"kind": "end", "count": 0, "digest": 0, "reason": None},
    {"kind": "error", "reason": "x"},
    {"kind": "refused", "reason": "x"},
    {"kind": "unknown"},
]
PAYLOADS = st.just(b"") | st.just(PIXELS) | st.binary(min_size=1, max_size=20)


def outlives(publisher: Publisher, delivery: Any) -> None:
    """Check that a subscriber comes to an end, whatever the publisher says."""
    ended = threading.Event()

    def read() -> None:
        with (
            suppress(FrameStreamError, TimeoutError),
            subscribe(
                publisher.raw.endpoint, name="reader", delivery=delivery, timeout_s=0.2
            ) as reader,
        ):
            while (batch := reader.read(timeout_s=0.1)) is not None:
                if delivery == "every":
                    reader.acknowledge(batch.stop)
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    assert ended.wait(PATIENCE_S), "the subscriber hangs, or died of another error"


@settings(max_examples=120, deadline=None)
@given(
    welcome=st.just(WELCOME) | mutated(WELCOME),
    messages=st.lists(
        st.tuples(st.sampled_from(ANSWERED).flatmap(mutated), PAYLOADS), min_size=1, max_size=3
    ),
    delivery=st.sampled_from(["every", "latest"]),
)
def test_nonsense_of_a_publisher_ends_the_subscriber_with_a_sentence(
    welcome: dict[str, Any], messages: list[tuple[dict[str, Any], bytes]], delivery: str
) -> None:
    with Publisher(welcome | {"timeout_s": 0.5}, *messages) as publisher:
        outlives(publisher, delivery)


@pytest.fixture(scope="module")
def odd_places(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("places")
    os.mkfifo(folder / "pipe")
    (folder / "empty").touch()
    (folder / "page").write_bytes(bytes(4096))
    (folder / "large").write_bytes(bytes(2**16))
    return [
        *(str(folder / n) for n in ("pipe", "empty", "page", "large", "none", "")),
        "/dev/zero",
        "",
    ]


@settings(max_examples=120, deadline=None)
@given(data=st.data(), delivery=st.sampled_from(["every", "latest"]))
def test_memory_that_is_not_what_was_announced_kills_nobody(
    odd_places: list[str], data: st.DataObject, delivery: str
) -> None:
    places = st.integers(0, 2**17) | st.just(2**50)
    memory: dict[str, Any] = {
        key: data.draw(places) for key in MEMORY if key not in ("path", "generation")
    }
    memory["bytes"] = data.draw(places | st.sampled_from([0, 1, 4096, 2**16]))
    kept = data.draw(st.sets(st.sampled_from(sorted(MEMORY))))
    memory |= {key: MEMORY[key] for key in kept} | {"generation": data.draw(st.integers(0, 1))}
    memory["path"] = data.draw(st.sampled_from(odd_places))
    with Publisher(WELCOME | {"memory": memory, "timeout_s": 0.5}) as publisher:
        outlives(publisher, delivery)
