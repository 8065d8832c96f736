"""The memory that a job takes, by the formula in the documentation."""

from ._back_projector import BackProjector
from ._collecting import workspace_bytes
from ._gridding import Lattice
from ._layout import Layout
from ._plan import Plan
from ._settings import ReconstructionSettings
from ._volume import scratch_bytes

_SMALL_BYTES = 2**24  # for all that is not worth a term
GRID_BYTES = 3 * 2**29  # for grids that are filled while projections arrive


def collecting_bytes(
    layout: Layout,
    projector: BackProjector,
    region: tuple[Lattice, Lattice],
    frames: tuple[int, int],
) -> int:
    """Return the bytes that a job has at its peak when another back end computes, beside that one's.

    Parameters
    ----------
    layout, region
        As for `expected_bytes`.
    projector
        Who computes.
    frames
        Projections and columns.
    """
    shape = (layout.slices, region[1].count, region[0].count)
    return layout.bytes(*frames) + _SMALL_BYTES + workspace_bytes(projector, shape)


def expected_bytes(
    layout: Layout,
    plan: Plan | None,
    region: tuple[Lattice, Lattice],
    frames: tuple[int, int, int],
    settings: ReconstructionSettings,
    threads: int,
    budget: int,
    held: int,
) -> int:
    """Return the bytes that a job has at its peak.

    Parameters
    ----------
    layout
        Rows and slices.
    plan
        How slices are computed; None: in a general geometry.
    region
        Image positions along x and y.
    frames
        Projections, rows and columns.
    settings
        Block size and geometry.
    threads
        Number of threads.
    budget
        Bytes that may be used.
    held
        Bytes of kept rows, treated ones and the result.
    """
    projections, height, columns = frames
    if plan is None:
        return (
            held + _SMALL_BYTES + scratch_bytes(layout.slices, region, (height, columns), settings)
        )
    lanes = plan.lanes(layout.slices)
    groups = -(-layout.slices // lanes)
    grid = plan.grid_bytes(lanes)
    live = min(groups, max(0, min(budget - held, GRID_BYTES)) // grid)
    # groups without a grid of their own take turns on one for each thread
    taking_turns = 0 if live == groups else (threads if groups >= threads else 1)
    block = min(settings.projections_per_block, projections)
    scratch = block * lanes * (plan.width * 8 + columns * 4)
    return held + _SMALL_BYTES + grid * (live + taking_turns) + scratch * min(threads, groups)
