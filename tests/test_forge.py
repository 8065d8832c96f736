"""What the forge reads fits the checkout: workflow, citation, fragments of the changelog."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """Give what pyproject.toml says."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_workflow_calls_what_is_there(project: dict[str, Any]) -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert {"run": ".ci/run"} in jobs["everything"]["steps"]
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
    pythons = jobs["pythons"]["strategy"]["matrix"]["python"]
    needed = project["project"]["requires-python"].removeprefix(">=")
    assert pythons[0] == needed
    said = project["project"]["classifiers"]
    assert all(f"Programming Language :: Python :: {python}" in said for python in pythons)


def test_the_citation_names_the_version(project: dict[str, Any]) -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == project["project"]["version"]
    assert citation["license"] == project["project"]["license"]


def test_every_fragment_will_be_gathered(project: dict[str, Any]) -> None:
    kinds = "|".join(kind["directory"] for kind in project["tool"]["towncrier"]["type"])
    for path in (ROOT / "docs/changelog.d").iterdir():
        if path.name not in project["tool"]["towncrier"]["ignore"]:
            assert re.fullmatch(rf"[\w-]+\.({kinds})\.md", path.name), path.name
            assert path.read_text().strip(), f"{path.name} is empty"
