"""Where the time of a reconstruction goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Timings(dict[str, float]):
    """Seconds by what they were spent on."""

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Add the time that the block takes."""
        begin_s = time.perf_counter()
        try:
            yield
        finally:
            self[what] = self.get(what, 0.0) + time.perf_counter() - begin_s
