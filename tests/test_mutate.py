"""The tool that changes a module in small ways finds the hole that a test leaves, and only that."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

MODULE = """
def note_heat(reading: float, log: list[str]) -> None:
    if reading > 40:
        log.append(f"{reading + 1} K")
"""
TESTS = """
from gauge import note_heat

def noted(reading):
    log = []
    note_heat(reading, log)
    return len(log)

def test_hot():
    assert noted(90) == 1

def test_just_hot():
    assert noted(41) == 1

def test_cold():
    assert noted(3) == 0
"""
# The limit itself is not tried.
HOLE = "line 3: reading > 40  →  (reading >= 40)"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = Path(__file__).parents[1] / "tools" / "mutate.py"
    spec = importlib.util.spec_from_file_location("mutate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_hole_is_found_and_who_noticed_is_told(
    tool: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # it starts sooner
    (tmp_path / "src").mkdir()
    gauge = tmp_path / "src" / "gauge.py"
    gauge.write_text(MODULE)
    (tmp_path / "test_gauge.py").write_text(TESTS)
    assert tool.main([str(gauge), "--tests", "test_gauge.py", "--all"], tmp_path) == 1
    assert gauge.read_text() == MODULE
    said = capsys.readouterr().out.splitlines()
    assert said[1:] == [
        f"SURVIVED {HOLE}",
        "noticed  line 3: 40  →  (41)",
        "           by test_gauge.py::test_just_hot",
        'noticed  line 4: log.append(f"{reading + 1} K")  →  pass',
        "           by test_gauge.py::test_hot",
        "           by test_gauge.py::test_just_hot",
        "",
        "2 of 3 changes were noticed.",
        f"  SURVIVED {HOLE}",
        "    2 noticed,   1 alone  test_gauge.py::test_just_hot",
        "    1 noticed,   0 alone  test_gauge.py::test_hot",
    ]


def test_what_is_not_computed_is_not_changed(tool: ModuleType) -> None:
    changes = tool.changes_of(
        b'def f(a: int | None = 1) -> "float | int":\n    """2 < 3"""\n    return f"{a + 1}"\n'
    )
    assert [change.now for change in changes] == ["(2)", "return None"]


def test_changes_stand_where_they_should_beside_other_letters(tool: ModuleType) -> None:
    source = 'sign = "θ × 2"; turned = not angle < 180\n'.encode()
    texts = {
        change.apply(source).decode().split("; ")[1].strip() for change in tool.changes_of(source)
    }
    assert texts == {
        "turned = (angle < 180)",
        "turned = not (angle <= 180)",
        "turned = not angle < (181)",
    }
