"""Run directories: numbered, never reused, safe between processes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from concertino import ParameterError, StorageError
from concertino.callbacks import derived_directory
from concertino.storage import RunDirectories, check_directory, check_space

MAKE_TEN = """
import sys
from concertino.storage import RunDirectories
directories = RunDirectories(sys.argv[1])
for _ in range(10):
    print(directories.new().scan_id)
"""


def test_directories_are_numbered_from_one(tmp_path: Path) -> None:
    directories = RunDirectories(tmp_path)
    made = [directories.new() for _ in range(3)]
    assert [run.name for run in made] == ["scan_0001", "scan_0002", "scan_0003"]
    assert [run.scan_id for run in made] == [1, 2, 3]
    assert all(run.path.is_dir() and not list(run.path.iterdir()) for run in made)
    assert made[0].metadata() == {
        "scan_id": 1,
        "scan_name": "scan_0001",
        "run_directory": str(tmp_path / "scan_0001"),
    }


def test_a_number_is_not_given_again_after_a_restart_or_a_deletion(tmp_path: Path) -> None:
    RunDirectories(tmp_path).new()
    RunDirectories(tmp_path).new().path.rmdir()
    assert RunDirectories(tmp_path).new().scan_id == 3


def test_the_counter_passes_directories_that_others_made(tmp_path: Path) -> None:
    (tmp_path / "scan_0041").mkdir()
    (tmp_path / "scan_0007_reconstruction_01").mkdir()
    assert RunDirectories(tmp_path).new().name == "scan_0042"


def test_a_file_in_the_way_is_passed_too(tmp_path: Path) -> None:
    (tmp_path / "tooth-1.ct").touch()
    assert RunDirectories(tmp_path, "tooth-{}.ct").new().name == "tooth-2.ct"


def test_scan_ids_go_on_with_another_pattern(tmp_path: Path) -> None:
    RunDirectories(tmp_path).new()
    assert RunDirectories(tmp_path, "tooth_{:03d}").new().name == "tooth_002"


def test_two_processes_never_get_the_same_directory(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MAKE_TEN, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    numbers = [int(line) for process in processes for line in process.communicate()[0].split()]
    assert sorted(numbers) == list(range(1, 21))
    assert len(list(tmp_path.glob("scan_*"))) == 20


def test_without_separate_scans_the_root_takes_one_run(tmp_path: Path) -> None:
    directories = RunDirectories(tmp_path, separate_scans=False)
    assert directories.new().path == tmp_path
    (tmp_path / "documents.jsonl").touch()
    with pytest.raises(
        StorageError, match=f"{tmp_path} has a run already and separate_scans is off"
    ):
        directories.new()


def test_a_start_document_that_names_its_directory_gets_that(tmp_path: Path) -> None:
    directories = RunDirectories(tmp_path)
    named = tmp_path / "scan_0005"
    assert directories({"uid": "x", "run_directory": str(named)}) == named
    assert directories({"uid": "y"}) == tmp_path / "scan_0001"


@pytest.mark.parametrize("named", ["/data/scan_0005", "../scan_0005", "scan_0001/../../x", "a\0b"])
def test_a_start_document_cannot_name_a_directory_elsewhere(tmp_path: Path, named: str) -> None:
    with pytest.raises(StorageError, match=r"Leave run_directory out of the meta|cannot be a path"):
        RunDirectories(tmp_path)({"uid": "x", "run_directory": named})


@pytest.mark.parametrize("name", ["../../x", "/abs", "a/b", "..", "a\0b", "x" * 300])
def test_a_derived_run_stays_beside_its_own(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageError, match="cannot be that of a file or directory"):
        derived_directory(tmp_path / "data", f"{name}_reconstruction")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "pattern",
    ["scan", "{}_{}", "a/{:04d}", "{name}", "scan_{:04d", "{:04d}\\x", "..{}", "{}\0", "{:0300d}"],
)
def test_a_pattern_without_exactly_one_number_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ParameterError, match=re.escape(repr(pattern))):
        RunDirectories(tmp_path, pattern)


def test_a_file_as_data_directory_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.touch()
    with pytest.raises(
        StorageError,
        match=f"Cannot use {file} as data directory: it is a file, not a directory; choose another",
    ):
        RunDirectories(file)
    with pytest.raises(StorageError, match=f"{file} is a file, not a directory"):
        RunDirectories(file / "beamtime")


def test_a_directory_that_is_not_writable_is_refused() -> None:
    # even root cannot make files there
    with pytest.raises(StorageError, match="Cannot write to the data directory /proc/self: "):
        check_directory("/proc/self")


def test_too_little_space_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    directories = RunDirectories(tmp_path)
    with pytest.raises(
        StorageError,
        match=f"Not enough space in {tmp_path}: 1000000.0 TB are needed, .* are free. Free some space",
    ):
        directories.new(bytes_needed=10**18)
    assert not list(tmp_path.glob("scan_*"))
    check_space(tmp_path / "not" / "made" / "yet", 1000)
