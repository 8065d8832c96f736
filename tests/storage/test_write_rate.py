"""How fast a data directory takes frames: measured once, really written, remembered."""

import json
from pathlib import Path

import numpy as np
import pytest

from concertino import StorageError
from concertino.storage import find_runs, measured_write_rate


def test_it_is_measured_once_and_kept(tmp_path: Path) -> None:
    first = measured_write_rate(tmp_path, (32, 48))
    assert first.bytes_s > 0
    assert first.end_s >= 0
    assert first.source.startswith("measured on 20")
    assert [path.name for path in tmp_path.iterdir()] == [".write_rates.json"]
    assert measured_write_rate(tmp_path, (32, 48)) == first
    measured_write_rate(tmp_path, (64, 48), np.uint8, bytes_per_file=2**20)
    assert set(json.loads((tmp_path / ".write_rates.json").read_text())) == {
        "32x48 uint16, 0 bytes a file",
        "64x48 uint8, 1048576 bytes a file",
    }
    assert measured_write_rate(tmp_path, (32, 48), again=True) != first
    assert find_runs(tmp_path) == []


@pytest.mark.parametrize("text", ["", "{", '{"32x48 uint16, 0 bytes a file": {"speed": 3}}', "[]"])
def test_a_damaged_result_is_measured_again(tmp_path: Path, text: str) -> None:
    (tmp_path / ".write_rates.json").write_text(text)
    found = measured_write_rate(tmp_path, (32, 48))
    assert measured_write_rate(tmp_path, (32, 48)) == found


def test_a_place_that_cannot_be_written_to() -> None:
    with pytest.raises(StorageError, match=r"/proc/nowhere"):
        measured_write_rate("/proc/nowhere", (32, 48))
