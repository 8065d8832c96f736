"""The contract of cameras, for those that come with the package."""

import pytest

from concertino.devices import (
    BufferedFrameSource,
    FileCamera,
    FrameSource,
    SimulatedBeamline,
    SimulatedSource,
)
from concertino.storage import sample_path
from concertino.testing import BufferedFrameSourceContract, FrameSourceContract


class TestSimulatedSource(FrameSourceContract):
    @pytest.fixture
    def source(self) -> FrameSource:
        return SimulatedBeamline(shape=(16, 24)).camera.source


class TestFileSource(FrameSourceContract):
    @pytest.fixture
    def source(self) -> FrameSource:
        return FileCamera(sample_path()).source


class TestBufferedSource(BufferedFrameSourceContract):
    @pytest.fixture
    def source(self) -> BufferedFrameSource:
        return buffered_source()


def buffered_source() -> SimulatedSource:
    beamline = SimulatedBeamline(
        shape=(16, 24), memory_bytes=12 * 16 * 24 * 2, readout_rate_hz=500.0
    )
    source = beamline.camera.source
    assert isinstance(source, SimulatedSource)
    return source
