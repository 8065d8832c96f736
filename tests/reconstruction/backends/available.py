"""Skip tests of a back end that is not here, or fail them where it has to be."""

import os
from functools import cache

import pytest

from concertino.reconstruction import backends

REQUIRED = "CONCERTINO_REQUIRE"
"""Environment variable: names of back ends, apart by commas, whose tests must not be skipped."""


@cache
def _missing(name: str) -> str:
    backend = next(backend for backend in backends() if backend.name == name)
    return "" if backend.available else backend.reason


def need_backend(name: str) -> None:
    """Skip the test when a back end is not available; fail it when the environment requires it."""
    if reason := _missing(name):
        if name in os.environ.get(REQUIRED, "").split(","):
            pytest.fail(f"{REQUIRED} names {name}, but {reason}")
        pytest.skip(f"back end {name}: {reason}")
