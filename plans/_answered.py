"""Answers that may have to be waited for."""

import inspect
from typing import Any


async def answered(answer: Any) -> Any:
    """Return an answer, waiting for it if it is awaitable."""
    return await answer if inspect.isawaitable(answer) else answer
