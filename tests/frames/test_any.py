"""Frame streams that go through shared memory on the same computer and over TCP from elsewhere."""

import multiprocessing as mp
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import pytest

from concertino.frames import FrameStream, subscribe

from .contract import FrameTransportContract
from .contract.readers import numbered_frames
from .line import Line

SHAPE = (8, 16)


class TestAny(FrameTransportContract):
    @pytest.fixture
    def new_address(self) -> Callable[[], str]:
        return lambda: "any://"


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
    with FrameStream("any://", shape=SHAPE, dtype="u2", timeout_s=10.0) as stream:
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
        process.join(20)
        assert process.exitcode == 0
        ours.close()


def test_a_subscriber_of_another_computer_gets_pixels() -> None:
    heard: list[bytes] = []
    with FrameStream("any://", shape=SHAPE, dtype="u2", timeout_s=10.0) as stream:
        address = stream.address.replace("any:", "tcp:")
        line = Line(address, heard)
        with subscribe(line.address, name="elsewhere") as subscription:
            frames = numbered_frames(0, 4, SHAPE)
            stream.publish(frames)
            batch = subscription.read(4)
            assert batch is not None
            assert (batch.frames == frames[: len(batch)]).all()
            while batch is not None:
                subscription.acknowledge(batch.stop)
                if batch.stop == 4:
                    break
                batch = subscription.read()
            subscription.finish()
        stream.end().check()
        line.close()
    assert frames[3].tobytes() in b"".join(heard)
