"""One picture on the page, with its histogram and the controls of its colours."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import Div, NumericInput, RadioButtonGroup, Select
from bokeh.palettes import Cividis256, Greys256, Inferno256, Magma256, Turbo256, Viridis256

from concertino.viewers._picture import Picture
from concertino.viewers._settings import COLOUR_MAPS, LIMITS_MODES, PageSettings

from ._histogram_view import HistogramView
from ._html import caption
from ._image_view import LEFT_PX, SIDE_PX, ImageView
from ._values import Values, values_of

PALETTES: dict[str, tuple[str, ...]] = {
    "gray": Greys256,
    "inverted": Greys256[::-1],
    "viridis": Viridis256,
    "inferno": Inferno256,
    "magma": Magma256,
    "cividis": Cividis256,
    "turbo": Turbo256,
}
_WORDS_PERIOD_S = 0.5
_RATE_WINDOW_S = 2.0
_NEWEST = "newest"


class PicturePanel:
    """Shows one of some pictures.

    Parameters
    ----------
    title : str
        Above the picture.
    settings : PageSettings
        What is shown at first.

    Attributes
    ----------
    layout : LayoutDOM
        To be put on a page; not visible before there is a picture.
    """

    def __init__(self, title: str, settings: PageSettings) -> None:
        self._title = title
        self._percentiles = settings.percentiles
        self._shown: Picture | None = None
        self._values: Values | None = None
        self._limits = settings.fixed or (0.0, 1.0)
        self._limits_known = settings.fixed is not None
        self._stream_limits: tuple[float, float] | None = None
        self._times: deque[float] = deque()
        self._worded_s = float("-inf")
        self._worded = ("", "")
        self._setting = False
        self._caption = Div(text="", margin=(4, 5, 0, 5), width=LEFT_PX + SIDE_PX)
        self._image = ImageView(PALETTES[settings.colour_map])
        self._histogram = HistogramView(PALETTES[settings.colour_map])
        self.layout = column(
            self._caption,
            self._image.figure,
            self._make_controls(settings),
            self._histogram.figure,
            spacing=4,
            visible=False,
        )

    def take(self, pictures: Mapping[str, Picture]) -> None:
        """Choose from the newest pictures, by label, the one that the user wants to see."""
        if not pictures:
            self.layout.visible = False
            return
        labels = [_NEWEST, *sorted(pictures)]
        if self._choice.options != labels:
            self._choice.options = labels
            self._choice.visible = len(pictures) > 1
        newest = max(pictures.values(), key=lambda found: found.version)
        picture = pictures.get(self._choice.value, newest)
        if self._shown is None or picture.version != self._shown.version:
            self._put(picture)
            self.layout.visible = True

    def draw(self, received_hz: Mapping[str, float]) -> None:
        """Send what has changed."""
        if self._shown is None or self._values is None:
            return
        self._image.draw()
        self._histogram.draw(self._values, self._limits)
        now_s = time.monotonic()
        # A text that changes makes the browser lay out the page: not for each picture.
        # Another picture has another title at once.
        shown = self._shown.label, self._shown.stream
        if shown != self._worded or now_s - self._worded_s >= _WORDS_PERIOD_S:
            self._worded, self._worded_s = shown, now_s
            self._show_limits()
            while self._times and now_s - self._times[0] > _RATE_WINDOW_S:
                self._times.popleft()
            self._caption.text = caption(
                self._title,
                self._shown,
                received_hz.get(self._shown.label),
                len(self._times) / _RATE_WINDOW_S,
                self._image.pointed,
            )

    def _put(self, picture: Picture) -> None:
        before, self._shown = self._shown, picture
        self._times.append(time.monotonic())
        self._values = values_of(picture.pixels)
        if before is None or (before.stream, before.label) != (picture.stream, picture.label):
            self._stream_limits = None
        low, high = self._stream_limits or (self._values.low, self._values.high)
        self._stream_limits = min(low, self._values.low), max(high, self._values.high)
        self._apply_limits()

    def _make_controls(self, settings: PageSettings) -> Any:
        self._choice = Select(
            title="picture", value=_NEWEST, options=[_NEWEST], width=100, visible=False
        )
        self._colours = Select(
            title="colours", value=settings.colour_map, options=list(COLOUR_MAPS), width=84
        )
        self._mode = RadioButtonGroup(
            labels=list(LIMITS_MODES), active=LIMITS_MODES.index(settings.mode)
        )
        low, high = self._limits
        free = settings.mode != "fixed"
        self._low = NumericInput(title="from", value=low, mode="float", width=96, disabled=free)
        self._high = NumericInput(title="to", value=high, mode="float", width=96, disabled=free)
        self._colours.on_change("value", self._recolour)
        self._mode.on_change("active", self._change_mode)
        self._low.on_change("value", self._type_limit)
        self._high.on_change("value", self._type_limit)
        limits = column(Div(text="limits", margin=(5, 5, -1, 5)), self._mode)
        return row(self._colours, limits, self._low, self._high, self._choice)

    def _recolour(self, _name: str, _old: Any, chosen: str) -> None:
        self._image.recolour(PALETTES[chosen])
        self._histogram.recolour(PALETTES[chosen])

    def _change_mode(self, _name: str, _old: Any, _new: Any) -> None:
        # What is typed would be overwritten by the next picture's limits in the other modes.
        fixed = LIMITS_MODES[self._mode.active] == "fixed"
        self._low.disabled = self._high.disabled = not fixed
        if fixed and self._limits_known:
            # From here on these are the limits: as they are now, not as they were shown last.
            self._setting = True
            self._low.value, self._high.value = _rounded(*self._limits)
            self._setting = False
        self._apply_limits()

    def _type_limit(self, _name: str, _old: Any, _new: Any) -> None:
        if not self._setting:
            self._apply_limits()

    def _apply_limits(self) -> None:
        """Find the limits, show them, and have the picture drawn with them."""
        if self._shown is None or self._values is None or self._stream_limits is None:
            return
        mode = LIMITS_MODES[self._mode.active]
        if mode == "fixed" and self._limits_known:
            typed = self._low.value, self._high.value
            if None not in typed and typed[0] < typed[1]:
                self._limits = typed
        else:
            if mode == "full":
                low, high = self._values.low, self._values.high
            elif mode == "stream":
                low, high = self._stream_limits
            else:
                low, high = self._values.between(self._percentiles)
            self._limits = low, high if high > low else low + 1
            self._limits_known = True
        self._image.show(self._shown, self._limits)

    def _show_limits(self) -> None:
        if LIMITS_MODES[self._mode.active] != "fixed":
            self._setting = True
            self._low.value, self._high.value = _rounded(*self._limits)
            self._setting = False


def _rounded(low: float, high: float) -> tuple[float, float]:
    """Round limits to what is worth reading: a thousandth of the distance between them."""
    digits = 3 - int(np.floor(np.log10(high - low)))
    return round(low, digits), round(high, digits)
