"""The contract of frame streams, as other computers reach them."""

import pytest
from hypothesis import settings

from tests.frames.contract import FrameTransportContract
from tests.frames.contract.machine import FrameStreamMachine

pytestmark = pytest.mark.disturbed_by_load(
    "who gives no sign of life for a short time-out counts as dead, and gets no processor in time"
)


class TestWire(FrameTransportContract):
    way = "wire"


class WireMachine(FrameStreamMachine):
    way = "wire"
    nothing_s = 0.02


TestWireMachine = WireMachine.TestCase
TestWireMachine.settings = settings(max_examples=10, stateful_step_count=15, deadline=None)
