"""The contract of frame transports, within one process."""

from collections.abc import Callable
from itertools import count
from uuid import uuid4

import pytest
from hypothesis import settings

from concertino import FrameStreamError
from concertino.frames import FrameStream, subscribe

from .contract import FrameTransportContract
from .contract.machine import FrameStreamMachine


class TestInproc(FrameTransportContract):
    @pytest.fixture
    def new_address(self) -> Callable[[], str]:
        numbers = count()
        return lambda: f"inproc://contract/{next(numbers)}"


def test_a_stream_has_an_address_of_its_own_by_default() -> None:
    with FrameStream(shape=(2, 2), dtype="u1") as one, FrameStream(shape=(2, 2), dtype="u1") as two:
        assert one.address.startswith("inproc://")
        assert one.address != two.address


def test_an_address_is_taken_once() -> None:
    with (
        FrameStream("inproc://camera", shape=(2, 2), dtype="u1"),
        pytest.raises(FrameStreamError, match="There is a frame stream at inproc://camera already"),
    ):
        FrameStream("inproc://camera", shape=(2, 2), dtype="u1")


def test_a_stream_of_another_process_is_not_found_in_this_one() -> None:
    with pytest.raises(
        FrameStreamError,
        match="Subscriber 'writer' found no frame stream at inproc://nowhere in this process; it "
        "has ended, or it lives in another process and needs an ipc:// or tcp:// address",
    ):
        subscribe("inproc://nowhere", name="writer")


@pytest.mark.parametrize("address", ["carrier-pigeon://loft", "camera", ""])
def test_an_unknown_kind_of_address_is_refused(address: str) -> None:
    with pytest.raises(
        FrameStreamError, match="is of no known kind; known are any://…, inproc://…"
    ):
        subscribe(address, name="writer")


@pytest.mark.parametrize("shape", [(0, 4), (4,), (1, 2, 3)])
def test_frames_are_images(shape: tuple[int, int]) -> None:
    with pytest.raises(FrameStreamError, match=r"it takes \(height, width\) of at least 1 × 1"):
        FrameStream(shape=shape, dtype="u2")
    with pytest.raises(FrameStreamError, match="and type complex64; it takes"):
        FrameStream(shape=(2, 2), dtype="c8")


def test_a_ring_larger_than_the_memory_is_refused() -> None:
    with pytest.raises(FrameStreamError, match=r"needs \d+ MiB; \d+ MiB of memory are free"):
        FrameStream(shape=(2048, 2048), dtype="u2", ring_bytes=2**45)


class InprocMachine(FrameStreamMachine):
    new_address = staticmethod(lambda: f"inproc://machine/{uuid4().hex}")


TestInprocMachine = InprocMachine.TestCase
TestInprocMachine.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
