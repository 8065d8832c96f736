"""Reads the message of every error of Concertino's own from the source, as far as the source tells it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("plans", "devices", "callbacks", "src/concertino")

#: What stands in a message for a value that is known only when it is raised.
OPEN, CLOSE = "⟨", "⟩"

_DEEPEST = 3
_MOST = 64  # alternatives of one message


@dataclass(frozen=True)
class Message:
    """One text that an error may have, and where it is made."""

    where: str
    error: str
    text: str


def sources() -> Iterator[Path]:
    """Return every module of the package once: links to folders are left out."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not any(part.is_symlink() for part in path.parents):
                yield path


def name_of(node: ast.AST) -> str:
    """Return the last part of a dotted name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def error_classes(trees: dict[str, ast.Module]) -> set[str]:
    """Return the names of ConcertinoError and of all classes derived from it."""
    names = {"ConcertinoError"}
    classes = [c for t in trees.values() for c in ast.walk(t) if isinstance(c, ast.ClassDef)]
    while more := {c.name for c in classes if names & {name_of(base) for base in c.bases}} - names:
        names |= more
    return names


Function = ast.FunctionDef | ast.AsyncFunctionDef


class Renderer:
    """Renders the expressions of a message as text, with placeholders for values."""

    def __init__(self, trees: dict[str, ast.Module]) -> None:
        self.trees = trees
        self.parents: dict[ast.AST, ast.AST] = {}
        self.functions: dict[str, list[Function]] = {}
        self.constants: dict[str, list[ast.expr]] = {}
        self.attributes: dict[str, list[ast.expr]] = {}
        self.calls: dict[str, list[ast.Call]] = {}
        self.locals: dict[Function, dict[str, list[ast.expr]]] = {}
        for tree in trees.values():
            self._index(tree)

    def _index(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
            if isinstance(node, ast.Call):
                self.calls.setdefault(name_of(node.func), []).append(node)
            if isinstance(node, Function):
                self.functions.setdefault(node.name, []).append(node)
            match node:
                case ast.Assign(targets=[ast.Attribute(attr=name)], value=ast.JoinedStr() as text):
                    self.attributes.setdefault(name, []).append(text)
        for statement in tree.body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                self.constants.setdefault(statement.targets[0].id, []).append(statement.value)

    def render(self, node: ast.expr, depth: int = 0) -> list[str]:
        """Return the texts that an expression may give."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return [node.value]
        if isinstance(node, ast.JoinedStr):
            texts = [""]
            for value in node.values:
                texts = [a + b for a in texts for b in self._part(value, depth)][:_MOST]
            return texts
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            right = self.render(node.right, depth)
            return [a + b for a in self.render(node.left, depth) for b in right][:_MOST]
        if isinstance(node, ast.IfExp):
            return self.render(node.body, depth) + self.render(node.orelse, depth)
        found = self._behind(node) if depth < _DEEPEST else []
        texts = [text for one in found for text in self.render(one, depth + 1)]
        return list(dict.fromkeys(texts))[:_MOST] or [OPEN + ast.unparse(node) + CLOSE]

    def _part(self, node: ast.expr, depth: int) -> list[str]:
        if not isinstance(node, ast.FormattedValue):
            return self.render(node, depth)
        if node.conversion != -1 or node.format_spec:  # A value, shown as one.
            return [OPEN + ast.unparse(node.value) + CLOSE]
        found = self._assigned(node.value) if isinstance(node.value, ast.Name) else []
        if isinstance(node.value, ast.IfExp | ast.Constant):
            return self.render(node.value, _DEEPEST)
        plain = [one for one in found if isinstance(one, ast.JoinedStr | ast.Constant | ast.IfExp)]
        if depth >= _DEEPEST or not plain or len(plain) < len(found):
            return [OPEN + ast.unparse(node.value) + CLOSE]
        return [text for one in plain for text in self.render(one, _DEEPEST)]

    def _behind(self, node: ast.expr) -> list[ast.expr]:
        """Return the expressions of text that a name, an attribute or a call stands for."""
        if isinstance(node, ast.Call):
            if name_of(node.func) in ("strip", "rstrip") and isinstance(node.func, ast.Attribute):
                return [node.func.value]
            return [] if name_of(node.func) == "join" else self._returned(node.func)
        if isinstance(node, ast.Attribute):
            return self._returned(node) + self.attributes.get(node.attr, [])
        return self._named(node) if isinstance(node, ast.Name) else []

    def _named(self, node: ast.Name) -> list[ast.expr]:
        found = self._assigned(node)
        function = self._function_of(node)
        if found or function is None:
            return found
        arguments = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
        if node.id in [*arguments, *(a.arg for a in function.args.kwonlyargs)]:
            return [one for one in self._given(function, arguments, node.id) if _is_text(one)]
        return []

    def _assigned(self, node: ast.Name) -> list[ast.expr]:
        """Return what a name is set to in its function, or else in a module."""
        function = self._function_of(node)
        if function is not None:
            if function not in self.locals:
                names: dict[str, list[ast.expr]] = {}
                for one in ast.walk(function):
                    if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name):
                        names.setdefault(one.targets[0].id, []).append(one.value)
                self.locals[function] = names
            if found := self.locals[function].get(node.id):
                return [one for one in found if _is_text(one)]
        return [one for one in self.constants.get(node.id, []) if _is_text(one)]

    def _given(self, function: Function, arguments: list[str], name: str) -> Iterator[ast.expr]:
        """Yield what a function's callers give it as one of its parameters."""
        place = arguments.index(name) if name in arguments else None
        if place is not None and arguments[0] in ("self", "cls"):
            place -= 1
        if len(self.functions[function.name]) > 1:  # Who is called cannot be told.
            return
        for call in self.calls.get(function.name, []):
            if place is not None and len(call.args) > place:
                yield call.args[place]
            yield from (word.value for word in call.keywords if word.arg == name)

    def _function_of(self, node: ast.AST) -> Function | None:
        while node in self.parents:
            node = self.parents[node]
            if isinstance(node, Function):
                return node
        return None

    def _returned(self, called: ast.expr) -> list[ast.expr]:
        """Return what a function or property returns: that of the same module, or the only one."""
        functions = self.functions.get(name_of(called), [])
        if isinstance(called, ast.Name):
            functions = [one for one in functions if isinstance(self.parents[one], ast.Module)]
        here = [one for one in functions if self._module_of(one) is self._module_of(called)]
        if len(here or functions) != 1:
            return []
        found = [
            one.value
            for one in ast.walk((here or functions)[0])
            if isinstance(one, ast.Return) and one.value
        ]
        return found if all(_is_text(one) for one in found) else []

    def _module_of(self, node: ast.AST) -> ast.AST:
        while node in self.parents:
            node = self.parents[node]
        return node


