"""What both sides of a hosted callback say to each other, and how an error crosses."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from concertino import ConcertinoError


@dataclass(frozen=True)
class Call:
    """Call a method of the callback (``""``: the callback itself) and answer with what it returns."""

    number: int
    method: str
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a call returned, or the error that it raised."""

    number: int
    value: Any = None
    error: BaseException | None = None


@dataclass(frozen=True)
class Emitted:
    """A document that the callback itself emits, such as those of a reconstruction's run."""

    name: str
    document: Mapping[str, Any]


def portable(error: BaseException) -> BaseException:
    """Return an error that another process can be given: itself, or its text."""
    try:
        if isinstance(pickle.loads(pickle.dumps(error)), type(error)):
            return error
    except Exception:  # whatever its constructor makes of its arguments
        pass
    return ConcertinoError(f"{type(error).__name__}: {error}")
