"""Gives each document to all callbacks, whatever one of them raises."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from concertino._bluesky_private import forget_proxy, proxies_of

if TYPE_CHECKING:
    from bluesky import RunEngine
    from event_model import DocumentNames


class Delivery:
    """Has a RunEngine give each document to everybody before an error of one of them is raised.

    bluesky's dispatcher raises at the first error: who was subscribed later never hears of a run's end, and
    waits for it. Here the first error is raised after all have had the document; the others are notes
    of it. Who asked bluesky to ignore errors (``RE.ignore_callback_exceptions``) has them ignored.

    Parameters
    ----------
    run_engine : bluesky.RunEngine
        Its dispatcher; `undo` gives it back.
    """

    def __init__(self, run_engine: "RunEngine") -> None:
        self._dispatcher = run_engine.dispatcher
        self._original = self._dispatcher.process
        self._dispatcher.process = self  # type: ignore[method-assign]

    def __call__(self, name: "DocumentNames", document: Mapping[str, Any]) -> None:
        """Give a document to all who subscribed to its kind, in the order of their subscription."""
        if self._dispatcher.ignore_exceptions:
            self._original(name, document)  # type: ignore[no-untyped-call]
            return
        errors: list[Exception] = []
        for callback in proxies_of(self._dispatcher, name):
            try:
                callback(name.name, document)
            except ReferenceError:
                forget_proxy(self._dispatcher, callback)  # a method whose object is gone
            except Exception as error:
                errors.append(error)
        if errors:
            for later in errors[1:]:
                errors[0].add_note(
                    f"Another callback failed at the same {name.name} document: "
                    f"{type(later).__name__}: {later}"
                )
            raise errors[0]

    def undo(self) -> None:
        """Have the dispatcher work as before."""
        if vars(self._dispatcher).get("process") is self:
            del self._dispatcher.process
