"""Slices and frames as PNG, for people."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PERCENTILES = (0.5, 99.8)


def save_png(image: NDArray[Any], path: Path) -> Path:
    """Save an image (height, width) as 8-bit PNG, grey from the 0.5th to the 99.8th percentile."""
    from PIL import Image

    low, high = np.percentile(image[np.isfinite(image)], _PERCENTILES)
    scaled = (np.nan_to_num(image) - low) / max(high - low, 1e-12)
    Image.fromarray(np.uint8(np.clip(scaled, 0, 1) * 255)).save(path)
    return path


def save_slices(volume: NDArray[np.float32], directory: Path) -> list[Path]:
    """Save each slice of a volume (slice, y, x) as PNG; return the files."""
    return [
        save_png(image, directory / f"slice_{index:03d}.png") for index, image in enumerate(volume)
    ]