def _is_text(node: ast.expr) -> bool:
    if isinstance(node, ast.IfExp):
        return _is_text(node.body) or _is_text(node.orelse)
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or _is_text(node.right)
    if isinstance(node, ast.Call | ast.Name | ast.Attribute):
        return True
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def messages_of(sources_by_name: dict[str, str]) -> list[Message]:
    """Return the texts of every error of Concertino's own that modules make."""
    trees = {name: ast.parse(text) for name, text in sources_by_name.items()}
    classes = error_classes(trees)
    renderer = Renderer(trees)
    found = []
    for name, tree in trees.items():
        for node in ast.walk(tree):
            made = node.exc if isinstance(node, ast.Raise) else node
            if not isinstance(made, ast.expr) or not (error := _error(node, classes)):
                continue
            first = made.args[0] if isinstance(made, ast.Call) and made.args else None
            shown = renderer.render(first) if first else []
            # What may be empty is not raised then, as far as can be told.
            unknown = [OPEN + ast.unparse(first) + CLOSE] if first else [""]
            texts = [text for text in dict.fromkeys(shown) if text] or unknown
            where = f"{name}:{made.lineno}"
            found += [Message(where, error, text) for text in texts]
    return found


def _error(node: ast.AST, classes: set[str]) -> str:
    """Return which error is made: of a known class, raised as a bare class, or of a class that a variable holds."""
    match node:
        case ast.Call(func=called) if name_of(called) in classes:
            return name_of(called)
        case ast.Raise(exc=ast.Name() | ast.Attribute() as bare) if name_of(bare) in classes:
            return name_of(bare)
        case ast.Raise(exc=ast.Call(func=ast.Name(id=name), args=[ast.JoinedStr(), *_])):
            return name if name.islower() else ""
    return ""


def package_messages() -> list[Message]:
    """Return the texts of every error in the package."""
    paths = {path.relative_to(ROOT).as_posix(): path.read_text() for path in sources()}
    return messages_of(paths)
