"""Pictures of a sweep, drawn by matplotlib."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from concertino.batch import Sweep

_STRIP = 7  # slices side by side


def draw_metric(sweep: Sweep, metric: str, path: Path) -> Path:
    """Draw the metric over the setting, with the best value marked, as PNG."""
    estimate = sweep.estimate
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(estimate.values, estimate.metrics, ".-", linewidth=1)
    axes.axvline(estimate.value, color="tab:red", linewidth=1)
    axes.set_xlabel(_with_unit(estimate.parameter))
    axes.set_ylabel(metric)
    axes.set_title(
        f"best {estimate.parameter} = {estimate.value:.6g} (confidence {estimate.confidence:.2f})"
    )
    figure.savefig(path, dpi=120)
    return path


def draw_strip(sweep: Sweep, images: Any, best: int, path: Path) -> Path:
    """Draw some of the slices side by side, alike in grey, the best one marked, as PNG.

    Parameters
    ----------
    sweep
        What was swept.
    images : StoredFrames
        Its slices.
    best
        Number of the best one.
    path
        The file.
    """
    around = np.linspace(0, len(images) - 1, min(len(images), _STRIP)).round().astype(int)
    around[abs(around - best).argmin()] = best
    shown = [images[int(index)] for index in around]
    low, high = np.percentile(shown[int(np.flatnonzero(around == best)[0])], (0.5, 99.8))
    figure = Figure(figsize=(3 * len(shown), 3.4), layout="constrained")
    for place, (index, image) in enumerate(zip(around, shown, strict=True), 1):
        axes = figure.add_subplot(1, len(shown), place)
        axes.imshow(image, cmap="gray", vmin=low, vmax=high)
        axes.set_axis_off()
        axes.set_title(
            f"{sweep.values[index]:g}" + (" (best)" if index == best else ""),
            color="tab:red" if index == best else "black",
        )
    figure.suptitle(f"{_with_unit(sweep.estimate.parameter)}, row {sweep.row}")
    figure.savefig(path, dpi=120)
    return path


def _with_unit(parameter: str) -> str:
    if parameter.startswith("center"):
        return f"{parameter} (px)"
    return f"{parameter} (rad)" if "_angle" in parameter else parameter
