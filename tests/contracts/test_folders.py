"""The folders show the structure: none is too full, no module too long, and tests stand where their subject does."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("plans", "callbacks", "devices", "src/concertino")

MOST_MODULES = 20
MOST_LINES = 400

#: Folders of tests that are named for what they show instead of for a folder of the package, and why.
ABOUT_ALL = {
    "contracts": "of the sources as text",
    "endurance": "hundreds of runs of everything together",
    "extras": "an installation without extras",
    "signals": "a process that is interrupted, whatever it does",
    "frames/contract": "the suite that each way to a frame stream passes",
    "plans/control_systems": "beamlines of Tango, EPICS and ophyd, as plans see them",
}


def modules(folder: Path) -> Iterator[Path]:
    """Yield the modules of a folder and those below it; links are not followed."""
    for path in sorted(folder.rglob("*.py")):
        if not any(part.is_symlink() for part in path.parents) and "__pycache__" not in path.parts:
            yield path


def sources(root: Path) -> list[Path]:
    """Return the modules of the package."""
    return [path for folder in SOURCES for path in modules(root / folder)]


def too_full(paths: list[Path]) -> dict[Path, int]:
    """Return the folders that hold more modules than one can look over, and how many."""
    counts = Counter(path.parent for path in paths if path.name != "__init__.py")
    return {folder: number for folder, number in counts.items() if number > MOST_MODULES}


def too_long(paths: list[Path]) -> dict[Path, int]:
    """Return the modules that have too many lines, and how many."""
    lines = {path: len(path.read_text().splitlines()) for path in paths}
    return {path: number for path, number in lines.items() if number > MOST_LINES}


def strangers(root: Path) -> list[str]:
    """Return the folders of tests that have no folder of the package to be about."""
    known = {""} | {
        path.parent.relative_to(root / folder if folder.startswith("src") else root).as_posix()
        for folder in SOURCES
        for path in modules(root / folder)
    }
    found = {path.parent.relative_to(root / "tests").as_posix() for path in modules(root / "tests")}
    return sorted(found - known - {".", *ABOUT_ALL})


def test_no_folder_is_too_full() -> None:
    assert too_full(sources(ROOT)) == {}


def test_no_folder_of_tests_is_too_full() -> None:
    assert too_full(list(modules(ROOT / "tests"))) == {}


def test_no_module_is_too_long() -> None:
    assert too_long(sources(ROOT)) == {}


def test_tests_mirror_the_folders() -> None:
    assert strangers(ROOT) == []


def test_each_breach_is_noticed(tmp_path: Path) -> None:
    for folder in (*SOURCES, "tests/plans", "tests/plots", "tests/plans/stubs", "tests/contracts"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "test_it.py").write_text("")
    full = tmp_path / "plans"
    for number in range(MOST_MODULES - 1):
        (full / f"_{number}.py").write_text("pass\n" * MOST_LINES)
    (full / "__init__.py").write_text("")
    assert too_full(sources(tmp_path)) == too_long(sources(tmp_path)) == {}
    assert strangers(tmp_path) == ["plans/stubs", "plots"]

    (full / "_one_more.py").write_text("pass\n" * (MOST_LINES + 1))
    assert too_full(sources(tmp_path)) == {full: MOST_MODULES + 1}
    assert too_long(sources(tmp_path)) == {full / "_one_more.py": MOST_LINES + 1}


def test_what_is_excepted_is_there() -> None:
    assert [folder for folder in ABOUT_ALL if not (ROOT / "tests" / folder).is_dir()] == []
