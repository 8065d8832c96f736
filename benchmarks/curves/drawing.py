"""The curves as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .verdicts import Verdict

_COLUMNS = {
    "memory above the start, MB": ("memory_mb",),
    "time of each, ms": ("wall_ms", "cpu_ms"),
    "a callback of the loop is late, 99 %, ms": ("late_ms",),
}
_COLOURS = ("#1f4e79", "#c05a00", "#3a7d44", "#7b3f8c", "#8a6d00")

Points = Sequence[tuple[float, Mapping[str, float]]]


def draw(
    curves: Mapping[str, Points],
    grows: Mapping[str, str],
    verdicts: Mapping[tuple[str, str], Verdict],
    path: Path,
) -> None:
    """Draw each curve in a row: memory, times, lateness, and what else was measured, from zero.

    Parameters
    ----------
    curves : mapping
        Sizes and figures, by the curve's name.
    grows : mapping
        What grows, for the axis.
    verdicts : mapping
        By curve and figure.
    path : Path
        Of the picture; its suffix tells the format.
    """
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(17, 2.6 * len(curves)), layout="constrained")
    rows: Any = drawing.subplots(len(curves), len(_COLUMNS) + 1, squeeze=False)
    for axes_of_row, (name, points) in zip(rows, curves.items(), strict=True):
        known = {figure for group in _COLUMNS.values() for figure in group}
        others = tuple(figure for figure in points[0][1] if figure not in known)
        groups = [*_COLUMNS.items(), ("what else", others)]
        for axes, (title, figures) in zip(axes_of_row, groups, strict=True):
            _panel(axes, name, [each for each in figures if each in points[0][1]], points, verdicts)
            if figures:
                axes.set_title(title, fontsize=9)
                axes.set_xlabel(grows[name], fontsize=8)
        axes_of_row[0].set_ylabel(name, fontsize=12, fontweight="bold")
    drawing.savefig(path, dpi=80)


def _panel(
    axes: Any,
    name: str,
    figures: Sequence[str],
    points: Points,
    verdicts: Mapping[tuple[str, str], Verdict],
) -> None:
    axes.tick_params(labelsize=8)
    if not figures:
        axes.set_axis_off()
        return
    sizes = [size for size, _ in points]
    for colour, figure in zip(_COLOURS, figures, strict=False):
        verdict = verdicts[name, figure]
        label = f"{figure}: {verdict.kind}" + (", MISSED" if verdict.missed else "")
        axes.plot(sizes, [each[figure] for _, each in points], "o-", color=colour, label=label)
    axes.set_ylim(min(0.0, axes.get_ylim()[0]), 1.15 * max(axes.get_ylim()[1], 1e-9))
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="best")
