"""Controls by which a viewer of the page sets the rotation axis of the reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from bokeh.layouts import row
from bokeh.models import Button, Div, NumericInput

from ._feed import Feed


class AxisControl:
    """A field for the axis's column, a button to set it, and one to have it found again.

    Parameters
    ----------
    feed : Feed
        Takes what is asked.

    Attributes
    ----------
    layout : LayoutDOM
        To be put on a page; visible while there is a reconstruction that can be told.
    """

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._column = NumericInput(title="rotation axis, px", mode="float", width=110)
        # Only a click asks for something: a browser may send a field's value back by itself.
        self._set = Button(label="Set it", width=80, align="end")
        self._find = Button(label="Find it", width=80, align="end")
        self._answer = Div(text="", align="end", width=800)
        self._set.on_click(self._typed)
        self._find.on_click(self._search)
        self.layout = row(self._column, self._set, self._find, self._answer, visible=False)

    def show(self, summary: Mapping[str, Any]) -> None:
        """Show the axis as it is, and what was said to the last wish."""
        control = summary.get("control") or {}
        center = (summary.get("found") or {}).get("center")
        visible = bool(control.get("there")) and center is not None
        if self.layout.visible != visible:
            self.layout.visible = visible
        answer = escape(control.get("answer") or "")
        text = f'<span data-field="answer" style="color:#b3261e">{answer}</span>' if answer else ""
        if self._answer.text != text:
            self._answer.text = text

    def _typed(self) -> None:
        if self._column.value is not None:
            self._feed.request(center=float(self._column.value))

    def _search(self) -> None:
        self._feed.request(center=None)
