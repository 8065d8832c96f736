"""The messages of the frame protocol, and what each may hold: the one place where they are checked.

What comes from another process is decoded into one of these, or it is a `ProtocolError`. Numbers are
bounded so that no arithmetic on them can go wrong.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field
from msgspec.msgpack import Decoder, Encoder

from concertino._errors import FrameStreamError

VERSION = 1

#: Messages of a subscriber are short; who sends more is no subscriber.
SUBSCRIBER_BYTES = 256 * 2**10
#: How many messages with frames are under way to a subscriber at most, whatever credit it gives.
MOST_UNDER_WAY = 1000

_MOST_PIXELS = 2**20
#: The longest time-out that is told, in seconds: no end in sight.
LONGEST_S = 1e9
#: Of a reason, so that it fits into any message.
REASON_CHARACTERS = 20_000

#: Index or number of frames.
Index = Annotated[int, Meta(ge=0, le=2**62)]
Name = Annotated[str, Meta(max_length=1000)]
Text = Annotated[str, Meta(max_length=100_000)]
Side = Annotated[int, Meta(ge=1, le=_MOST_PIXELS)]
Digest = Annotated[int, Meta(ge=0)]
#: In a file that is mapped, in bytes.
ByteOffset = Annotated[int, Meta(ge=0, le=2**50)]
Seconds = Annotated[float, Meta(gt=0, le=LONGEST_S)]


class ProtocolError(FrameStreamError):
    """What came is no message of the frame protocol."""


class Message(Struct, tag_field="kind", omit_defaults=True):
    """Any message; its class is its kind."""

    @property
    def kind(self) -> str:
        """The kind, as it travels."""
        return str(type(self).__struct_config__.tag)


class Hello(Message, tag="hello"):
    """Who subscribes to what."""

    version: int
    stream: Name
    name: Name
    delivery: Name
    resume: bool
    start: Index | None
    messages: Index
    computer: Name = ""
    necessary: bool = True


class Credit(Message, tag="credit"):
    """So many more messages with frames may be sent."""

    messages: Index


class Wait(Message, tag="wait"):
    """Frames up to `stop` were read in shared memory; say when there are more."""

    stop: Index


class Acknowledge(Message, tag="acknowledge"):
    """Frames up to `stop` are safe."""

    stop: Index
    digest: Digest
    messages: Index


class ClaimFrames(Message, tag="claim"):
    """Where the frames can be read back; see `concertino.frames.Claim`."""

    uri: Text
    mimetype: Name
    parameters: dict[str, Any]
    durability: Literal["written", "synced"]


class Newest(Message, tag="newest"):
    """Send the newest frame."""

    id: int
    seen: Annotated[int, Meta(ge=-1, le=2**62)]
    wait: bool
    inline: bool


class Alive(Message, tag="alive"):
    """It lives."""


class Fail(Message, tag="fail"):
    """It failed."""

    reason: Text


class Finish(Message, tag="finish"):
    """It has done all its work."""

    received: Index


class Memory(Struct, omit_defaults=True):
    """What lies where in a publisher's memory."""

    path: Name
    bytes: ByteOffset
    generation: int
    published: ByteOffset
    timestamps: ByteOffset
    numbers: ByteOffset
    checksums: ByteOffset
    frames: ByteOffset
    offset: ByteOffset | None = None
    reserved: ByteOffset | None = None


class Welcome(Message, tag="welcome"):
    """The answer to a hello."""

    version: int
    label: Name
    shape: tuple[Side, Side]
    dtype: Annotated[str, Meta(pattern=r"^[<>|=]?[biufc][0-9]{1,2}$")]
    capacity: Annotated[int, Meta(ge=1, le=2**40)]
    timeout_s: Seconds
    start: Index
    digest: Digest
    published: Index
    memory: Memory | None


class Refused(Message, tag="refused"):
    """The answer to a hello that cannot be served."""

    reason: Text


class Frames(Message, tag="frames"):
    """Consecutive frames; their pixels follow, or lie in shared memory."""

    start: Index
    timestamps: bytes
    numbers: bytes
    checksums: bytes
    id: int = 0
    inline: bool = False


