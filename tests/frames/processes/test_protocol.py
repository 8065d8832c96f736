"""The frame protocol as another implementation would speak it: raw sockets against ours."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import numpy as np
import pytest
import xxhash
import zmq

from concertino import FrameStreamError, SubscriberFailedError
from concertino.frames import FrameStream, subscribe
from concertino.frames.core._shared_ring import this_computer
from tests.frames.contract.readers import eventually, numbered_frames

SHAPE = (4, 6)


class Raw:
    """A socket that speaks msgpack and nothing of ours."""

    def __init__(self, kind: int, endpoint: str) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(kind)
        self.socket.linger = 0
        self.socket.rcvtimeo = 5000
        if kind == zmq.DEALER:
            self.socket.connect(endpoint)
        else:
            port = self.socket.bind_to_random_port(endpoint)
            self.endpoint = f"{endpoint}:{port}"

    def send(self, kind: str, **fields: Any) -> None:
        self.socket.send(msgpack.packb({"kind": kind, **fields}))

    def receive(self) -> tuple[dict[str, Any], bytes]:
        header, *payload = self.socket.recv_multipart()
        return msgpack.unpackb(header), payload[0] if payload else b""

    def hello(self, path: str, **changes: Any) -> dict[str, Any]:
        fields = {
            "version": 1,
            "stream": path,
            "name": "raw",
            "delivery": "every",
            "resume": False,
            "start": None,
            "messages": 4,
        }
        self.send("hello", **(fields | changes))
        return self.receive()[0]

    def close(self) -> None:
        self.context.destroy(0)


@pytest.fixture
def stream() -> Iterator[FrameStream]:
    with FrameStream(
        "tcp://", shape=SHAPE, dtype="u2", ring_bytes=960, name="camera/darks", timeout_s=5
    ) as stream:
        yield stream


@pytest.fixture
def raw(stream: FrameStream) -> Iterator[Raw]:
    endpoint, _, _ = stream.address.rpartition("/")
    raw = Raw(zmq.DEALER, endpoint)
    yield raw
    raw.close()


@pytest.fixture
def path(stream: FrameStream) -> str:
    return stream.address.rpartition("/")[2]


def test_a_whole_conversation(stream: FrameStream, raw: Raw, path: str) -> None:
    welcome = raw.hello(path)
    assert welcome == {
        "kind": "welcome",
        "version": 1,
        "label": "camera/darks",
        "shape": [4, 6],
        "dtype": "<u2",
        "capacity": 20,
        "timeout_s": 5,
        "start": 0,
        "digest": 0,
        "published": 0,
        "memory": None,
    }
    raw.send(
        "claim", uri="file:///data/", mimetype="image/tiff", parameters={}, durability="synced"
    )
    assert raw.receive()[0] == {"kind": "claimed"}
    assert stream.claims[0].uri == "file:///data/"
    frames = numbered_frames(0, 3, SHAPE)
    stream.publish(frames, timestamps=[1, 2, 3], numbers=[5, 6, 7])
    header, payload = raw.receive()
    assert payload == frames.tobytes()
    checksums = [xxhash.xxh3_64_intdigest(frame.tobytes()) for frame in frames]
    assert header == {
        "kind": "frames",
        "start": 0,
        "timestamps": np.array([1, 2, 3], "<i8").tobytes(),
        "numbers": np.array([5, 6, 7], "<i8").tobytes(),
        "checksums": np.array(checksums, "<u8").tobytes(),
    }
    digest = 0
    for checksum in checksums:
        digest = xxhash.xxh3_64_intdigest(checksum.to_bytes(8, "little"), seed=digest)
    raw.send("alive")
    assert raw.receive()[0] == {"kind": "heartbeat", "published": 3}
    raw.send("acknowledge", stop=3, digest=digest, messages=1)
    eventually(lambda: stream.acknowledged == 3)
    ending = threading.Thread(target=stream.end)
    ending.start()
    assert raw.receive()[0] == {"kind": "end", "count": 3, "digest": digest, "reason": None}
    raw.send("finish", received=3)
    assert raw.receive()[0] == {"kind": "bye"}
    ending.join()
    stream.ledger().check()


def test_memory_is_lent_on_the_same_computer_only(raw: Raw, path: str) -> None:
    assert raw.hello(path, computer="another")["memory"] is None
    memory = raw.hello(path, name="near", computer=this_computer())["memory"]
    with open(memory["path"], "rb") as ring:
        assert len(ring.read()) == memory["bytes"]


def test_no_more_messages_come_than_credit_was_given(
    stream: FrameStream, raw: Raw, path: str
) -> None:
    raw.hello(path, messages=1)
    stream.publish(numbered_frames(0, 1, SHAPE))
    assert raw.receive()[0]["start"] == 0
    for index in range(1, 5):
        stream.publish(numbered_frames(index, 1, SHAPE))
    raw.send("alive")
    assert raw.receive()[0] == {"kind": "heartbeat", "published": 5}
    raw.send("credit", messages=1)
    header, payload = raw.receive()
    # What came meanwhile comes together.
    assert (header["start"], len(header["checksums"]), len(payload)) == (1, 4 * 8, 4 * 48)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"version": 2},
            "Subscriber 'raw' speaks version 2 of the frame protocol and this side version 1; update "
            "the older of the two.",
        ),
        (
            {"stream": "another"},
            "Subscriber 'raw' found no frame stream at the address it gave; there is another "
            "stream, perhaps a newer one. Use the address in the descriptor.",
        ),
        (
            {"delivery": "sometimes"},
            "Subscriber 'raw' of frame stream camera/darks asked for delivery 'sometimes'; there "
            "are 'every' and 'latest'.",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(
    raw: Raw, path: str, change: dict[str, Any], sentence: str
) -> None:
    assert raw.hello(path, **change) == {"kind": "refused", "reason": sentence}


def test_one_must_introduce_oneself(raw: Raw) -> None:
    raw.send("credit", messages=1)
    assert raw.receive()[0] == {"kind": "unknown"}


@pytest.mark.parametrize(
    ("say", "sentence"),
    [
        (lambda raw: raw.socket.send(b"\xc1"), "1 bytes that are no msgpack arrived"),
        (lambda raw: raw.socket.send(b"\x93\x01\x02\x03"), "A message without a kind arrived"),
        (
            lambda raw: raw.send("dance"),
            "A message 'dance' arrived, which version 1 of the frame protocol does not know",
        ),
        (
            lambda raw: raw.send("credit"),
            "A message of kind 'credit' is malformed: Object missing required field `messages`",
        ),
        (
            lambda raw: raw.send("acknowledge", stop="x", digest=0, messages=0),
            "'acknowledge' is malformed",
        ),
        (
            lambda raw: raw.send("acknowledge", stop=3, digest=0, messages=0),
            "acknowledged frames up to 3; it has received 2 and acknowledged 0",
        ),
        (
            lambda raw: raw.send("acknowledge", stop=2, digest=12, messages=0),
            "acknowledged frames up to 2 with digest 000000000000000c; ",
        ),
    ],
)
def test_a_subscriber_that_breaks_the_protocol_fails(
    stream: FrameStream, raw: Raw, path: str, say: Callable[[Raw], None], sentence: str
) -> None:
    raw.hello(path)
    stream.publish(numbered_frames(0, 2, SHAPE))
    raw.receive()
    say(raw)
    answer = raw.receive()[0]
    assert answer["kind"] == "error"
    assert sentence in answer["reason"]
    eventually(lambda: isinstance(stream.error, SubscriberFailedError))
    assert sentence in str(stream.error)


def test_a_stranger_that_speaks_nonsense_harms_nobody(stream: FrameStream, raw: Raw) -> None:
    for nonsense in (b"", b"\xc1", b"\x81\xa4kind\xa5hello", b"\x81\xa4kind\x01"):
        raw.socket.send(nonsense)
        assert raw.receive()[0]["kind"] == "error"
    reader = subscribe(stream.address, name="reader")
    stream.publish(numbered_frames(0, 1, SHAPE))
    assert reader.read(timeout_s=5) is not None
    assert stream.error is None
    reader.close()


WELCOME = {
    "version": 1,
    "label": "theirs",
    "shape": [4, 6],
    "dtype": "<u2",
    "capacity": 8,
    "timeout_s": 5.0,
    "start": 0,
    "digest": 0,
    "published": 0,
    "memory": None,
}

MEMORY = {
    "path": "/dev/shm/ring",
    "bytes": 4096,
    "generation": 1,
    "published": 64,
    "timestamps": 128,
    "numbers": 192,
    "checksums": 256,
    "frames": 512,
}


class Publisher:
    """A publisher of another make, which answers each hello with a welcome and what follows."""

    def __init__(self, welcome: dict[str, Any], *messages: tuple[dict[str, Any], bytes]) -> None:
        self.raw = Raw(zmq.ROUTER, "tcp://127.0.0.1")
        self._answers = [({"kind": "welcome"} | welcome, b""), *messages]
        self.heard: list[dict[str, Any]] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closed:
            if not self.raw.socket.poll(20):
                continue
            identity, octets = self.raw.socket.recv_multipart()
            message = msgpack.unpackb(octets)
            self.heard.append(message)
            if message["kind"] == "hello":
                for header, payload in self._answers:
                    parts = [identity, msgpack.packb(header), *([payload] if payload else [])]
                    self.raw.socket.send_multipart(parts)
            elif message["kind"] in ("finish", "fail"):
                self.raw.socket.send_multipart([identity, msgpack.packb({"kind": "bye"})])

    def __enter__(self) -> "Publisher":
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._thread.join()
        self.raw.close()


def frames_message(start: int, count: int, **changes: Any) -> tuple[dict[str, Any], bytes]:
    frames = numbered_frames(start, count, SHAPE)
    sums = np.array([xxhash.xxh3_64_intdigest(f.tobytes()) for f in frames], "<u8")
    header = {
        "kind": "frames",
        "start": start,
        "timestamps": np.zeros(count, "<i8").tobytes(),
        "numbers": np.arange(count, dtype="<i8").tobytes(),
        "checksums": sums.tobytes(),
    }
    payload = changes.pop("payload", frames.tobytes())
    return header | changes, payload


def test_a_publisher_of_another_make_is_read() -> None:
    with Publisher(WELCOME, frames_message(0, 3), frames_message(3, 1)) as publisher:
        with subscribe(publisher.raw.endpoint, name="reader", timeout_s=5) as reader:
            assert reader.shape == (4, 6)
            for start in (0, 3):
                batch = reader.read(timeout_s=5)
                assert batch is not None
                assert batch.start == start
                reader.acknowledge(batch.stop)
            reader.finish()
        kinds = [message["kind"] for message in publisher.heard]
        assert kinds == ["hello", "acknowledge", "acknowledge", "finish"]


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (frames_message(0, 2, payload=b"short"), "2 frames arrived with 5 bytes of 96"),
        (frames_message(0, 2, payload=b""), "Frames came without pixels"),
        (frames_message(0, 2, numbers=b"12345678"), "2 frames arrived with 2 times, 1 numbers and"),
        (
            ({"kind": "frames", "start": 0}, b"1"),
            "is malformed: Object missing required field `timestamps`",
        ),
        (
            ({"kind": "end", "count": 5, "digest": 7, "reason": None}, b""),
            "theirs ended with 5 frames of digest 0000000000000007; 0 of digest",
        ),
        (
            ({"kind": "end", "count": 0, "digest": 0, "reason": "the lens fell off"}, b""),
            "Frame stream theirs failed after 0 frames: the lens fell off",
        ),
        (({"kind": "error", "reason": "Go away."}, b""), "Go away."),
    ],
)
def test_a_publisher_that_breaks_the_protocol_is_left(
    message: tuple[dict[str, Any], bytes], sentence: str
) -> None:
    with (
        Publisher(WELCOME, message) as publisher,
        pytest.raises(FrameStreamError) as caught,
        subscribe(publisher.raw.endpoint, name="reader", timeout_s=5) as reader,
    ):
        reader.read(timeout_s=5)
    assert sentence in str(caught.value)


def test_memory_that_cannot_be_reached_is_told() -> None:
    with (
        Publisher(WELCOME | {"memory": MEMORY | {"path": "/proc/1/fd/0/nowhere"}}) as publisher,
        pytest.raises(FrameStreamError, match="cannot be opened: "),
    ):
        subscribe(publisher.raw.endpoint, name="reader", timeout_s=5)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("tcp://127.0.0.1", r"'tcp://127\.0\.0\.1' is malformed; write tcp://host:port/name"),
        ("tcp://", "has no port; use the one in the descriptor"),
        ("tcp://here:there", "is malformed; write tcp://host:port/name"),
        ("tcp://a b:1", "is malformed: beside letters and digits it may have"),
    ],
)
def test_malformed_addresses_are_refused(address: str, sentence: str) -> None:
    with pytest.raises(FrameStreamError, match=sentence):
        subscribe(address, name="reader", timeout_s=0.2)


def test_a_chosen_address_is_taken_once_and_free_again_at_once() -> None:
    address = "tcp://127.0.0.1:45981/camera"
    for _ in range(3):
        with FrameStream(address, shape=SHAPE, dtype="u2", ring_bytes=960) as stream:
            assert stream.address == address
            with pytest.raises(
                FrameStreamError, match=f"at {address}: another frame stream or program listens"
            ):
                FrameStream(address, shape=SHAPE, dtype="u2", ring_bytes=960)
            stream.end()


def test_an_address_by_default_cannot_be_guessed() -> None:
    with FrameStream(shape=SHAPE, dtype="u2", ring_bytes=960) as stream:
        place, _, path = stream.address.rpartition("/")
        assert len(path) == 16
        assert "127.0.0.1" in place
        with pytest.raises(FrameStreamError, match="found no frame stream at the address"):
            subscribe(f"{place}/0000000000000000", name="reader")
        with pytest.raises(FrameStreamError, match="found no frame stream at the address"):
            subscribe(place, name="reader")
