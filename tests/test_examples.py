"""The examples in the docstrings run and print what they say."""

import doctest
import importlib
from itertools import groupby
from pathlib import Path

import grimp
import pytest

MODULES = sorted(grimp.build_graph("concertino", cache_dir=None).modules)


def part(name: str) -> str:
    """Return the package or module of the house that a module belongs to."""
    return (name.split(".")[1:2] or ["concertino"])[0]


PARTS = {key: list(names) for key, names in groupby(sorted(MODULES, key=part), key=part)}


@pytest.mark.parametrize("names", PARTS.values(), ids=PARTS.keys())
def test_docstring_examples(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = []
    for name in names:
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        module = importlib.import_module(name)
        done = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        failed += [name] * done.failed
    assert not failed
