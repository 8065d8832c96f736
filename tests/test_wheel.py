"""The wheel holds the whole package, and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import concertino

ROOT = Path(__file__).parents[1]
FOLDERS = ("plans", "callbacks", "devices", "src")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy: a leftover build folder would resurrect deleted modules."""
    copy = tmp_path_factory.mktemp("source")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*command, str(source)], check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


def test_it_holds_every_file_of_the_package_as_it_is(wheel: Path, source: Path) -> None:
    expected = {}
    for folder in FOLDERS:
        for file in (source / folder).rglob("*"):
            relative = file.relative_to(source / folder)
            built = ".egg-info/" in f"{relative}"
            if file.is_symlink() or not file.is_file() or built:
                continue
            home = "" if folder == "src" else f"concertino/{folder}/"
            expected[f"{home}{relative.as_posix()}"] = file.read_bytes()
    with zipfile.ZipFile(wheel) as archive:
        held = {
            name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name
        }

    assert set(held) == set(expected)
    assert [name for name in held if held[name] != expected[name]] == []
    assert "concertino/py.typed" in held


def test_its_environment_tests_it_and_not_the_checkout() -> None:
    environment = ROOT / "build" / "wheel" / "venv"  # make test VENV=build/wheel/venv
    tested = Path(concertino.__file__)
    assert Path(sys.prefix) != environment or tested.is_relative_to(environment)


def test_its_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (entry_points,) = [n for n in archive.namelist() if n.endswith("entry_points.txt")]

        assert b"concertino = concertino.cli:main" in archive.read(entry_points)
        assert [n for n in archive.namelist() if n.endswith("licenses/LICENSE")]
