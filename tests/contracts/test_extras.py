"""Every import is declared, and what is in an extra is imported behind `extra` only."""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import concertino

#: Modules that are of an extra as a whole, and import its packages as others do numpy. The rest of the package
#: reaches them behind `extra`, or starts them as a process.
OF_EXTRA = {
    "catalog": ("storage.catalog._catalog_rows", "storage.catalog._catalog_tree", "storage.catalog._tiled_adapters"),
    "dectris": ("devices.vendors._dectris_messages",),
    "plots": ("cli._sweep_pictures",),
    "prompt": ("cli.beamline._prompt_awaits",),
    "tango": ("devices.control_systems.tango._link", "devices.control_systems.tango._signals", "servers", "twin._tango_devices"),
    "test": ("testing",),
    "twin": ("twin._channel_access", "twin._pv_access"),
    "viewers": (
        "viewers.browser._axis_control", "viewers.browser._camera_panels", "viewers.browser._document", "viewers.browser._histogram_view",
        "viewers.browser._image_view", "viewers.browser._picture_panel", "viewers.browser._server",
    ),
}  # fmt: skip
#: Packages that say themselves, when a function of ours imports them, which extra they are of.
DOORS = {"concertino.servers"}
#: What is imported when somebody else has it loaded or has looked that it is there, and why.
OTHERWISE = {
    ("concertino._errors", "IPython"): "called by IPython",
    ("concertino.terminal._progress_displays", "IPython"): "in a notebook only",
    ("concertino.runtime._quiet_pv_access", "p4p"): "called by who has imported it",
    (
        "concertino.guard._actions",
        "caproto",
    ): "found before; another way to what the extra 'epics' has",
}
NOT_IN_TEST = {"astra", "docs", "jupyter"}
#: Packages that need not be installed where the tests run.
NOT_INSTALLED = {"astra-toolbox": {"astra"}}


@dataclass(frozen=True)
class Import:
    """An import statement: by whom, of what, behind which extra, and whether it waits for a call."""

    module: str
    line: int
    imported: str
    extra: str | None
    late: bool


@cache
def homes() -> dict[str, set[str]]:
    """Return which extras bring a package that can be imported; "" is every installation."""
    found: dict[str, set[str]] = defaultdict(set)
    for text in requires("concertino") or ():
        requirement = Requirement(text)
        extra = str(requirement.marker or "").partition("extra == ")[2].strip("\"'")
        for package in packages_of(requirement.name):
            found[package].add(extra)
    return found


def packages_of(name: str) -> set[str]:
    """Return what can be imported of a distribution."""
    if name in NOT_INSTALLED:
        return NOT_INSTALLED[name]
    with suppress(PackageNotFoundError):
        return {file.parts[0].partition(".")[0] for file in distribution(name).files or ()}
    return set()


def modules() -> Iterator[tuple[str, Path]]:
    """Yield the modules of the package and their files; linked folders too."""
    source = Path(concertino.__file__).parent
    for start in (source, *(path for path in source.iterdir() if path.is_symlink())):
        for path in start.rglob("*.py"):
            yield ".".join(("concertino", *path.relative_to(source).with_suffix("").parts)), path


def imports_of(module: str, text: str) -> Iterator[Import]:
    """Yield what a module imports, unless it is for type checkers only."""
    package = (
        module.removesuffix(".__init__")
        if module.endswith(".__init__")
        else module.rpartition(".")[0]
    )

    def visit(node: ast.AST, behind: str | None, late: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                continue  # quicker
            if isinstance(child, ast.If) and last_name(child.test) == "TYPE_CHECKING":
                continue
            for name in imported_by(child, package):
                yield Import(module, getattr(child, "lineno", 0), name, behind, late)
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from visit(child, extra_of(child) or behind, late or function)

    tree = ast.parse(text)
    yield from visit(tree, None, False)
    for node in ast.walk(tree) if "import_module(" in text else ():
        if isinstance(node, ast.Call) and last_name(node.func) == "import_module":
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant):
                    yield Import(module, node.lineno, str(argument.value), None, True)


