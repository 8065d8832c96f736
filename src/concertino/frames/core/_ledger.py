"""The account of a frame stream: what became of every frame."""

from dataclasses import asdict, dataclass
from typing import Any

from concertino._errors import FramesLostError

_HELD_UP_S = 0.05  # less is no reason for anything


@dataclass(frozen=True)
class SubscriberLedger:
    """What one subscriber did with the frames of a stream.

    Parameters
    ----------
    name : str
        Who it is.
    delivery : {"every", "latest"}
        How it wanted the frames.
    received, acknowledged : int
        Frames it took, and frames it declared safe, counted from the first.
    digest : str
        Hexadecimal XXH3-64 over the checksums of the frames it took, in order.
    state : {"finished", "failed", "silent", "open"}
        How it ended.
    reason : str
        Why it failed; empty otherwise.
    necessary : bool
        Whether the stream could not do without it.
    held_up_s : float
        How long the camera waited for it, the ring being full, in seconds.
    """

    name: str
    delivery: str
    received: int
    acknowledged: int
    digest: str
    state: str
    reason: str = ""
    necessary: bool = True
    held_up_s: float = 0.0


@dataclass(frozen=True)
class Ledger:
    """What became of the frames of one stream.

    Parameters
    ----------
    address, name : str
        The stream.
    triggered : int
        Frames that were asked of the camera; 0 when the publisher did not say.
    exposed : int
        Frames that the camera exposed: published, dropped, discarded, and recorded but not read out.
    published : int
        Frames put on the stream.
    dropped : tuple of int
        The camera's numbers of frames exposed and lost.
    digest : str
        Hexadecimal XXH3-64 over the checksums of the published frames, in order.
    subscribers : tuple of SubscriberLedger
        One for each subscriber that there was.
    reason : str
        Why the stream failed; empty when it did not.
    discarded : int
        Frames exposed while the camera waited for a trigger and let go on purpose. They are no loss.
    recorded : int
        Frames that were exposed into the camera's own memory before they were read out; 0 when they
        went to the stream directly.
    loss : str
        Why frames were dropped, as far as the camera tells.
    """

    address: str
    name: str
    triggered: int
    exposed: int
    published: int
    dropped: tuple[int, ...]
    digest: str
    subscribers: tuple[SubscriberLedger, ...]
    reason: str = ""
    discarded: int = 0
    recorded: int = 0
    loss: str = ""

    @property
    def acknowledged(self) -> int:
        """Frames that every necessary subscriber which wants each frame has declared safe."""
        counts = [s.acknowledged for s in self.subscribers if s.delivery == "every" and s.necessary]
        return min(counts, default=self.published)

    @property
    def slowest(self) -> str:
        """Who held up the camera longest, and for how long, in words; empty if nobody did."""
        slow = max(self.subscribers, key=lambda each: each.held_up_s, default=None)
        if slow is None or slow.held_up_s < _HELD_UP_S:
            return ""
        return (
            f"{slow.name} held up the camera for {slow.held_up_s:.3g} s in all, the ring being full"
        )

    def differences(self) -> list[str]:
        """Return a sentence for each count that differs from another."""
        found = []
        wanted = self.exposed - self.discarded
        if self.triggered and self.triggered != wanted:
            besides = f" besides {self.discarded} let go" if self.discarded else ""
            found.append(f"{self.triggered} frames were triggered but {wanted} exposed{besides}")
        if self.recorded > (read_out := self.published + len(self.dropped)):
            found.append(
                f"{self.recorded} frames were recorded into the camera's memory but {read_out} read out"
            )
        if self.dropped:
            shown = ", ".join(map(str, self.dropped[:10])) + (", …" if self.dropped[10:] else "")
            slow = f", while {self.slowest}" if self.slowest else ""
            why = f", as {self.loss}" if self.loss else ""
            found.append(
                f"the camera dropped {len(self.dropped)} frames (numbers {shown}){slow}{why}"
            )
        for subscriber in self.subscribers:
            if subscriber.delivery != "every" or not subscriber.necessary:
                continue
            if subscriber.acknowledged != self.published:
                found.append(
                    f"{subscriber.name} acknowledged {subscriber.acknowledged} of "
                    f"{self.published} frames"
                )
            elif subscriber.digest != self.digest:
                found.append(f"{subscriber.name} has other bytes than were published")
        return found

    def check(self) -> None:
        """Raise `FramesLostError` if any count differs.

        Raises
        ------
        FramesLostError
            With every difference, in numbers.
        """
        found = self.differences()
        if found:
            raise FramesLostError(
                f"Frame stream {self.name or self.address} lost frames: {'; '.join(found)}. "
                f"Frames 0 to {self.acknowledged} (excluded) are safe; take the others again."
            )


def ledger_records(ledger: Ledger, stream: str) -> list[dict[str, Any]]:
    """Return the ledger as flat records, one for the publisher and one for each subscriber.

    Parameters
    ----------
    ledger : Ledger
        The account of a frame stream.
    stream : str
        Name of the document stream that it belongs to (``darks``, …).

    Returns
    -------
    list of dict
        Keys ``stream``, ``party``, ``role``, ``triggered``, ``exposed``, ``recorded``, ``frames``,
        ``acknowledged``, ``dropped``, ``discarded``, ``digest``, ``state``, ``reason`` and
        ``necessary``.
    """
    publisher = {
        "stream": stream,
        "party": "camera",
        "role": "publisher",
        "triggered": ledger.triggered,
        "exposed": ledger.exposed,
        "recorded": ledger.recorded,
        "frames": ledger.published,
        "acknowledged": ledger.acknowledged,
        "dropped": len(ledger.dropped),
        "discarded": ledger.discarded,
        "digest": ledger.digest,
        "state": "failed" if ledger.reason else "finished",
        "reason": ledger.reason,
        "necessary": True,
    }
    rows = [publisher]
    for subscriber in ledger.subscribers:
        row = asdict(subscriber)
        rows.append(
            publisher
            | {
                "party": row["name"],
                "role": row["delivery"],
                "frames": row["received"],
                "acknowledged": row["acknowledged"],
                "digest": row["digest"],
                "state": row["state"],
                "reason": row["reason"],
                "necessary": row["necessary"],
            }
        )
    return rows
