"""The command ``concertino``."""

from typing import TYPE_CHECKING, Any

from ._main import main

if TYPE_CHECKING:
    from ._app import app

__all__ = ["app", "main"]

main.__module__ = __name__


def __getattr__(name: str) -> Any:
    """Import what takes long when it is asked for: a command hears Ctrl-C meanwhile."""
    if name == "app":
        from ._app import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
