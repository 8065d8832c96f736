"""The contract of frame streams, as other processes of this computer reach them."""

from hypothesis import settings

from .contract import FrameTransportContract
from .contract.machine import FrameStreamMachine


class TestMemory(FrameTransportContract):
    way = "memory"


class MemoryMachine(FrameStreamMachine):
    way = "memory"
    nothing_s = 0.02


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(max_examples=10, stateful_step_count=15, deadline=None)
