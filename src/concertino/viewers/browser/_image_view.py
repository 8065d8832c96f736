"""The picture itself on the page: zoomed, in colours, pixels square, first row at the top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bokeh.events import MouseLeave, MouseMove, PointEvent
from bokeh.models import ColumnDataSource, Range1d
from bokeh.plotting import figure

from concertino.viewers._picture import Picture

from ._colours import colour_table, colourise
from ._visible_pixels import visible_pixels

SIDE_PX = 512
"""Longest side of a picture on the screen."""

LEFT_PX = 66
"""Room for the labels left of a picture."""

_THINNEST_PX = 80


class ImageView:
    """Draws a picture; only what is seen of it is sent, at the screen's resolution.

    Parameters
    ----------
    palette : sequence of str
        Colours ``#rrggbb`` from low to high.

    Attributes
    ----------
    figure : figure
        To be put on a page.
    """

    def __init__(self, palette: Sequence[str]) -> None:
        self._picture: Picture | None = None
        self._limits = (0.0, 1.0)
        self._table = colour_table(palette)
        self._stale = False
        self._pointed: tuple[float, float] | None = None
        self._columns = Range1d(-0.5, 0.5)
        self._rows = Range1d(0.5, -0.5)
        self._source = ColumnDataSource({"image": [], "x": [], "y": [], "dw": [], "dh": []})
        self.figure = self._make_figure()

    def show(self, picture: Picture, limits: tuple[float, float]) -> None:
        """Draw a picture with its colours between two values, at the next `draw`."""
        if self._picture is None or self._picture.shape != picture.shape:
            self._fit(picture)
        self._picture = picture
        self._limits = limits
        self._stale = True

    def recolour(self, palette: Sequence[str]) -> None:
        """Use other colours from the next `draw` on."""
        self._table = colour_table(palette)
        self._stale = True

    def draw(self) -> None:
        """Send what has changed."""
        if self._picture is None or not self._stale:
            return
        self._stale = False
        part = visible_pixels(
            self._picture,
            columns=(self._columns.start, self._columns.end),
            rows=(self._rows.start, self._rows.end),
            longest_px=SIDE_PX,
        )
        self._source.data = {
            "image": [colourise(part.pixels, *self._limits, self._table)],
            "x": [part.left],
            "y": [part.top],
            "dw": [part.width],
            "dh": [part.height],
        }

    @property
    def pointed(self) -> tuple[int, int, float] | None:
        """Row, column and value under the pointer, or None."""
        if self._picture is None or self._pointed is None:
            return None
        height, width = self._picture.shape
        rows, columns = self._picture.pixels.shape
        row, column = round(self._pointed[0]), round(self._pointed[1])
        if not (0 <= row < height and 0 <= column < width):
            return None
        # The pixel that was kept of the block that the pointer is in.
        down, across = -(-height // rows), -(-width // columns)
        value = self._picture.pixels[row // down, column // across]
        return row // down * down, column // across * across, float(value)

    def _fit(self, picture: Picture) -> None:
        height, width = picture.shape
        scale = SIDE_PX / max(height, width)
        self.figure.frame_width = max(_THINNEST_PX, round(width * scale))
        self.figure.frame_height = max(_THINNEST_PX, round(height * scale))
        for axis, start, end in (
            (self._columns, -0.5, width - 0.5),
            (self._rows, height - 0.5, -0.5),
        ):
            axis.update(start=start, end=end, reset_start=start, reset_end=end)

    def _make_figure(self) -> Any:
        made = figure(
            x_range=self._columns,
            y_range=self._rows,
            frame_width=SIDE_PX,
            frame_height=SIDE_PX,
            min_border_left=LEFT_PX,
            tools="pan,box_zoom,wheel_zoom,reset,save",
            active_scroll="wheel_zoom",
            toolbar_location="above",
            x_axis_label="column (px)",
            y_axis_label="row (px)",
        )
        made.grid.visible = False
        for axis in made.axis:
            axis.ticker.min_interval = 1
            axis.ticker.num_minor_ticks = 0
        made.toolbar.logo = None
        made.image_rgba(image="image", x="x", y="y", dw="dw", dh="dh", source=self._source)
        made.on_event(MouseMove, self._point)
        made.on_event(MouseLeave, self._leave)
        for axis in (self._columns, self._rows):
            axis.on_change("start", self._move)
            axis.on_change("end", self._move)
        return made

    def _point(self, event: PointEvent) -> None:
        self._pointed = (event.y, event.x)

    def _leave(self, event: PointEvent) -> None:
        self._pointed = None

    def _move(self, _name: str, _old: Any, _new: Any) -> None:
        self._stale = True