def imported_by(node: ast.AST, package: str) -> list[str]:
    """Return what a statement imports: modules, and names in ours that may be modules."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        parent = package.rsplit(".", node.level - 1)[0] if node.level else ""
        start = ".".join(filter(None, (parent, node.module)))
        inside = [f"{start}.{alias.name}" for alias in node.names]
        return [start, *(inside if start.startswith("concertino") else [])]
    return []


def last_name(node: ast.AST) -> str:
    """Return the last part of a name, such as of ``importlib.import_module``."""
    return str(getattr(node, "attr", getattr(node, "id", "")))


def extra_of(node: ast.AST) -> str | None:
    """Return the extra of ``with extra(name, …)``."""
    if isinstance(node, ast.With):
        call = node.items[0].context_expr
        if isinstance(call, ast.Call) and last_name(call.func) == "extra":
            return str(ast.literal_eval(call.args[0]))
    return None


def home_of(module: str) -> str | None:
    """Return the extra that a module of ours is of as a whole."""
    for extra, parts in OF_EXTRA.items():
        for part in parts:
            if f"{module}.".startswith(f"concertino.{part}."):
                return extra
    return None


def faults(module: str, text: str) -> list[str]:
    """Return what is wrong with the imports of a module, in sentences."""
    found = []
    for one in imports_of(module, text):
        top = one.imported.partition(".")[0]
        if top in sys.stdlib_module_names or (module.removesuffix(".__init__"), top) in OTHERWISE:
            continue
        if top == "concertino":
            through_door = one.late and any(
                f"{one.imported}.".startswith(f"{door}.") for door in DOORS
            )
            home = None if through_door else home_of(one.imported)
            needed = {home} if home else {""}
        else:
            needed = homes().get(top, set())
        own = home_of(module.removesuffix(".__init__"))
        if not needed & {"", one.extra, own}:
            where = " or ".join(sorted(filter(None, needed))) or "nothing that is declared"
            found.append(f"{module}, line {one.line}: {one.imported} is of {where}")
    return found


def test_every_import_is_declared_where_it_is_needed() -> None:
    found = [fault for module, path in modules() for fault in faults(module, path.read_text())]

    assert found == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("concertino.session", "import tiled"),
        ("concertino.session", "def later():\n    import tiled.client"),
        ("concertino.session", "with extra('zarr', 'It'):\n    import tiled"),
        ("concertino.session", "from concertino.servers import Writer"),
        ("concertino.session", "def later():\n    import concertino.storage.catalog._catalog_tree"),
        ("concertino.session", "import importlib\nimportlib.import_module('distributed')"),
        (
            "concertino.storage.runs._run",
            "from concertino.storage.catalog._catalog_tree import quiet",
        ),
        ("concertino.storage.runs._run", "from concertino.storage.catalog import _catalog_tree"),
        ("concertino.storage.runs._run", "import sphinx"),
        ("concertino.storage.__init__", "from .catalog._catalog_rows import RunRows"),
        ("concertino.servers._serve", "import bokeh"),
    ],
)
def test_an_import_in_the_wrong_place_is_noticed(module: str, text: str) -> None:
    assert len({fault.partition(":")[0] for fault in faults(module, text)}) == 1


def test_an_import_in_the_right_place_is_none() -> None:
    behind = "with extra('catalog', 'It'):\n    import tiled\n    from concertino.storage.catalog._catalog_tree import quiet"
    assert faults("concertino.storage.runs._run", behind) == []
    assert faults("concertino.storage.runs._run", "if TYPE_CHECKING:\n    import tiled") == []
    assert faults("concertino.servers._serve", "import tango\nimport numpy") == []


def test_what_is_excepted_is_there() -> None:
    known = dict(modules())
    for name, top in OTHERWISE:
        assert top in {
            one.imported.partition(".")[0] for one in imports_of(name, known[name].read_text())
        }
    for parts in OF_EXTRA.values():
        for part in parts:
            assert {f"concertino.{part}", f"concertino.{part}.__init__"} & set(known), part


def test_what_tests_import_is_declared() -> None:
    tests = Path(__file__).parents[1]
    beside = {path.stem for path in tests.rglob("*")} | {"concertino", "tests"}
    unknown = set()
    for path in tests.rglob("*.py"):
        for one in imports_of("tests.test", path.read_text()):
            top = one.imported.partition(".")[0]
            ours = top in sys.stdlib_module_names or top in beside
            if not ours and not homes().get(top, set()) - NOT_IN_TEST:
                unknown.add(f"{path.relative_to(tests)}: {top}")
    assert unknown == set()
