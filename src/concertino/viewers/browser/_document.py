"""What one browser tab shows: one Bokeh document, refreshed while the browser keeps up."""

from __future__ import annotations

import logging
from typing import Any

from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import Div, Toggle

from concertino.viewers._pace import PagePace
from concertino.viewers._settings import PageSettings

from ._axis_control import AxisControl
from ._camera_panels import CameraPanels
from ._feed import Feed
from ._html import header, title
from ._picture_panel import PicturePanel

_LOG = logging.getLogger(__name__)
_FREEZE = "Freeze pictures"


class LiveDocument:
    """Keeps one tab up to date.

    Bokeh runs `refresh` again only after everything it changed has been written to the browser's
    connection. So a browser that does not read, stalled or asleep, gets nothing new, and nothing
    is kept for it.

    Parameters
    ----------
    document : Document
        The tab's.
    feed : Feed
        Where the newest comes from.
    settings : PageSettings
        What is shown at first.
    """

    def __init__(self, document: Document, feed: Feed, settings: PageSettings) -> None:
        self._document = document
        self._feed = feed
        self._problem = ""
        self._pace = PagePace(settings.refresh_hz)
        self._header = Div(text=header({}, frozen=False), width=1200)
        # Not "Pause": that is what one does to a scan, which goes on.
        self._freeze = Toggle(label=_FREEZE, width=150, align="start")
        self._axis = AxisControl(feed)
        self._frames = CameraPanels(settings)
        self._slices = PicturePanel("Reconstruction", settings)
        document.title = "Concertino"
        document.add_root(
            column(
                row(self._freeze, self._header, spacing=16),
                self._axis.layout,
                row(self._frames.layout, self._slices.layout, spacing=30),
                spacing=10,
                margin=(10, 10, 10, 14),
            )
        )
        document.add_periodic_callback(self.refresh, round(1000 / settings.refresh_hz))

    def refresh(self) -> None:
        """Show what is new."""
        self._feed.want()
        if not self._pace.due():
            return
        self._document.hold("combine")
        try:
            self._show()
        except Exception as error:
            # Ten times a second would be too often to say it.
            if (problem := repr(error)) != self._problem:
                self._problem = problem
                _LOG.exception("The live page could not show what is new")
        finally:
            self._document.unhold()

    def _show(self) -> None:
        summary: dict[str, Any] = self._feed.summary
        frozen = bool(self._freeze.active)
        label = "Show new pictures" if frozen else _FREEZE
        text, caption = header(summary, frozen=frozen), title(summary)
        if self._header.text != text:
            self._header.text = text
        if self._document.title != caption:
            self._document.title = caption
        if self._freeze.label != label:
            self._freeze.label = label
        self._axis.show(summary)
        for panel, pictures in (
            (self._frames, self._feed.pictures["frames"]),
            (self._slices, self._feed.pictures["slices"]),
        ):
            if not frozen:
                panel.take(pictures)
            panel.draw(summary.get("received_hz", {}))
