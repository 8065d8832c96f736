"""A device that never says that it is done."""

from collections.abc import Callable
from typing import Any


class EndlessStatus:
    """A status of bluesky's that never is done."""

    done = False
    success = False

    def add_callback(self, callback: Callable[[Any], Any]) -> None:
        """Take a callback that nobody will call."""

    def exception(self, timeout: float | None = 0.0) -> BaseException | None:
        """Return nothing."""
        return None


def never_done(device: Any, command: str) -> Any:
    """Return a device like another, which does nothing at one command and never says that it is done.

    Parameters
    ----------
    device : Any
        What it is like in all else.
    command : str
        Name of the method, such as ``set``.
    """

    def never(_: Any, *args: Any, **kwargs: Any) -> EndlessStatus:
        return EndlessStatus()

    def passed_on(name: str) -> Any:
        return property(lambda _: getattr(device, name))

    # Protocols look at the class: what the device has must stand there.
    names = [name for name in dir(device) if not name.startswith("_")]
    members = {"parent": None, **{name: passed_on(name) for name in names}, command: never}
    return type("NeverDone", (), members)()
