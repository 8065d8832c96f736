"""Devices, callbacks and sources are asked by protocols, and parameters say what they take.

Two counts over the whole package, and a bar for each that only goes down:

- calls of ``getattr`` and ``hasattr``, whatever the name is, literal or computed;
- parameters of public functions annotated with `Any`, alone or as a part of a union: of these a type checker
  checks nothing. Public is a function, or a method of a public class, whose name does not begin with an
  underscore, and ``__init__`` and ``__call__``; the module's name does not matter. ``*args`` and
  ``**kwargs`` count.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("plans", "devices", "callbacks", "src/concertino")

BY_NAME = 39
UNTYPED = 144


@cache
def sources() -> dict[str, ast.Module]:
    """Return all modules of the package, by path."""
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not any(part.is_symlink() for part in path.parents)
    }


def by_name(tree: ast.AST) -> int:
    """Return how often attributes are asked for by name."""
    return sum(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("getattr", "hasattr")
        for node in ast.walk(tree)
    )


def is_any(annotation: ast.expr | None) -> bool:
    """Return whether an annotation is `Any`, or a union with it."""
    match annotation:
        case ast.Name(id="Any") | ast.Attribute(attr="Any"):
            return True
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return is_any(left) or is_any(right)
        case ast.Subscript(value=ast.Name(id="Optional" | "Union"), slice=ast.Tuple(elts=parts)):
            return any(map(is_any, parts))
        case ast.Subscript(value=ast.Name(id="Optional"), slice=part):
            return is_any(part)
        case ast.Constant(value=str(text)):
            return is_any(ast.parse(text, mode="eval").body)
    return False


def is_public(name: str) -> bool:
    return not name.startswith("_") or name in ("__init__", "__call__")


def untyped(tree: ast.AST) -> Iterator[str]:
    """Yield the parameters of public functions of which nothing is checked."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if is_public(node.name):
                asked = node.args
                every = [
                    *asked.posonlyargs,
                    *asked.args,
                    asked.vararg,
                    *asked.kwonlyargs,
                    asked.kwarg,
                ]
                for one in every:
                    if one is not None and is_any(one.annotation):
                        yield f"{node.lineno} {node.name}({one.arg})"
        elif not isinstance(node, ast.ClassDef) or is_public(node.name):
            yield from untyped(node)


def test_devices_are_asked_by_protocols() -> None:
    found = Counter({path: by_name(tree) for path, tree in sources().items()})
    assert found.total() == BY_NAME, (
        f"{found.total()} attributes are asked for by name, and {BY_NAME} were. Fewer: lower the number. More: ask by a "
        f"protocol, with isinstance: {[place for place in found.items() if place[1]]}"
    )


def test_public_parameters_have_types() -> None:
    found = [f"{path}:{one}" for path, tree in sources().items() for one in untyped(tree)]
    assert len(found) == UNTYPED, (
        f"{len(found)} parameters of public functions are Any, and {UNTYPED} were. Fewer: lower the number. More: say "
        "what they take; object, if anything may come:\n" + "\n".join(found)
    )


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("getattr(device, 'name', None)", 1),
        ("def f(d):\n    return hasattr(d, name)", 1),
        ("device.getattr('name')", 0),
        ("isinstance(device, HasName)", 0),
    ],
)
def test_what_is_asked_by_name_is_counted(source: str, count: int) -> None:
    assert by_name(ast.parse(source)) == count


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("def f(a: Any, b: int, *c: Any, d: Any = 1, **e: Any): ...", 4),
        ("def f(a: Any | None, b: 'Any', c: typing.Any, d: Optional[Any]): ...", 4),
        ("class A:\n    def __init__(self, a: Any): ...\n    async def f(self, b: Any): ...", 2),
        ("if True:\n    def f(a: Any): ...", 1),
        ("def _f(a: Any): ...", 0),
        ("class _A:\n    def f(self, a: Any): ...", 0),
        ("def f(a: object, b: Mapping[str, Any], c: Callable[..., Any]): ...", 0),
        ("def f():\n    def inner(a: Any): ...", 0),
    ],
)
def test_parameters_that_are_any_are_counted(source: str, count: int) -> None:
    assert len(list(untyped(ast.parse(source)))) == count
