"""The newest frame of each camera, side by side on the page."""

from __future__ import annotations

from collections.abc import Mapping

from bokeh.layouts import row

from concertino.viewers._picture import Picture
from concertino.viewers._settings import PageSettings

from ._picture_panel import PicturePanel


class CameraPanels:
    """A picture for each camera, with colours and limits of its own.

    Parameters
    ----------
    settings : PageSettings
        What is shown at first.

    Attributes
    ----------
    layout : LayoutDOM
        To be put on a page; empty before there is a picture.
    """

    def __init__(self, settings: PageSettings) -> None:
        self._settings = settings
        self._panels: dict[str, PicturePanel] = {}
        self.layout = row(spacing=30)

    def take(self, pictures: Mapping[str, Picture]) -> None:
        """Take the newest picture of each camera, by its name."""
        for camera in pictures:
            if camera not in self._panels:
                self._panels[camera] = PicturePanel("Newest frame", self._settings)
                self.layout.children = [panel.layout for panel in self._panels.values()]
        for camera, panel in self._panels.items():
            panel.take({camera: pictures[camera]} if camera in pictures else {})

    def draw(self, received_hz: Mapping[str, float]) -> None:
        """Send what has changed."""
        for panel in self._panels.values():
            panel.draw(received_hz)
