"""The memory that a job takes, by the formula in the documentation."""

import numpy as np

from concertino.reconstruction.backends._backends import Backend
from concertino.reconstruction.preprocessing._whole_projection_filters import conditioning_bytes
from concertino.reconstruction.settings._layout import layout_of
from concertino.reconstruction.settings._settings import ReconstructionSettings

from ._deferred import workspace_bytes
from ._gridding import SliceAccumulator, groups_of
from ._volume import scratch_bytes

_SMALL_BYTES = 2**24  # for all that is not worth a term
_GRID_BYTES = 3 * 2**29  # for grids that are filled while projections arrive


def job_bytes(
    backend: Backend,
    settings: ReconstructionSettings,
    frames: tuple[int, int, int],
    threads: int,
    budget: int,
    held: int,
    live: bool,
) -> int:
    """Return the bytes that a job has at its peak, beside those of another back end.

    Parameters
    ----------
    backend
        Who computes.
    settings
        Which slices, and how.
    frames
        Projections, rows and columns.
    threads
        Number of threads.
    budget
        Bytes that may be used.
    held
        Bytes of kept rows, treated ones and the result.
    live
        Whether slices have grids of their own.
    """
    projections, height, columns = frames
    layout = layout_of(settings, (height, columns))
    center = (columns - 1) / 2 if settings.center is None else settings.center
    geometry = layout.geometry(columns, center)
    if backend._make is not None:
        projector = backend._make(geometry, settings, projections)
        return held + _SMALL_BYTES + workspace_bytes(projector, layout.slices)
    if settings.general:
        scratch = scratch_bytes(layout.slices, geometry, height, settings)
        return held + _SMALL_BYTES + scratch
    plan = SliceAccumulator(geometry, settings)
    scratch = scratch_of_blocks(plan, layout.slices, (projections, columns), settings, threads)
    spare = budget - held if live else 0
    own = live_groups(plan, layout.slices, threads, spare - scratch)
    grids = _grids(plan, layout.slices)
    turns = sorted(grids[own:], reverse=True)[: _taking_turns(len(grids), threads)]
    treated = conditioning_bytes((height, columns), settings) if layout.conditioned else 0
    # projections are treated before there are grids
    return held + _SMALL_BYTES + max(treated, sum(grids[:own]) + sum(turns) + scratch)


def scratch_of_blocks(
    plan: SliceAccumulator,
    slices: int,
    frames: tuple[int, int],
    settings: ReconstructionSettings,
    threads: int,
) -> int:
    """Return the bytes of the blocks of padded rows that threads have in work.

    Parameters
    ----------
    plan
        How slices are computed.
    slices
        Their number.
    frames
        Projections and columns.
    settings
        Block size.
    threads
        Number of threads.
    """
    lanes = plan.lanes(slices)
    block = min(settings.projections_per_block, frames[0])
    return block * lanes * (plan.width * 8 + frames[1] * 4) * min(threads, -(-slices // lanes))


def live_groups(plan: SliceAccumulator, slices: int, threads: int, spare: int) -> int:
    """Return how many groups of slices have a grid of their own while projections arrive.

    The others take turns on a grid for each thread, which also has to find room.

    Parameters
    ----------
    plan
        How slices are computed.
    slices
        Their number.
    threads
        Number of threads.
    spare
        Bytes for grids.
    """
    grids = _grids(plan, slices)
    filled = np.cumsum(grids)
    if filled[-1] <= min(spare, _GRID_BYTES):
        return len(grids)
    left = spare - grids[0] * _taking_turns(len(grids), threads)
    return int(np.searchsorted(filled, min(left, _GRID_BYTES), side="right"))


def _grids(plan: SliceAccumulator, slices: int) -> list[int]:
    """Bytes of the grid of each group of slices, the largest first."""
    return [plan.bytes_of(group.stop - group.start) for group in groups_of(slices)]


def _taking_turns(groups: int, threads: int) -> int:
    return threads if groups >= threads else 1
