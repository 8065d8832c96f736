"""Which engine makes the slices: gridding, back projection, a whole volume, or another back end's."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._backends import Backend
from ._correct import FlatField
from ._layout import Layout
from ._settings import ReconstructionSettings

if TYPE_CHECKING:  # heavy: loaded with the first projections
    from ._back_projector import BackProjector
    from ._collecting import CollectingEngine
    from ._engine import Engine
    from ._rows import Rows
    from ._volume import VolumeEngine

    AnyEngine = CollectingEngine | Engine | VolumeEngine


def chosen_engine(
    backend: Backend,
    layout: Layout,
    settings: ReconstructionSettings,
    rows: "Rows",
    flat_field: FlatField,
    angles: NDArray[np.float64],
    weights: NDArray[np.float64],
    center: float,
    pool: ThreadPoolExecutor,
    threads: int,
    spare_bytes: int,
) -> "AnyEngine":
    """Return an engine that has got nothing yet.

    Parameters
    ----------
    backend
        Who computes.
    layout, settings
        Which slices, and how.
    rows
        Those that the settings need.
    flat_field
        Of these rows.
    angles, weights
        float64, (projection,), radians.
    center
        Column of the rotation axis.
    pool, threads
        Where to compute.
    spare_bytes
        Memory for grids and for what is in work.
    """
    from ._condition import conditioned
    from ._engine import Engine
    from ._gridding import GridPlan, lattice
    from ._memory import live_groups, scratch_of_blocks
    from ._volume import VolumeEngine

    x, y = lattice(layout.x), lattice(layout.y)
    if layout.conditioned:
        rows, flat_field = conditioned(rows, flat_field, settings, layout.sliced, center, threads)
    projector = other_projector(backend, layout, settings, rows.columns, len(angles), center)
    if projector is not None:
        from ._collecting import CollectingEngine

        return CollectingEngine(projector, rows, flat_field, angles, settings, pool)
    common = (rows, flat_field, angles, weights)
    if layout.heights is not None:
        return VolumeEngine(*common, center, x, y, layout.heights, settings, pool, threads)
    plan = GridPlan(rows.columns, center, x, y, settings)
    scratch = scratch_of_blocks(plan, layout.slices, (len(angles), rows.columns), settings, threads)
    live = live_groups(plan, layout.slices, threads, spare_bytes - scratch)
    return Engine(plan, *common, settings, pool, threads, live)


def other_projector(
    backend: Backend,
    layout: Layout,
    settings: ReconstructionSettings,
    columns: int,
    projections: int,
    center: float,
) -> "BackProjector | None":
    """Return what computes slices in the place of this package's engines, if anything does."""
    if backend._make is None:
        return None
    from ._back_projector import SliceGeometry
    from ._gridding import lattice

    geometry = SliceGeometry(columns, center, lattice(layout.x), lattice(layout.y))
    return backend._make(geometry, settings, projections)
