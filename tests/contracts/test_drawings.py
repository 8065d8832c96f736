"""The modules on the drawings of how the code is read are there."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/explanations/how-the-code-is-read.md"


def drawings(page: str) -> list[str]:
    """Return the text of each drawing on a page."""
    return re.findall(r"^```\{graphviz\}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def modules(text: str) -> set[str]:
    """Return the modules of the package that a text names."""
    return set(re.findall(r"\bconcertino(?:\.\w+)+", text))


def gone(text: str) -> Iterator[str]:
    """Yield the modules that a text names and that do not exist."""
    for name in sorted(modules(text)):
        try:
            found = find_spec(name)
        except ModuleNotFoundError:  # not even what it is in
            found = None
        if found is None:
            yield name


def test_every_module_that_the_page_names_is_there() -> None:
    assert not list(gone(PAGE.read_text()))


@pytest.mark.parametrize(
    ("place", "ends"),
    [
        (0, {"_simulated_source", "_ring", "_image_writer", "_gridding"}),
        (1, {"_continuous_tomography", "_convert", "_unit_guard", "_motor"}),
    ],
)
def test_each_drawing_names_its_way_from_end_to_end(place: int, ends: set[str]) -> None:
    named = modules(drawings(PAGE.read_text())[place])
    assert len(named) > 10
    assert ends <= {name.rpartition(".")[2] for name in named}


@pytest.mark.parametrize("name", ["concertino.frames._pipe", "concertino.pipes._ring"])
def test_one_that_is_gone_is_found(name: str) -> None:
    assert list(gone(f"through concertino.frames._ring and {name}.")) == [name]
