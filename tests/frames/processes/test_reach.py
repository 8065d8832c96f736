"""Which way frames take: through shared memory where it is in reach, and over the wire from elsewhere."""

import multiprocessing as mp
import os
from multiprocessing.connection import Connection
from typing import Any

import pytest

from concertino.frames import FrameStream, subscribe
from tests.frames.contract.readers import numbered_frames

SHAPE = (8, 16)


def take(address: str, user: int, name: str, delivery: Any, answer: Connection) -> None:
    """Read a stream as another user, and say whether it was read from memory."""
    if user:
        os.setuid(user)
    with subscribe(address, name=name, delivery=delivery) as subscription:
        answer.send(subscription._channel.verifies)
        count = 0
        for batch in subscription:
            count += len(batch)
            if delivery == "every":
                subscription.acknowledge(batch.stop)
    answer.send(count)


@pytest.mark.parametrize("delivery", ["every", "latest"])
@pytest.mark.parametrize("user", [0, 65534])
def test_pixels_travel_only_where_the_memory_is_out_of_reach(user: int, delivery: str) -> None:
    if os.geteuid():
        pytest.skip("only root can become another user")
    with FrameStream(shape=SHAPE, dtype="u2", timeout_s=10.0) as stream:
        ours, theirs = mp.Pipe()
        process = mp.get_context("fork").Process(
            target=take, args=(stream.address, user, "reader", delivery, theirs)
        )
        process.start()
        assert ours.poll(20)
        travels = ours.recv()
        assert travels is bool(user)
        stream.publish(numbered_frames(0, 40, SHAPE))
        stream.end().check()
        assert ours.poll(20)
        count = ours.recv()
        assert count == 40 if delivery == "every" else count >= 1
        process.join(240)
        assert process.exitcode == 0
        ours.close()
