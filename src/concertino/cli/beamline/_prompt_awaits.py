"""What somebody awaits at a prompt is awaited in the loop of devices; the rest of the line runs in the prompt's thread.

Bluesky runs a whole line with an ``await`` in the RunEngine's loop, where ``RE(plan)`` of the same line would wait for itself.
"""

import ast
import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from IPython.core.error import InputRejected
from IPython.core.interactiveshell import InteractiveShell

from concertino import SessionError

T = TypeVar("T")

#: The name, at the prompt, of what waits.
_WAITS = "_awaited_in_loop"


def await_in_loop(shell: InteractiveShell, loop: asyncio.AbstractEventLoop) -> None:
    """Have a prompt await in a loop.

    Parameters
    ----------
    shell : IPython shell
        The prompt.
    loop : asyncio.AbstractEventLoop
        In which the devices are connected: that of the RunEngine.
    """

    def awaited(what: Awaitable[T]) -> T:
        asked = asyncio.run_coroutine_threadsafe(_of(what), loop)
        try:
            return asked.result()
        except KeyboardInterrupt:
            asked.cancel()
            raise

    shell.user_ns[_WAITS] = awaited
    shell.user_ns_hidden[_WAITS] = awaited
    shell.ast_transformers.append(_Awaits())
    shell.autoawait = True
    shell.loop_runner = _run_here


async def _of(what: Awaitable[T]) -> T:
    return await what


def _run_here(line: Coroutine[Any, Any, T]) -> T:
    """Run a line, in which nothing awaits any more."""
    try:
        line.send(None)
    except StopIteration as done:
        returned: T = done.value
        return returned
    line.close()
    raise SessionError(
        "The line waits for something outside of an await. Put it into an async function, and await that."
    )


class _Awaits(ast.NodeTransformer):
    """Replaces each await of a line that is in no function."""

    def visit_Await(self, node: ast.Await) -> ast.AST:
        value = self.visit(node.value)
        waits = ast.Name(_WAITS, ast.Load())
        return ast.copy_location(ast.Call(waits, [value], []), node)

    def _leave(self, node: ast.AST) -> ast.AST:
        return node

    visit_FunctionDef: Callable[..., ast.AST] = _leave  # noqa: N815
    visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef  # noqa: N815

    def _refuse(self, node: ast.AST) -> ast.AST:
        raise InputRejected(
            "'async for' and 'async with' are for functions here. Write an async function with it, and await that."
        )

    visit_AsyncFor: Callable[..., ast.AST] = _refuse  # noqa: N815
    visit_AsyncWith = visit_AsyncFor  # noqa: N815

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        return self._refuse(node) if node.is_async else self.generic_visit(node)
