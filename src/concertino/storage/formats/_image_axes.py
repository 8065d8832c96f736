"""What the three axes of a stack of images mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino._errors import ParameterError


@dataclass(frozen=True)
class ImageAxis:
    """One axis of a stack of images.

    Attributes
    ----------
    name
        Such as ``z``, ``y``, ``x``, ``frame``, or of the setting that was swept.
    unit
        Of the positions: ``um``, ``px``, …; empty if they are numbers.
    start, step
        Position of the first image, row or column, and from each to the next.
    values
        All positions, where they are not equally spaced; start and step then mean nothing.
    """

    name: str
    unit: str = ""
    start: float = 0.0
    step: float = 1.0
    values: tuple[float, ...] | None = None

    @classmethod
    def at(cls, name: str, unit: str, values: NDArray[np.float64]) -> "ImageAxis":
        """Make an axis with these positions, equally spaced or not; without any they are counted."""
        if not len(values):
            return cls(name, unit)
        steps = np.diff(values)
        step = float(steps.mean()) if len(steps) else 1.0
        if step > 0 and np.allclose(steps, step, rtol=1e-6, atol=0):
            return cls(name, unit, float(values[0]), step)
        return cls(name, unit, values=tuple(float(value) for value in values))

    def positions(self, first: int, last: int) -> NDArray[np.float64]:
        """Return the positions of images, rows or columns `first` to `last`, which is excluded.

        Examples
        --------
        >>> ImageAxis("y", "um", start=10, step=0.5).positions(0, 3)
        array([10. , 10.5, 11. ])
        """
        if self.values is None:
            return np.asarray(self.start + self.step * np.arange(first, last), np.float64)
        known = np.array(self.values[first:last])
        return np.append(known, np.full(last - first - len(known), np.nan))


@dataclass(frozen=True)
class ImageAxes:
    """The axes of a stack (image, row, column).

    Attributes
    ----------
    images, rows, columns
        Along each; their names differ.
    """

    images: ImageAxis = ImageAxis("frame")
    rows: ImageAxis = ImageAxis("y", "px")
    columns: ImageAxis = ImageAxis("x", "px")

    def __post_init__(self) -> None:
        if len({axis.name for axis in self}) < 3:
            raise ParameterError(
                f"axes: {', '.join(axis.name for axis in self)} were given; give each another name."
            )

    def __iter__(self) -> Any:
        return iter((self.images, self.rows, self.columns))

    @classmethod
    def of_frames(cls, metadata: Mapping[str, Any]) -> "ImageAxes":
        """Return the axes of a camera's frames: in um if the metadata have ``pixel_size_um``."""
        size = metadata.get("pixel_size_um")
        if not isinstance(size, (int, float)) or not size > 0:
            return cls()
        rows, columns = (ImageAxis(name, "um", 0.0, float(size)) for name in ("y", "x"))
        return cls(rows=rows, columns=columns)
