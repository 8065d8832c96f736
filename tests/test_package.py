"""The house: what is listed is what is there, and what is public is what is exported."""

import importlib
import inspect
import tomllib
from pathlib import Path
from types import ModuleType

import grimp
import pytest

ROOT = Path(__file__).parents[1]

PACKAGES = [
    "concertino",
    "concertino.batch",
    "concertino.callbacks",
    "concertino.cli",
    "concertino.devices",
    "concertino.documents",
    "concertino.frames",
    "concertino.guard",
    "concertino.plans",
    "concertino.reconstruction",
    "concertino.servers",
    "concertino.session",
    "concertino.simulation",
    "concertino.storage",
    "concertino.testing",
    "concertino.twin",
    "concertino.units",
    "concertino.viewers",
]


def test_every_package_is_listed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    source = ROOT / "src"
    found = {
        ".".join(init.parent.relative_to(source).parts)
        # A link is followed by name only: Path.rglob does not go into linked folders.
        for start in (source, *(p for p in (source / "concertino").iterdir() if p.is_symlink()))
        for init in start.rglob("__init__.py")
    }

    assert sorted(listed) == sorted(found)
    assert set(PACKAGES) <= found


def test_the_links_point_at_the_top_level_folders() -> None:
    for name in ("plans", "callbacks", "devices"):
        link = ROOT / "src" / "concertino" / name
        assert link.is_symlink()
        assert link.resolve() == ROOT / name


@pytest.mark.parametrize("name", PACKAGES)
def test_exports(name: str) -> None:
    package = importlib.import_module(name)
    exported: list[str] = list(getattr(package, "__all__", []))

    assert len(exported) == len(set(exported))
    for public in exported:
        value = getattr(package, public)
        if inspect.isclass(value) and value.__module__.startswith("concertino"):
            assert value.__module__ == name, f"{public}.__module__ is {value.__module__}"
    assert our_public_names(package) <= set(exported)


def our_public_names(package: ModuleType) -> set[str]:
    """Names in the package that come from its own modules and do not begin with "_"."""
    return {
        name
        for name, value in vars(package).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and str(getattr(value, "__module__", "")).startswith(package.__name__)
    }


def owner(module: str) -> str:
    """Return the public package that a module is private to: its own, or the one that its folder is in."""
    package = module.rpartition(".")[0]
    return package if package in PACKAGES else owner(package)


def test_nobody_reaches_into_the_private_modules_of_another_package() -> None:
    graph = grimp.build_graph("concertino", cache_dir=None)
    reaching = [
        f"{importer} imports {imported}"
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
        if imported.rpartition(".")[2].startswith("_")
        and not f"{importer}.".startswith(owner(imported) + ".")
    ]

    assert sorted(reaching) == []


def test_module_names() -> None:
    vague = {"utils", "util", "common", "misc", "helpers", "tools"}
    modules = grimp.build_graph("concertino", cache_dir=None).modules

    assert [m for m in modules if m.rpartition(".")[2].strip("_") in vague] == []
