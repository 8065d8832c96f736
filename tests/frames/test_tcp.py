"""The contract of frame transports, over TCP."""

from collections.abc import Callable

import pytest
from hypothesis import settings

from .contract import FrameTransportContract
from .contract.machine import FrameStreamMachine


class TestTcp(FrameTransportContract):
    @pytest.fixture
    def new_address(self) -> Callable[[], str]:
        return lambda: "tcp://"


class TcpMachine(FrameStreamMachine):
    new_address = staticmethod(lambda: "tcp://")
    nothing_s = 0.02


TestTcpMachine = TcpMachine.TestCase
TestTcpMachine.settings = settings(max_examples=10, stateful_step_count=15, deadline=None)
