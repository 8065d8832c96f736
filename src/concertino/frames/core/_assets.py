"""Turns acknowledgements and claims into stream_resource and stream_datum documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from ._batch import Claim

if TYPE_CHECKING:
    from event_model import ComposeStreamResourceBundle


class Stored(Protocol):
    """What is to be known of a stream, as of a `FrameStream`."""

    @property
    def acknowledged(self) -> int:
        """Frames that are safe."""

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Where they are stored."""


class StreamAssets:
    """The external-asset documents of one frame stream.

    Parameters
    ----------
    data_key : str
        Of the frames in their descriptor.
    stream : FrameStream
        Its first claim says where the run's frames are stored.
    """

    def __init__(self, data_key: str, stream: Stored) -> None:
        self._data_key = data_key
        self._stream = stream
        self._bundle: ComposeStreamResourceBundle | None = None
        self._described = 0

    @property
    def safe(self) -> int:
        """How many frames are stored and safe."""
        return self._stream.acknowledged if self._stream.claims else 0

    def documents(self, index: int | None = None) -> Iterator[tuple[str, Any]]:
        """Yield what is new, up to frame `index`; nothing when nobody stores the frames."""
        claims = self._stream.claims
        if not claims:
            return
        stop = self.safe if index is None else min(index, self.safe)
        if stop <= self._described:
            return
        if self._bundle is None:
            self._bundle = _compose(self._data_key, claims[0])
            yield "stream_resource", self._bundle.stream_resource_doc
        document = self._bundle.compose_stream_datum({"start": self._described, "stop": stop})
        self._described = stop
        yield "stream_datum", document


def _compose(data_key: str, claim: Claim) -> ComposeStreamResourceBundle:
    from event_model import ComposeStreamResource

    return ComposeStreamResource()(
        mimetype=claim.mimetype,
        uri=claim.uri,
        data_key=data_key,
        parameters={**claim.parameters, "durability": claim.durability},
    )
