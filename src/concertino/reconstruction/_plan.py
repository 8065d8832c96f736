"""What a way of computing parallel-beam slices must offer, and the choice between them."""

from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ._backprojection import BackprojectionPlan
from ._gridding import GridPlan, Lattice
from ._settings import ReconstructionSettings
from ._work import Work

_FEW_PIXELS = 0.02  # of a whole slice: fewer are cheaper one by one


class Plan(Protocol):
    """Filters blocks of projections onto something that becomes slices in the end."""

    x: Lattice
    y: Lattice
    width: int
    grid_shape: tuple[int, int]

    def lanes(self, slices: int) -> int:
        """How many slices lie side by side in memory when this many are wanted."""
        ...

    def grid_bytes(self, lanes: int) -> int:
        """Memory of one grid."""
        ...

    def add(
        self,
        grid: NDArray[np.float32],
        padded: NDArray[np.float32],
        angles: NDArray[np.float64],
        weights: NDArray[np.float64],
        pool: ThreadPoolExecutor | None,
        threads: int,
    ) -> None:
        """Add padded rows (projection, width, lane), overwritten, to a grid."""
        ...

    def image(
        self,
        grid: NDArray[np.float32],
        volume: NDArray[np.float32],
        scale: float,
        pool: ThreadPoolExecutor | None,
        threads: int,
        half_way: NDArray[np.float32] | None = None,
        work: Work | None = None,
        share: float = 1.0,
    ) -> None:
        """Turn a grid into slices (slice, y, x); counts for a share of the work."""
        ...


def chosen_plan(
    columns: int, center: float, x: Lattice, y: Lattice, settings: ReconstructionSettings
) -> Plan:
    """Plan by `settings.method`: gridding, or back projection when few pixels are wanted."""
    if takes_grid(columns, x, y, settings):
        return GridPlan(columns, center, x, y, settings)
    return BackprojectionPlan(columns, center, x, y, settings)


def takes_grid(columns: int, x: Lattice, y: Lattice, settings: ReconstructionSettings) -> bool:
    """Return whether slices are made by gridding."""
    few = x.count * y.count < _FEW_PIXELS * columns * columns
    return settings.method == "gridding" or (settings.method == "auto" and not few)
