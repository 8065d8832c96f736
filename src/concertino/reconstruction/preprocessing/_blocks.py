"""Blocks of projections: which may be spread, and what is left to add to those that were.

Frames are regrouped by their index into blocks of a fixed size, and blocks are spread in order, so that
the bits of the result do not depend on how the frames came.
"""

import numpy as np
from numpy.typing import NDArray

PATIENCE = 2  # so many complete blocks later, an incomplete one is left for the end

Corrections = list[tuple[NDArray[np.int64], NDArray[np.float64]]]


def complete_blocks(present: NDArray[np.bool_], known: NDArray[np.bool_], size: int) -> list[int]:
    """Return the blocks whose projections are all there, with final angles."""
    edges = np.arange(0, len(present), size)
    counts = np.add.reduceat(present.astype(np.int64), edges)
    sizes = np.minimum(size, len(present) - edges)
    final = np.logical_and.reduceat(known, edges)
    return [int(block) for block in np.flatnonzero((counts == sizes) & final)]


def goes_on(done: list[int], ready: list[int]) -> bool:
    """Whether what was spread is the beginning of what is ready; if not, a block was completed late."""
    return done == ready[: len(done)]


def next_blocks(done: list[int], ready: list[int], *, final: bool) -> list[int]:
    """Return the blocks to spread now, in order.

    Parameters
    ----------
    done, ready
        Blocks that were spread, and that can be.
    final
        Do not wait for those that are incomplete.
    """
    chosen: list[int] = []
    expected = done[-1] + 1 if done else 0
    for position, block in enumerate(ready[len(done) :], start=len(done) + 1):
        if not final and block != expected and len(ready) - position < PATIENCE - 1:
            break
        chosen.append(block)
        expected = block + 1
    return chosen


def corrections(
    present: NDArray[np.int64],
    spread: list[int],
    size: int,
    weights: NDArray[np.float64],
    true: NDArray[np.float64],
) -> tuple[float, Corrections]:
    """Return the scale of what was spread, and what to add to it before scaling.

    Parameters
    ----------
    present
        Indices of the projections that are there.
    spread
        Blocks that were spread with `weights`.
    size
        Projections of a block.
    weights
        What each projection of the scan counted for when it was spread, radians.
    true
        What each of those present should count for.

    Returns
    -------
    scale : float
        Factor of the sum.
    rest : list
        For each block that lacks something: indices, and what more they count for.
    """
    ratio = true / np.maximum(weights[present], 1e-30)
    scale = float(np.median(ratio))
    extra = true / scale
    done = np.isin(present // size, spread)
    extra[done] -= weights[present[done]]
    rest = []
    for block in np.unique(present // size):
        changed = (present // size == block) & (np.abs(extra) > 1e-7 * np.median(true))
        if changed.any():
            rest.append((present[changed], extra[changed]))
    return scale, rest
