"""Coroutine tests run on asyncio, as the devices do."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Return the event loop of the tests that are coroutines."""
    return "asyncio"
