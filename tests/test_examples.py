"""The examples in the docstrings run and print what they say."""

import doctest
import importlib
from importlib.util import find_spec
from pathlib import Path

import grimp
import pytest

MODULES = sorted(grimp.build_graph("concertino", cache_dir=None).modules)


def source(name: str) -> str:
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text()


def test_every_module_can_be_imported() -> None:
    for name in MODULES:
        importlib.import_module(name)


@pytest.mark.parametrize("name", [name for name in MODULES if ">>> " in source(name)])
def test_docstring_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)

    done = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)

    assert done.attempted > 0
    assert done.failed == 0
