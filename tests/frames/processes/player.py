"""A publisher or a subscriber in a process of its own; what happens is printed as JSON lines."""

import json
import sys
import time
from typing import Any

import numpy as np

from concertino import ConcertinoError
from concertino.frames import FrameBatch, FrameStream, Ring, subscribe

SHAPE = (32, 64)


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def check(batch: FrameBatch, start: int) -> None:
    # Like check_batch of the contract, which takes seconds to import on a busy machine.
    expected = (np.arange(start, start + len(batch)) % 251).astype(np.uint16)
    assert batch.start == start
    assert np.array_equal(
        batch.frames, np.broadcast_to(expected[:, None, None], batch.frames.shape)
    )


def play_subscriber(
    address: str, *, hang_after: int = -1, pause_s: float = 0.0, **options: Any
) -> None:
    """Read to the end, checking each frame; or hang without acknowledging the last ones."""
    with subscribe(address, name="player", **options) as subscription:
        say(ready=True)
        stop, first = 0, None
        for batch in subscription:
            first = batch.start if first is None else first
            check(batch, batch.start if stop == 0 else stop)
            stop = batch.stop
            if 0 <= hang_after <= stop:
                say(hangs=stop)
                time.sleep(1000)
            time.sleep(pause_s)
            subscription.acknowledge(stop)
        subscription.finish()
    say(first=first, stop=stop)


def play_publisher(*, wire: bool, frames: int, timeout_s: float, pause_s: float = 0.0) -> None:
    """Publish when a line comes on the standard input."""
    with FrameStream(
        shape=SHAPE,
        dtype=np.uint16,
        ring_bytes=2**20,
        timeout_s=timeout_s,
        name="played",
        ring=Ring(SHAPE, np.uint16, 2**20) if wire else None,
    ) as stream:
        say(address=stream.address)
        sys.stdin.readline()
        for start in range(frames):
            stream.publish(np.full(SHAPE, start % 251, np.uint16))
            time.sleep(pause_s)
        say(published=stream.published)
        stream.end().check()
    say(ended=True)


if __name__ == "__main__":
    part, arguments = sys.argv[1], json.loads(sys.argv[2])
    begin_s = time.monotonic()
    try:
        (play_publisher if part == "publish" else play_subscriber)(**arguments)
    except ConcertinoError as error:
        say(error=type(error).__name__, message=str(error), after_s=time.monotonic() - begin_s)
