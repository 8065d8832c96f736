"""Which tests are done again when they fail: those that say why, and no other."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COUNTED = """
from collections import Counter
from pathlib import Path
import pytest

tried = Counter()

def passes_the(time, name):
    tried[name] += 1
    Path(__file__).with_name(name).write_text(str(tried[name]))
    assert tried[name] == time

def test_without_a_reason():
    passes_the(2, "without")

@pytest.mark.disturbed_by_load("a process comes late")
def test_that_passes_the_third_time():
    passes_the(3, "third")

@pytest.mark.disturbed_by_load("a process comes late")
def test_that_would_pass_the_fourth_time():
    passes_the(4, "fourth")
"""
WRONG = """
import pytest

@pytest.mark.disturbed_by_load
def test_nothing(): ...

@pytest.mark.disturbed_by_load("slow")
def test_a_word(): ...

@pytest.mark.flaky(reruns=5)
def test_flaky(): ...
"""


def run(folder: Path, tests: str) -> "subprocess.CompletedProcess[str]":
    """Run tests beside a copy of the conftest."""
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    (folder / "test_given.py").write_text(tests)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml",
         "--rootdir", folder, folder],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


def test_only_what_says_why_is_done_again(tmp_path: Path) -> None:
    done = run(tmp_path, COUNTED)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "2 failed, 1 passed, 4 rerun in " in said
    tries = {name: (tmp_path / name).read_text() for name in ("without", "third", "fourth")}
    assert tries == {"without": "1", "third": "3", "fourth": "3"}
    assert "RERUN test_given.py::test_that_passes_the_third_time" in said


def test_a_reason_must_be_given(tmp_path: Path) -> None:
    done = run(tmp_path, WRONG)
    said = done.stdout + done.stderr
    assert done.returncode == 4, said
    for sentence in (
        "::test_nothing is marked disturbed_by_load with nothing; say in a sentence what",
        "::test_a_word is marked disturbed_by_load with ('slow',); say in a sentence what",
        "::test_flaky is marked flaky, which needs no reason; mark it disturbed_by_load.",
    ):
        assert sentence in said


def test_nothing_does_all_tests_again() -> None:
    for name in ("Makefile", "pyproject.toml", ".ci/run", ".github/workflows/ci.yml"):
        assert "--reruns" not in (ROOT / name).read_text(), name
