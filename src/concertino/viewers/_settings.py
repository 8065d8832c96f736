"""What a page shows at first; its user may change all of it there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from concertino._errors import ParameterError

LimitsMode = Literal["auto", "fixed", "full", "stream"]
ColourMap = Literal["gray", "inverted", "viridis", "inferno", "magma", "cividis", "turbo"]

LIMITS_MODES: tuple[str, ...] = get_args(LimitsMode)
COLOUR_MAPS: tuple[str, ...] = get_args(ColourMap)
_FASTEST_HZ = 60.0


@dataclass(frozen=True)
class PageSettings:
    """How a page begins.

    Attributes
    ----------
    limits : {"auto", "fixed", "full", "stream"} or tuple of float
        Values shown as darkest and brightest colour. ``auto``: percentiles of each picture;
        ``full``: its smallest and largest value; ``stream``: the smallest and largest since the
        stream began; ``fixed``: those typed in, at first those of the first picture. A pair
        (low, high) is fixed.
    percentiles : tuple of float
        For ``auto``, in percent.
    colour_map : {"gray", "inverted", "viridis", "inferno", "magma", "cividis", "turbo"}
        Colours from low to high.
    refresh_hz : float
        Pictures a second at most.
    """

    limits: LimitsMode | tuple[float, float] = "auto"
    percentiles: tuple[float, float] = (0.5, 99.5)
    colour_map: ColourMap = "gray"
    refresh_hz: float = 10.0

    def __post_init__(self) -> None:
        if isinstance(self.limits, str):
            if self.limits not in LIMITS_MODES:
                raise ParameterError(
                    f"The live view's limits were given as {self.limits!r}; they can be "
                    f"{', '.join(LIMITS_MODES)} or a pair of numbers (low, high)."
                )
        elif len(self.limits) != 2 or not self.limits[0] < self.limits[1]:
            raise ParameterError(
                f"The live view's fixed limits are {self.limits!r}; give two numbers, "
                "the lower one first."
            )
        if len(self.percentiles) != 2 or not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise ParameterError(
                f"The live view's percentiles are {self.percentiles!r}; give two numbers from 0 to "
                "100, the lower one first."
            )
        if self.colour_map not in COLOUR_MAPS:
            raise ParameterError(
                f"The live view has no colour map {self.colour_map!r}; it has "
                f"{', '.join(COLOUR_MAPS)}."
            )
        if not 0 < self.refresh_hz <= _FASTEST_HZ:
            raise ParameterError(
                f"The live view's refresh rate is {self.refresh_hz:g} Hz; give more than 0 and at "
                f"most {_FASTEST_HZ:g} Hz."
            )

    @property
    def mode(self) -> str:
        """How limits are found at first."""
        return self.limits if isinstance(self.limits, str) else "fixed"

    @property
    def fixed(self) -> tuple[float, float] | None:
        """The fixed limits at first, or None."""
        return None if isinstance(self.limits, str) else self.limits
