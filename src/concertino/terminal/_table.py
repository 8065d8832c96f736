"""A table of values, for a prompt and for a notebook."""

import html
from collections.abc import Iterable
from typing import ClassVar, Generic, Protocol, TypeVar


class HasRow(Protocol):
    """What is shown in a line of a table."""

    def row(self) -> tuple[str, ...]:
        """Return its cells."""


Row = TypeVar("Row", bound=HasRow)


class Table(tuple[Row, ...], Generic[Row]):
    """Values that are shown as a table, one in a line; subclasses give `HEADINGS`."""

    __slots__ = ()

    HEADINGS: ClassVar[tuple[str, ...]]
    #: What is shown when there is no value.
    EMPTY: ClassVar[str] = ""

    def notes(self) -> list[str]:
        """Return sentences that stand below the table."""
        return []

    def __str__(self) -> str:
        if not self and self.EMPTY:
            return self.EMPTY
        rows = [self.HEADINGS, *(one.row() for one in self)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(self.HEADINGS))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, *self.notes()])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        def line(cells: Iterable[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

        if not self and self.EMPTY:
            return f"<p>{html.escape(self.EMPTY)}</p>"
        rows = "".join(line(one.row(), "td") for one in self)
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes())
        return f"<table>{line(self.HEADINGS, 'th')}{rows}</table>{notes}"
