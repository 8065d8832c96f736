"""Concertino in a virtual environment of what it requires and nothing else: no extra is there.

The environment is made of links to what is installed here, so that it takes neither time nor a registry;
``make wheel-test`` runs the same program in one that pip made.
"""

import json
import subprocess
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import concertino

PROGRAM = Path(__file__).with_name("plain_install.py")
#: Nothing of ours asks for them: people import what is in them, or run it. The library of ``genicam`` may be Debian's.
NOT_ASKED_FOR = {"all", "docs", "genicam", "jupyter", "ophyd", "ufo"}


def required(name: str, extras: frozenset[str], seen: dict[str, set[str]]) -> None:
    """Note what a package requires, and what that requires."""
    key = canonicalize_name(name)
    fresh = {"", *extras} - seen.setdefault(key, set())
    seen[key] |= fresh
    for text in distribution(name).requires or () if fresh else ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in fresh):
            required(requirement.name, frozenset(requirement.extras), seen)


def parts(package: Distribution) -> Iterator[str]:
    """Yield what a package has in the folder where it is installed."""
    for file in package.files or ():
        if file.parts[0] not in ("..", "__pycache__"):
            yield file.parts[0]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program found in the environment."""
    place = tmp_path_factory.mktemp("plain")
    venv.create(place, symlinks=True)
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "concertino").symlink_to(Path(concertino.__file__).parent.absolute())
    names: dict[str, set[str]] = {}
    required("concertino", frozenset(), names)
    for name in names:
        package = distribution(name)
        for part in set(parts(package)):
            link = packages / part
            if not link.is_symlink():
                link.symlink_to(Path(str(package.locate_file(part))).absolute())
    done = subprocess.run(
        [place / "bin" / "python", PROGRAM], cwd=place, env={"HOME": str(Path.home())},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["packages"] == len(names)
    return result


def test_a_scan_is_written_reconstructed_replayed_and_listed(found: dict[str, Any]) -> None:
    assert found["unindexed"].startswith("The catalogue of ")
    assert (
        "needs the extra 'catalog' (No package metadata was found for tiled)" in found["unindexed"]
    )
    assert len(found["runs"]) == 3  # its slices, live and replayed, and itself
    assert "continuous_tomography" in found["runs"][2]


def test_every_extra_is_named_by_what_asks_for_it(found: dict[str, Any]) -> None:
    offered = set(distribution("concertino").metadata.get_all("Provides-Extra") or ())
    assert offered == {*found["said"], *NOT_ASKED_FOR}
