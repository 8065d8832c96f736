"""Change one module in small ways, one at a time, and see whether tests notice.

    python tools/mutate.py src/concertino/frames/core/_flow.py
    python tools/mutate.py plans/stubs/_sweep.py --tests tests/plans/stubs/test_sequences.py --count 20 --all

A comparison becomes another, a number one larger, ``and`` becomes ``or``, a condition its opposite, a result
None, a statement nothing. The tests run on a copy of the tree; the checkout is left alone. What no test
notices is a hole in the tests, or a change that means the same. With ``--all`` no run ends at the
first test that fails, and the end tells which tests noticed something that no other did, and which did not.
"""

import argparse
import ast
import copy
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
#: Where a bit operation stands that is one of types, and never computed.
ANNOTATIONS = ("annotation", "returns")
FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Change:
    """One small change of a module's text: what stands between two places, and what replaces it."""

    line: int
    start: int
    stop: int
    was: str
    now: str

    def __str__(self) -> str:
        shown = (" ".join(text.split()) for text in (self.was, self.now))
        was, now = (text if len(text) <= 60 else f"{text[:57]}…" for text in shown)
        return f"line {self.line}: {was}  →  {now}"

    def apply(self, source: bytes) -> bytes:
        """Return the module's text with this change."""
        return source[: self.start] + self.now.encode() + source[self.stop :]


def changed_nodes(node: ast.AST) -> Iterator[ast.AST | None]:
    """Give what may stand in a node's place; None for nothing."""
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            other = copy.deepcopy(node)
            other.ops[index] = COMPARISONS[type(operator)]()
            yield other
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in ARITHMETIC:
        other_operation = copy.deepcopy(node)
        other_operation.op = ARITHMETIC[type(node.op)]()
        yield other_operation
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield ast.Constant(node.value + 1)
    elif isinstance(node, ast.If | ast.While) and not isinstance(
        node.test, ast.Compare | ast.BoolOp
    ):
        yield ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Return) and not isinstance(node.value, ast.Constant | None):
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, ast.Raise | ast.Break | ast.Continue) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await | ast.YieldFrom)
    ):
        yield None


