"""The examples in the docstrings run and print what they say."""

import doctest
import importlib
from pathlib import Path

import grimp
import pytest

MODULES = sorted(grimp.build_graph("concertino", cache_dir=None).modules)


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)

    done = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)

    assert done.failed == 0
