"""The tiny beamline as a fixture."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .laboratory import Laboratory


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    """Return a synchrotron beamline with a RunEngine, recorder and writer."""
    lab = Laboratory(tmp_path)
    yield lab
    lab.close()
