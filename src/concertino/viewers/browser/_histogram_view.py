"""How often each value occurs, and which colours it gets."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, LinearColorMapper, Range1d, Span
from bokeh.plotting import figure

from ._image_view import LEFT_PX, SIDE_PX
from ._values import Values

_PERIOD_S = 0.5
_RAMP = np.arange(256, dtype=np.uint8)[np.newaxis]


class HistogramView:
    """Draws a histogram, the limits in it, and the colours between them.

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
        self._drawn: tuple[Values, tuple[float, float]] | None = None
        self._drawn_s = float("-inf")
        self._axis = Range1d(0, 1)
        self._bars = ColumnDataSource({"top": [], "left": [], "right": []})
        self._strip = ColumnDataSource({"x": [], "dw": [], "image": []})
        self._mapper = LinearColorMapper(palette=palette, low=0, high=255)
        self._spans = [Span(dimension="height", line_color="#c05020") for _ in range(2)]
        self.figure = self._make_figure()

    def recolour(self, palette: Sequence[str]) -> None:
        """Use other colours."""
        self._mapper.palette = palette

    def draw(self, values: Values, limits: tuple[float, float]) -> None:
        """Send what has changed, not as often as pictures come: it is slow to draw."""
        now_s = time.monotonic()
        if self._drawn == (values, limits) or now_s - self._drawn_s < _PERIOD_S:
            return
        self._drawn, self._drawn_s = (values, limits), now_s
        edges, counts = values.edges, values.counts
        # The root makes the few pixels of a small object visible beside a large background.
        tops = np.sqrt(counts / max(counts.max(initial=0.0), 1.0))
        self._bars.data = {"top": tops, "left": edges[:-1], "right": edges[1:]}
        low, high = limits
        self._strip.data = {"x": [low], "dw": [high - low], "image": [_RAMP]}
        for span, place in zip(self._spans, limits, strict=True):
            span.location = place
        left, right = min(edges[0], low), max(edges[-1], high)
        margin = 0.02 * (right - left)
        self._axis.update(start=left - margin, end=right + margin)

    def _make_figure(self) -> Any:
        made = figure(
            frame_height=96,
            frame_width=SIDE_PX,
            min_border_left=LEFT_PX,
            x_range=self._axis,
            y_range=Range1d(-0.2, 1.05),
            tools="",
            toolbar_location=None,
        )
        made.grid.visible = False
        made.yaxis.visible = False
        made.xaxis.formatter.use_scientific = False
        made.quad(
            top="top",
            bottom=0,
            left="left",
            right="right",
            source=self._bars,
            color="#7a93ab",
            line_color=None,
        )
        made.image(
            image="image",
            x="x",
            dw="dw",
            y=-0.17,
            dh=0.14,
            source=self._strip,
            color_mapper=self._mapper,
        )
        for span in self._spans:
            made.add_layout(span)
        return made
