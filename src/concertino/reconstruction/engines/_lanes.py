"""Slices of one row with several rotation axes or cut-offs, side by side in the lanes of a grid.

An axis turns the phase of each frequency, a cut-off shrinks it, both alike in all projections. So the
row's spectra are computed once for a grid, and each lane gets them times a factor of its own.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from concertino.reconstruction.backends._backends import chosen_backend
from concertino.reconstruction.kernels._aligned import aligned_zeros
from concertino.reconstruction.preprocessing._blocks import Corrections
from concertino.reconstruction.preprocessing._correct import FlatFieldCorrection, fill_padded
from concertino.reconstruction.preprocessing._rows import Rows
from concertino.reconstruction.settings._layout import Layout
from concertino.reconstruction.settings._settings import ReconstructionSettings
from concertino.reconstruction.settings._slice_geometry import SliceGeometry

from ._gridding import SliceAccumulator

_IN_FACTORS = frozenset({"center", "cutoff"})

Images = list[tuple[int, NDArray[np.float32]]]  # with their places


def fit_in_lanes(
    changes: Sequence[Mapping[str, Any]], changed: Sequence[ReconstructionSettings]
) -> bool:
    """Return whether changes of settings differ only in what a factor of each frequency does.

    And whether slices with the changed settings are made on a grid, of rows that are the same for all axes.
    """
    if len(changes) < 2:
        return False
    if changed[0].general or changed[0].half_acquisition or chosen_backend(changed[0])._make:
        return False
    others = [
        {name: value for name, value in change.items() if name not in _IN_FACTORS}
        for change in changes
    ]
    same = all(change.keys() == changes[0].keys() for change in changes)
    return same and all(other == others[0] for other in others)


class LaneSlices:
    """Makes a slice of one row with each of several settings, in order.

    Parameters
    ----------
    rows
        One row of all projections.
    flat_field
        What turns it into attenuation.
    angles
        float64, (projection,), radians.
    parts, scale
        Frame indices with what they count for, block by block, and the factor of all; see `corrections`.
    layout
        Which has the positions of the images' columns and rows.
    pool, threads
        Where to compute.
    spare_bytes
        Memory for grids and what is in work. A grid of two lanes is made in any case.
    """

    def __init__(
        self,
        rows: Rows,
        flat_field: FlatFieldCorrection,
        angles: NDArray[np.float64],
        parts: Corrections,
        scale: float,
        layout: Layout,
        pool: ThreadPoolExecutor,
        threads: int,
        spare_bytes: int,
    ) -> None:
        self._rows, self._flat_field, self._angles = rows, flat_field, angles
        self._parts, self._scale = parts, scale
        # But for the axis, which each setting tells.
        self._where = layout.geometry(rows.columns, 0.0)
        self._pool, self._threads, self._spare = pool, threads, spare_bytes
        self._plans: dict[int, SliceAccumulator] = {}
        self._most = 8
        self._memory: list[NDArray[np.float32]] = []  # of grids that are not in use

    def slices(
        self,
        settings: Sequence[ReconstructionSettings],
        into: NDArray[np.float32] | None = None,
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield place and slice, float32, (y, x), of each of some settings, which tell the axis, in any order.

        Only as many are computed ahead of who takes them as there is memory for. They are written to `into`, float32,
        (place, y, x), if it is given.
        """
        groups, at_once = self._groups(settings)

        def made(group: Sequence[int], pool: ThreadPoolExecutor | None) -> Images:
            if into is None:
                images = [
                    np.empty((self._where.y.count, self._where.x.count), np.float32) for _ in group
                ]
            else:
                images = [into[place] for place in group]
            self._fill(images, [settings[place] for place in group], pool)
            return list(zip(group, images, strict=True))

        if at_once == 1 or len(groups) < self._threads:
            for group in groups:  # too few for all threads: they share each
                yield from made(group, self._pool if self._threads > 1 else None)
            return
        ahead: deque[Future[Images]] = deque()
        for group in groups:
            ahead.append(self._pool.submit(made, group, None))
            if len(ahead) == at_once:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()

    def _groups(self, settings: Sequence[ReconstructionSettings]) -> tuple[list[list[int]], int]:
        """Return the places of those whose filters are equally long, for a grid each; and grids at once."""
        for one in settings:
            if (width := self._width(one)) not in self._plans:
                self._plans[width] = SliceAccumulator(self._geometry(one), one)
        longest = self._plans[max(self._plans)]
        self._most = longest.lanes(len(settings))
        while self._most > 2 and self._bytes(longest, settings[0]) > self._spare:
            self._most //= 2
        groups, widths = [], [self._width(one) for one in settings]
        for width in dict.fromkeys(widths):
            alike = [place for place, its in enumerate(widths) if its == width]
            edges = range(0, len(alike), self._most)
            groups += [alike[first : first + self._most] for first in edges]
        fitting = self._spare // self._bytes(longest, settings[0])
        return groups, max(1, min(self._threads, fitting))

    def _width(self, settings: ReconstructionSettings) -> int:
        return self._geometry(settings).filter_width

    def _geometry(self, settings: ReconstructionSettings) -> SliceGeometry:
        assert settings.center is not None
        return replace(self._where, center=settings.center)

    def _bytes(self, plan: SliceAccumulator, settings: ReconstructionSettings) -> int:
        """Memory of a grid, its slices and the spectra of a block."""
        lanes = self._most
        # a padded row, its spectrum and that of negative frequencies, and the lanes' spectra
        spectra = settings.projections_per_block * (plan.width + 1) * (4 + 4 + 8 + 4 * lanes)
        return plan.bytes_of(lanes) + spectra + lanes * plan.x.count * plan.y.count * 4

    def _fill(
        self,
        images: Sequence[NDArray[np.float32]],
        group: Sequence[ReconstructionSettings],
        pool: ThreadPoolExecutor | None,
    ) -> None:
        """Write the slice of each of some settings that share a grid."""
        plan = self._plans[self._width(group[0])]
        lanes = plan.lanes(len(group))
        cells = plan.grid_shape[0] * plan.grid_shape[1]
        try:
            memory = self._memory.pop()
            memory[: cells * lanes] = 0.0
        except IndexError:
            memory = aligned_zeros((cells * self._most,))
        grid = memory[: cells * lanes].reshape(*plan.grid_shape, lanes)
        factors = _lane_factors(plan, group, lanes)
        ones = np.ones(factors.shape[1], np.float32)
        most = max(len(indices) for indices, _ in self._parts)
        scratch = aligned_zeros((most, len(ones), lanes)).view(np.complex64)
        for indices, weights in self._parts:
            turned = scratch[: len(indices)]
            spectrum = self._spectrum(indices, plan.width, group[0])
            for pair in range(lanes // 2):
                np.multiply(spectrum, factors[pair], out=turned[:, :, pair])
            spectra = turned.view(np.float32)
            plan.spread(grid, spectra, ones, self._angles[indices], weights, pool, self._threads)
        plan.image(grid, images, self._scale, None, pool, self._threads)
        self._memory.append(memory)

    def _spectrum(
        self, indices: NDArray[np.int64], width: int, settings: ReconstructionSettings
    ) -> NDArray[np.complex64]:
        """Spectrum of the row in some projections, (projection, frequency)."""
        padded = np.empty((len(indices), width, 1), np.float32)
        fill_padded(self._rows, indices, slice(0, 1), self._flat_field, settings, padded)
        half = scipy.fft.rfft(padded[:, :, 0], axis=1)
        # the highest frequency stands at both ends: a shift turns them in opposite directions
        return np.concatenate([half, half[:, :0:-1].conj()], axis=1)


def _lane_factors(
    plan: SliceAccumulator, group: Sequence[ReconstructionSettings], lanes: int
) -> NDArray[np.complex64]:
    """Factors of a row's spectrum (pair of lanes, frequency): filters, and shifts from the plan's axis.

    Frequencies are 0 to the highest and from the lowest to -1. A pair of lanes are the real and the
    imaginary part of the slices.
    """
    highest = plan.width // 2
    frequency = np.concatenate([np.arange(highest + 1), np.arange(-highest, 0)])
    factors = np.zeros((lanes, len(frequency)), np.complex128)
    for lane, settings in enumerate(group):
        assert settings.center is not None
        response = plan.response_of(settings)
        turn = 2j * np.pi / plan.width * (settings.center - plan.center)
        factors[lane] = response[frequency % plan.width] * np.exp(turn * frequency)
    return (factors[::2] + 1j * factors[1::2]).astype(np.complex64)
