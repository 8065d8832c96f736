"""Raw rows to attenuation: the flat field of a scan, applied block by block."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from concertino.reconstruction.settings._settings import ReconstructionSettings

from ._rows import Rows

_PADDING = {"zero": 0, "edge": 1, "mirror": 2}


@dataclass(frozen=True)
class FlatFieldCorrection:
    """What turns counts into attenuation.

    Attributes
    ----------
    offset, gain
        float32, (row, column).
    gain_after
        float32, (row, column), or None: gain at the end of the scan, when it is interpolated.
    logarithm
        Whether -log is taken.
    """

    offset: NDArray[np.float32]
    gain: NDArray[np.float32]
    gain_after: NDArray[np.float32] | None
    logarithm: bool

    def rows(self, places: NDArray[np.int64]) -> "FlatFieldCorrection":
        """The same for some of its rows."""
        after = None if self.gain_after is None else self.gain_after[places]
        return FlatFieldCorrection(self.offset[places], self.gain[places], after, self.logarithm)

    def gains(self, indices: NDArray[np.int64], count: int, rows: slice) -> NDArray[np.float32]:
        """Gain of projections, float32, (projection or 1, row, column)."""
        before = np.ascontiguousarray(self.gain[None, rows])
        if self.gain_after is None:
            return before
        share = (indices / max(1, count - 1)).astype(np.float32)[:, None, None]
        after = self.gain_after[None, rows]
        # the light is what drifts, so the reciprocals are interpolated
        return np.ascontiguousarray(1.0 / ((1.0 - share) / before + share / after))


def fill_padded(
    rows: Rows,
    indices: NDArray[np.int64],
    chosen: slice,
    flat_field: FlatFieldCorrection,
    settings: ReconstructionSettings,
    padded: NDArray[np.float32],
) -> None:
    """Write attenuation of some rows of some projections into (projection, width, lane)."""
    from concertino.reconstruction.kernels._normalize import normalize_and_pad

    normalize_and_pad(
        np.require(rows.part(indices, chosen), requirements=["C", "W"]),
        np.ascontiguousarray(flat_field.offset[None, chosen]),
        flat_field.gains(indices, len(rows.present), chosen),
        flat_field.logarithm,
        np.float32(settings.minimum_transmission),
        np.float32(settings.zinger_threshold or 0.0),
        settings.fix_nonfinite,
        _PADDING[settings.padding],
        padded,
    )
