"""A data directory with a session, and control systems of detectors."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .detectors import Iocs, Scans


@pytest.fixture
def scans(tmp_path: Path) -> Iterator[Scans]:
    made = Scans(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def iocs() -> Iocs:
    return Iocs()