class More(Message, tag="more"):
    """There are frames beyond those waited at."""

    published: Index


class Nothing(Message, tag="nothing"):
    """There is no frame newer than the one seen."""

    id: int
    published: Index


class Heartbeat(Message, tag="heartbeat"):
    """The publisher lives."""

    published: Index


class Claimed(Message, tag="claimed"):
    """A claim was noted."""


class Bye(Message, tag="bye"):
    """The last words were heard."""


class End(Message, tag="end"):
    """No more frames come."""

    count: Index
    digest: Digest
    reason: Text | None


class Refusal(Message, tag="error"):
    """The subscriber gets nothing more."""

    reason: Text


class Unknown(Message, tag="unknown"):
    """No hello came on this connection."""


FromSubscriber = Hello | Credit | Wait | Acknowledge | ClaimFrames | Newest | Alive | Fail | Finish
FromPublisher = (
    Welcome
    | Refused
    | Frames
    | More
    | Nothing
    | Heartbeat
    | Claimed
    | Bye
    | End
    | Refusal
    | Unknown
)


class _Head(Struct):
    kind: str
    version: Any = field(default=None)


_encoder = Encoder()
_of_subscriber = Decoder(FromSubscriber)
_of_publisher = Decoder(FromPublisher)
_of_head = Decoder(_Head)
_of_anything = Decoder()
_SUBSCRIBER_KINDS = {
    "hello",
    "credit",
    "wait",
    "acknowledge",
    "claim",
    "newest",
    "alive",
    "fail",
    "finish",
}
_PUBLISHER_KINDS = {
    "welcome", "refused", "frames", "more", "nothing", "heartbeat", "claimed", "bye", "end", "error", "unknown",
}  # fmt: skip


def pack(message: Message) -> bytes:
    """Return the bytes of a message."""
    return _encoder.encode(message)


def shortened(reason: str) -> str:
    """Return a reason that is not too long for a message."""
    if len(reason) <= REASON_CHARACTERS:
        return reason
    return f"{reason[:REASON_CHARACTERS]} …"


def from_subscriber(octets: bytes | memoryview) -> FromSubscriber:
    """Return the message of a subscriber that some bytes are.

    Raises
    ------
    ProtocolError
        If they are none.
    """
    try:
        message = _of_subscriber.decode(octets)
        if isinstance(message, ClaimFrames):
            # It becomes part of a document.
            json.dumps(message.parameters, allow_nan=False)
    except Exception as error:
        raise _malformed(octets, error, _SUBSCRIBER_KINDS) from error
    return message


def from_publisher(octets: bytes | memoryview) -> FromPublisher:
    """Return the message of a publisher that some bytes are.

    Raises
    ------
    ProtocolError
        If they are none.
    """
    try:
        return _of_publisher.decode(octets)
    except Exception as error:
        raise _malformed(octets, error, _PUBLISHER_KINDS) from error


def version_error(who: str, version: object) -> str:
    """Say that somebody speaks another version."""
    return (
        f"{who} speaks version {version} of the frame protocol and this side version {VERSION}; "
        "update the older of the two."
    )


def _malformed(octets: bytes | memoryview, error: Exception, kinds: set[str]) -> ProtocolError:
    """Say what is wrong with some bytes."""
    try:
        head = _of_head.decode(octets)
    except Exception:
        return ProtocolError(_without_kind(octets))
    kind = head.kind[:40]
    if head.kind in ("hello", "welcome") and type(head.version) is int and head.version != VERSION:
        return ProtocolError(version_error("The other side", head.version))
    if head.kind not in kinds:
        return ProtocolError(
            f"A message {kind!r} arrived, which version {VERSION} of the frame protocol does not know "
            "here."
        )
    return ProtocolError(f"A message of kind {kind!r} is malformed: {str(error)[:300]}.")


def _without_kind(octets: bytes | memoryview) -> str:
    try:
        found = _of_anything.decode(octets)
    except Exception as error:
        return f"{len(octets)} bytes that are no msgpack arrived: {str(error)[:100]}."
    return f"A message without a kind arrived: {str(found)[:80]}."
