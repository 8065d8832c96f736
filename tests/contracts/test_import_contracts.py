"""Each import contract is broken, in a copy of the house, and each break is noticed."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


LAYERS = "Imports go downwards only"
PLANS = "Plans know protocols, neither callbacks nor concrete devices"
BLUESKY = "Frames, reconstruction and simulation work without bluesky"
ARRAYS = "The reconstruction knows arrays, neither documents nor files"
SMALL = "The guard process is small and starts at once"
SUITES = "Only tests use the contract suites"
SIDE = "Folders and modules side by side import one another in one direction"
UNSEEN = "Devices show nothing"

# Where the bad module goes, what it says, and the contract that must say so.
BREAKING = [
    ("plans", "from concertino.callbacks import *", PLANS),
    ("plans", "import concertino.devices", PLANS),
    ("plans", "from ophyd.sim import motor", PLANS),
    ("plans", "import concertino.callbacks", LAYERS),
    ("callbacks", "import concertino.plans", LAYERS),
    ("devices", "import concertino.session", LAYERS),
    ("devices", "def late():\n    import concertino.callbacks", LAYERS),
    ("src/concertino/session", "import concertino.beamline", LAYERS),
    ("src/concertino/storage", "import concertino.reconstruction", LAYERS),
    ("src/concertino/frames", "import concertino.storage", LAYERS),
    ("src/concertino/units", "import concertino.documents", LAYERS),
    ("src/concertino/viewers", "import concertino.servers", LAYERS),
    ("src/concertino/frames", "import bluesky", BLUESKY),
    ("src/concertino/simulation", "from ophyd_async.core import Device", BLUESKY),
    ("src/concertino/reconstruction", "import bluesky.plans", BLUESKY),
    ("src/concertino/reconstruction", "import concertino.documents", ARRAYS),
    ("src/concertino/reconstruction", "import tifffile", ARRAYS),
    ("src/concertino/guard", "import numpy", SMALL),
    ("src/concertino/guard", "import ophyd", BLUESKY),
    ("callbacks", "import concertino.testing", SUITES),
    ("src/concertino/batch", "import concertino.callbacks", LAYERS),
    ("src/concertino/processing", "from concertino.batch import reconstruct_run", LAYERS),
    ("src/concertino/consumers", "import concertino.processing._scan_frames", LAYERS),
    ("src/concertino/viewers", "from concertino.callbacks import LiveView", LAYERS),
    ("src/concertino/runtime", "import concertino.units", LAYERS),
    ("devices", "from concertino.viewers import LivePage", UNSEEN),
]


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the tree, links included."""
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("plans", "callbacks", "devices", "src"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(house: Path) -> str:
    command = "import importlinter.cli; importlinter.cli.lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", command, "--no-cache"],
        cwd=house,
        env={**os.environ, "PYTHONPATH": str(house / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def complaints(said: str) -> dict[str, str]:
    """Split what is said of broken contracts by their names, which are underlined."""
    parts = re.split(r"^(.+)\n-{4,}\n", said.partition("Broken contracts")[2], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_house_keeps_its_contracts_and_each_break_is_noticed(house: Path) -> None:
    said = lint_imports(house)
    assert " 0 broken." in said, said

    for index, (folder, text, _) in enumerate(BREAKING):
        (house / folder / f"_breaking_{index}.py").write_text(text + "\n")
    (house / "src/concertino/_elsewhere.py").write_text("")  # A module that has no level.
    (house / "plans/core/_circle.py").write_text("import concertino.plans.stubs._sweep")
    said = lint_imports(house)
    found = complaints(said)
    unnoticed = [
        broken
        for index, broken in enumerate(BREAKING)
        if f"._breaking_{index} -> " not in found.get(broken[2], "")
    ]
    assert not unnoticed, said
    assert "not listed as layers:\n\n- concertino._elsewhere" in found[LAYERS]
    assert "No cycles are allowed in concertino.plans." in found[SIDE]
    assert "- .core -> .stubs (1 import)" in found[SIDE]


def test_each_contract_is_broken_once() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = {contract["name"] for contract in config["tool"]["importlinter"]["contracts"]}

    assert names == {SIDE, *(contract for *_, contract in BREAKING)}
