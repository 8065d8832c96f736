"""Event pages of many rows are checked against their schema at once, not value by value."""

from collections.abc import Mapping
from typing import Any

import event_model

_NAME = event_model.DocumentNames.event_page
_REQUIRED = {"descriptor", "seq_num", "uid", "data", "time", "timestamps"}
_COLUMNS: Mapping[str, set[type]] = {"seq_num": {int}, "uid": {str}, "time": {int, float}}


class QuickPages:
    """The validator of event pages: quick for what is plainly right, else the one it stands for.

    jsonschema takes 30 us a row, in the RunEngine's loop: a page of the angles of some thousand projections
    held it up for 100 ms. What is not plainly right is left to it, with its messages.

    Parameters
    ----------
    whole : validator
        Of event-model.
    """

    def __init__(self, whole: Any) -> None:
        self._whole = whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    def validate(self, page: Any, *args: Any, **kwargs: Any) -> None:
        """Check a page.

        Raises
        ------
        jsonschema.ValidationError
            If it is none.
        """
        if args or kwargs or not plainly_right(page):
            self._whole.validate(page, *args, **kwargs)


def plainly_right(page: Any) -> bool:
    """Whether a page of events is certainly what the schema says, of Python's own types alone."""
    if type(page) is not dict:
        return False
    filled = page.get("filled", {})
    if type(filled) is not dict or filled or page.keys() - {"filled"} != _REQUIRED:
        return False
    for name, kinds in _COLUMNS.items():
        column = page[name]
        if type(column) is not list or not kinds.issuperset(map(type, column)):
            return False
    return type(page["descriptor"]) is str and all(
        type(page[name]) is dict
        and {str}.issuperset(map(type, page[name]))
        and {list}.issuperset(map(type, page[name].values()))
        for name in ("data", "timestamps")
    )


def check_pages_quickly() -> None:
    """Have event-model, and so bluesky, check pages of events quickly in this process."""
    whole = event_model.schema_validators[_NAME]
    if not isinstance(whole, QuickPages):
        event_model.schema_validators[_NAME] = QuickPages(whole)