def computed(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk through what is computed: no annotations, no texts of errors."""
    for name, value in ast.iter_fields(tree):
        if name in ANNOTATIONS:
            continue
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.AST) and not isinstance(node, ast.JoinedStr):
                yield node
                yield from computed(node)


def changes_of(source: bytes) -> list[Change]:
    """Return every small change of a module's text, in its order."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node in computed(ast.parse(source)):
        for changed in changed_nodes(node):
            place = node.test if isinstance(node, ast.If | ast.While) else node
            assert isinstance(place, ast.expr | ast.stmt)
            assert place.end_lineno is not None
            assert place.end_col_offset is not None
            start = starts[place.lineno - 1] + place.col_offset
            stop = starts[place.end_lineno - 1] + place.end_col_offset
            now = "pass" if changed is None else ast.unparse(ast.fix_missing_locations(changed))
            if isinstance(place, ast.expr):
                now = f"({now})"
            was = source[start:stop].decode()
            found.append(Change(place.lineno, start, stop, was, now))
    return sorted(found, key=lambda change: (change.start, change.stop))


def tests_of(root: Path, module: Path) -> list[str]:
    """Return the tests of a module's folder, or of the nearest one around it that has tests of its own."""
    parts = module.parent.parts
    parts = parts[2:] if parts[:2] == ("src", "concertino") else parts
    for length in range(len(parts), 0, -1):
        folder = Path("tests", *parts[:length])
        if (root / folder).is_dir():
            return [folder.as_posix()]
    raise SystemExit(
        f"{module} has no tests in a folder of its own: say with --tests which are to notice."
    )


def copy_tree(root: Path, target: Path) -> None:
    """Copy what git knows of, links as links; all of it where there is no git."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        shutil.copytree(root, target, symlinks=True, dirs_exist_ok=True)
        return
    for name in filter(None, listed.stdout.split("\0")):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if (root / name).exists():
            shutil.copy2(root / name, target / name, follow_symlinks=False)


def run_tests(
    tree: Path, options: list[str], timeout_s: float, *, write: bool = False, fresh: bool = False
) -> list[str]:
    """Run tests in a copy of the tree and return the names of those that failed.

    Parameters
    ----------
    tree : Path
        The copy.
    options : list of str
        Of pytest.
    timeout_s : float
        How long they may take, in seconds; ``"time-out"`` is returned for those that take longer.
    write : bool
        Whether Python keeps what it compiled: not of a module that is changed within a second.
    fresh : bool
        Whether numba compiles anew.
    """
    # What numba compiled knows whether its own file has changed, and not what else it calls.
    compiled = tree / f"compiled-{time.monotonic_ns()}" if fresh else tree / "compiled"
    environment = {
        **os.environ, "PYTHONPATH": str(tree / "src"), "NUMBA_CACHE_DIR": str(compiled)
    }  # fmt: skip
    if not write:
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-rfE", "-p", "no:cacheprovider"]
    with subprocess.Popen(
        [*command, *options], cwd=tree, env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        try:
            said, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return ["time-out"]
        finally:
            # Also what the tests have left: programs and servers of a test that was cut off.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode not in (0, 1, 2, 3):
        raise SystemExit(f"pytest ended with {process.returncode}: {said[-2000:]}")
    failed = FAILED.findall(said)
    return failed or (["the start of the tests"] if process.returncode else [])


def summarise(noticed: dict[Change, list[str]], every: bool) -> None:
    """Print what survived and, if every test was run, what each test noticed alone."""
    survived = [change for change, tests in noticed.items() if not tests]
    print(f"\n{len(noticed) - len(survived)} of {len(noticed)} changes were noticed.")
    for change in survived:
        print(f"  SURVIVED {change}")
    counts = Counter(test for tests in noticed.values() for test in tests)
    alone = Counter(tests[0] for tests in noticed.values() if len(tests) == 1)
    for test, count in counts.most_common():
        print(f"  {count:3d} noticed{f', {alone[test]:3d} alone' if every else ''}  {test}")


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Change a module; return how many changes survived, at most 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module", type=Path, help="the module's file")
    parser.add_argument("--tests", nargs="+", help="what pytest runs [tests of the same folder]")
    parser.add_argument("--count", type=int, default=30, help="most changes to try [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, help="which of them [%(default)s]")
    parser.add_argument(
        "--timeout", type=float, default=600, help="most seconds a run [%(default)s]"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes of pytest [%(default)s]")
    parser.add_argument(
        "--all", action="store_true", help="run every test, not to the first that fails"
    )
    given = parser.parse_args(arguments)
    module = Path(os.path.abspath(given.module)).relative_to(root)
    options = given.tests or tests_of(root, module)
    if given.jobs > 1:
        options += ["-n", str(given.jobs)]
    source = (root / module).read_bytes()
    changes = changes_of(source)
    if len(changes) > given.count:
        changes = random.Random(given.seed).sample(changes, given.count)
        changes.sort(key=lambda change: change.start)
    noticed: dict[Change, list[str]] = {}
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory).resolve()
        copy_tree(root, tree)
        began_s = time.monotonic()
        if failed := run_tests(tree, options, given.timeout, write=True):
            raise SystemExit(f"The tests must pass first. These did not: {', '.join(failed)}")
        took_s = time.monotonic() - began_s
        print(f"{len(changes)} changes, each with {' '.join(options)} ({took_s:.0f} s)", flush=True)
        real = (tree / module).resolve()
        for compiled in (real.parent / "__pycache__").glob(f"{real.stem}.*"):
            compiled.unlink()
        # Who waits for ever has noticed, too.
        timeout_s = min(given.timeout, 30 + 5 * took_s)
        for change in changes:
            real.write_bytes(change.apply(source))
            fresh = b"numba" in source
            tests = run_tests(tree, options + ([] if given.all else ["-x"]), timeout_s, fresh=fresh)
            noticed[change] = tests
            print(f"{'noticed ' if tests else 'SURVIVED'} {change}", flush=True)
            for test in tests:
                print(f"           by {test}", flush=True)
    summarise(noticed, given.all)
    return int(not all(noticed.values()))


if __name__ == "__main__":
    sys.exit(main())
