"""The contract of frame streams, as their own process reaches them."""

import os
import subprocess
import sys

import pytest
from hypothesis import settings

from concertino import FrameStreamError
from concertino.frames import FrameStream, is_published_here, subscribe

from .contract import FrameTransportContract
from .contract.machine import FrameStreamMachine

pytestmark = pytest.mark.disturbed_by_load(
    "who gives no sign of life for a short time-out counts as dead, and gets no processor in time"
)


class TestDirect(FrameTransportContract):
    way = "direct"


def test_a_stream_has_an_address_of_its_own_by_default() -> None:
    with FrameStream(shape=(2, 2), dtype="u1") as one, FrameStream(shape=(2, 2), dtype="u1") as two:
        assert one.address.startswith("tcp://127.0.0.1:")
        assert one.address != two.address
        assert is_published_here(one.address)
        pid = os.fork()
        if not pid:  # what a child has of the stream is a copy that nobody publishes on
            os._exit(is_published_here(one.address))
        assert os.waitpid(pid, 0)[1] == 0
    assert not is_published_here(one.address)


def test_a_program_may_end_without_closing_its_streams() -> None:
    program = (
        "import numpy as np; from concertino.frames import FrameStream, subscribe\n"
        "stream = FrameStream(shape=(2, 2), dtype='u1'); stream.publish(np.ones((3, 2, 2), 'u1'))\n"
        "reader = subscribe(stream.address, name='reader', delivery='latest')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("address", ["carrier-pigeon://loft", "camera", "", "inproc://camera"])
def test_an_unknown_kind_of_address_is_refused(address: str) -> None:
    for reach in (lambda: subscribe(address, name="writer"), lambda: stream_at(address)):
        with pytest.raises(
            FrameStreamError, match="is of no known kind; write tcp://host:port/name"
        ):
            reach()


def stream_at(address: str) -> FrameStream:
    return FrameStream(address, shape=(2, 2), dtype="u1")


@pytest.mark.parametrize("shape", [(0, 4), (4,), (1, 2, 3)])
def test_frames_are_images(shape: tuple[int, int]) -> None:
    with pytest.raises(FrameStreamError, match=r"it takes \(height, width\) of at least 1 × 1"):
        FrameStream(shape=shape, dtype="u2")
    with pytest.raises(FrameStreamError, match="and type complex64; it takes"):
        FrameStream(shape=(2, 2), dtype="c8")


def test_a_ring_larger_than_the_memory_is_refused() -> None:
    with pytest.raises(FrameStreamError, match=r"needs \d+ MiB; \d+ MiB of memory are free"):
        FrameStream(shape=(2048, 2048), dtype="u2", ring_bytes=2**45)


class DirectMachine(FrameStreamMachine):
    way = "direct"


TestDirectMachine = DirectMachine.TestCase
TestDirectMachine.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
