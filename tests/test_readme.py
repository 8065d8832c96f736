"""The README's Python runs as it stands."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def test_all_examples_are_run() -> None:
    assert len(blocks()) == 2


@pytest.mark.parametrize("number", [0, 1])
def test_readme_example(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, object] = {}

    exec(blocks()[number], found)

    assert getattr(found["volume"], "ndim", 0) == 3
