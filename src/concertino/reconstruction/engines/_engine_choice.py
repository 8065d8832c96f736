"""Which engine makes the slices: gridding, a whole volume, or another back end's."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from concertino.reconstruction.backends._backends import Backend
from concertino.reconstruction.preprocessing._correct import FlatFieldCorrection
from concertino.reconstruction.settings._layout import Layout
from concertino.reconstruction.settings._settings import ReconstructionSettings

if TYPE_CHECKING:  # heavy: loaded with the first projections
    from concertino.reconstruction.preprocessing._rows import Rows

    from ._deferred import DeferredEngine
    from ._engine import Engine
    from ._volume import VolumeEngine

    AnyEngine = DeferredEngine | Engine | VolumeEngine


def chosen_engine(
    backend: Backend,
    layout: Layout,
    settings: ReconstructionSettings,
    rows: "Rows",
    flat_field: FlatFieldCorrection,
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
    from concertino.reconstruction.preprocessing._whole_projection_filters import conditioned

    from ._engine import Engine
    from ._gridding import SliceAccumulator
    from ._memory import live_groups, scratch_of_blocks
    from ._volume import VolumeEngine

    geometry = layout.geometry(rows.columns, center)
    if layout.conditioned:
        rows, flat_field = conditioned(rows, flat_field, settings, layout.sliced, center, threads)
    if backend._make is not None:
        from ._deferred import DeferredEngine

        projector = backend._make(geometry, settings, len(angles))
        return DeferredEngine(projector, rows, flat_field, angles, settings, pool)
    common = (rows, flat_field, angles, weights)
    if layout.heights is not None:
        return VolumeEngine(*common, geometry, layout.heights, settings, pool, threads)
    plan = SliceAccumulator(geometry, settings)
    scratch = scratch_of_blocks(plan, layout.slices, (len(angles), rows.columns), settings, threads)
    live = live_groups(plan, layout.slices, threads, spare_bytes - scratch)
    return Engine(plan, *common, settings, pool, threads, live)
