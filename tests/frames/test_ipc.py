"""The contract of frame transports, between processes of one computer."""

from collections.abc import Callable

import pytest
from hypothesis import settings

from .contract import FrameTransportContract
from .contract.machine import FrameStreamMachine


class TestIpc(FrameTransportContract):
    @pytest.fixture
    def new_address(self) -> Callable[[], str]:
        return lambda: "ipc://"


class IpcMachine(FrameStreamMachine):
    new_address = staticmethod(lambda: "ipc://")
    nothing_s = 0.02


TestIpcMachine = IpcMachine.TestCase
TestIpcMachine.settings = settings(max_examples=10, stateful_step_count=15, deadline=None)
