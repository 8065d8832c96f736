"""The command ``concertino``."""

from ._app import app, main

__all__ = ["app", "main"]

main.__module__ = __name__
