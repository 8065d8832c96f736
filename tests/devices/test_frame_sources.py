"""The contract of cameras, for those that come with the package."""

import pytest

from concertino.devices import FileCamera, FrameSource, SimulatedBeamline
from concertino.storage import sample_path
from concertino.testing import FrameSourceContract


class TestSimulatedSource(FrameSourceContract):
    @pytest.fixture
    def source(self) -> FrameSource:
        return SimulatedBeamline(shape=(16, 24)).camera.source


class TestFileSource(FrameSourceContract):
    @pytest.fixture
    def source(self) -> FrameSource:
        return FileCamera(sample_path()).source
