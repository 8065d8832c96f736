"""How fast a data directory takes frames: measured once, really written, remembered."""

import json
from pathlib import Path

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
    measured_write_rate(tmp_path, (64, 48))
    kept = tmp_path / ".write_rates.json"
    assert set(json.loads(kept.read_text())) == {"32x48", "64x48"}
    kept.unlink()
    assert measured_write_rate(tmp_path, (32, 48)) != first
    assert find_runs(tmp_path) == []


@pytest.mark.parametrize("text", ["", "{", '{"32x48": {"speed": 3}}', "[]"])
def test_a_damaged_result_is_measured_again(tmp_path: Path, text: str) -> None:
    (tmp_path / ".write_rates.json").write_text(text)
    found = measured_write_rate(tmp_path, (32, 48))
    assert measured_write_rate(tmp_path, (32, 48)) == found


def test_a_place_that_cannot_be_written_to() -> None:
    with pytest.raises(StorageError, match=r"/proc/nowhere"):
        measured_write_rate("/proc/nowhere", (32, 48))
