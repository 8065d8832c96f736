"""The files on the drawings of how the code is read are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/explanations/how-the-code-is-read.md"


def drawings(page: str) -> list[str]:
    """Return the text of each drawing on a page."""
    return re.findall(r"^```\{graphviz\}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def files(text: str) -> set[str]:
    """Return the modules that a text names by their paths."""
    return set(re.findall(r"(?<![\w/])(?:\w+/)+\w+\.py\b", text))


def gone(text: str) -> list[str]:
    """Return the paths in a text at which there is no file."""
    return sorted(path for path in files(text) if not (ROOT / path).is_file())


def test_every_file_that_the_page_names_is_there() -> None:
    assert not gone(PAGE.read_text())


@pytest.mark.parametrize(
    ("place", "ends"),
    [
        (0, {"_simulated_source.py", "_ring.py", "_image_writer.py", "_gridding.py"}),
        (1, {"_continuous_tomography.py", "_convert.py", "_unit_guard.py", "_motor.py"}),
    ],
)
def test_each_drawing_names_its_way_from_end_to_end(place: int, ends: set[str]) -> None:
    named = files(drawings(PAGE.read_text())[place])
    assert len(named) > 10
    assert ends <= {Path(path).name for path in named}


def test_every_box_names_its_file() -> None:
    boxes = re.findall(r"^ +\w+ \[label=.*", PAGE.read_text(), re.MULTILINE)
    assert len(boxes) > 30
    assert not [box for box in boxes if not files(box)]


@pytest.mark.parametrize(
    "path", ["src/concertino/frames/_pipe.py", "src/concertino/pipes/_ring.py"]
)
def test_one_that_is_gone_is_found(path: str) -> None:
    assert gone(f"through `devices/simulated/_motor.py` and {path}.") == [path]
