"""A deadline for loops of tests: one that goes on for ever hangs the whole run, and says nothing."""

import time
from collections.abc import Callable


def patience(within_s: float = 120.0) -> Callable[[], bool]:
    """Return what is True whenever it is asked until a deadline, and fails the test then."""
    until_s = time.monotonic() + within_s

    def left() -> bool:
        assert time.monotonic() < until_s, f"what is waited for has not come within {within_s:g} s"
        return True

    return left
