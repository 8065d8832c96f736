"""What every frame transport must do: the suite that each is put through."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

from concertino.frames import FrameStream

from .delivery import DeliveryContract
from .end import EndContract
from .faults import FaultContract
from .flow import FlowContract
from .necessity import NecessityContract
from .readers import SHAPE, Way, make_stream
from .volume import VolumeContract


class FrameTransportContract(
    DeliveryContract,
    FlowContract,
    EndContract,
    FaultContract,
    NecessityContract,
    VolumeContract,
):
    """Tests of the semantics of frame streams, to be inherited for each way in which they are reached.

    A subclass says which in `way`; pytest then collects the tests.
    """

    way: ClassVar[Way]

    @pytest.fixture
    def make(self) -> Iterator[Callable[..., FrameStream]]:
        """Give a function that makes a small stream, which is closed after the test."""
        streams: list[FrameStream] = []

        def make(capacity: int = 8, **options: Any) -> FrameStream:
            shape = options.setdefault("shape", SHAPE)
            dtype = np.dtype(options.setdefault("dtype", np.uint16))
            options.setdefault("ring_bytes", capacity * shape[0] * shape[1] * dtype.itemsize)
            options.setdefault("timeout_s", 10.0)
            stream = make_stream(self.way, **options)
            streams.append(stream)
            return stream

        yield make
        for stream in streams:
            stream.close()

    @pytest.fixture(autouse=True)
    def _no_thread_is_left(self) -> Iterator[None]:
        before = set(threading.enumerate())
        yield
        deadline = time.monotonic() + 5
        while left := [t for t in threading.enumerate() if t not in before and not _is_pyzmq(t)]:
            assert time.monotonic() < deadline, f"threads are left: {left}"
            time.sleep(0.005)


def _is_pyzmq(thread: threading.Thread) -> bool:
    """Tell pyzmq's own thread, of which a process has one from the first zero-copy message on."""
    return type(thread).__module__.startswith("zmq.")
