"""What slices are made of: the rows that they need, their flat field, and the rotation axis."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from concertino._errors import ReconstructionError

from ._axis_keeper import AxisKeeper
from ._checks import checked_frame_shape, tell_other_units
from ._correct import FlatField
from ._flatfield import FlatFrames
from ._layout import layout_of
from ._result import AxisEstimate
from ._rows import ChosenRows, ProjectionRows, stored_rows
from ._scan_angles import ScanAngles
from ._scan_input import ScanInput
from ._settings import ReconstructionSettings
from ._short_scan import check_arc, tell_wedge


class AxisFinding(ScanInput):
    """The part of `Reconstructor` that says whether slices can be made, and about which axis.

    Parameters
    ----------
    settings, num_projections, frame_shape, angles, keep_rows
        As for `Reconstructor`.
    """

    def __init__(
        self,
        settings: ReconstructionSettings,
        *,
        num_projections: int,
        frame_shape: tuple[int, int],
        angles: ArrayLike | None = None,
        keep_rows: Sequence[int] | Literal["needed", "planes", "all"] = "needed",
    ) -> None:
        self.settings = settings
        shape, number = checked_frame_shape(frame_shape), int(num_projections)
        self._layout = layout_of(settings, shape)
        kept = stored_rows(self._layout.kept, keep_rows, shape)
        super().__init__(
            shape,
            ScanAngles(angles, number, settings.overall_angle, settings.angular_period),
            ProjectionRows(number, kept, shape[1]),
            FlatFrames(kept, settings),
        )
        check_arc(settings, self._scan_angles.scan, shape[1])
        self._tell_odd_angles()
        self._axis = AxisKeeper()

    def _tell_odd_angles(self) -> None:
        """Say what is odd about the planned angles, though it can be reconstructed."""
        tell_other_units(self._scan_angles.scan)
        tell_wedge(self.settings, self._scan_angles.scan)

    def axis(self) -> AxisEstimate:
        """Return the rotation axis: as given, or as found from the projections that are there."""
        if self.settings.center is not None:
            return AxisEstimate(self.settings.center, 1.0, "given")
        with self._lock:
            self._check_ready(2)
            return self._axis.exact(self._found_axis, self._axis_key)

    def glimpsed_axis(self) -> AxisEstimate:
        """Return the axis as it was found lately: good enough for a look, and cheap."""
        if self.settings.center is not None:
            return self.axis()
        with self._lock:
            self._check_ready(2)
            received = int(self._rows.present.sum())
            return self._axis.lately(
                self._found_axis, self._axis_key, received, self.num_projections
            )

    def tilted_axis(self) -> AxisEstimate:
        """Find the rotation axis and its roll about the beam, from many of the kept rows."""
        with self._lock:
            self._check_ready(2)
            return self._found_axis(tilt=True)

    @property
    def _axis_key(self) -> tuple[object, ...]:
        received = int(self._rows.present.sum())
        return (received, self._scan_angles.times_told, *self._flats.key)

    def _found_axis(self, *, tilt: bool = False) -> AxisEstimate:
        from ._sinogram import axis_of_rows

        with self._timed("finding the axis"):
            return axis_of_rows(
                self._needed_rows(), self._field(), self._layout.kept, self.angles,
                self.frame_shape[0], self.settings, tilt=tilt,
            )  # fmt: skip

    def _check_ready(self, at_least: int) -> None:
        """Take note of all that has come; refuse to go on when it is not enough."""
        self._settle()
        received = int(self._rows.present.sum())
        if received < at_least:
            raise ReconstructionError(
                f"{received} of {self.num_projections} projections have come, "
                f"at least {at_least} are needed"
            )
        if self._flats.flats == 0 and (why := self._flats_needed()):
            raise ReconstructionError(
                f"no flats were given but {why} and attenuation is wanted; add flats, "
                "or set absorptivity=False to reconstruct the values as they are"
            )

    def _flats_needed(self) -> str | None:
        """Why there must be flats, or None."""
        counts = self._rows.data is not None and self._rows.counts
        if self.settings.absorptivity is False or not counts:
            return None
        return f"the projections are counts ({self._rows.frame_dtype})"

    def _needed_places(self) -> NDArray[np.int64]:
        """Places among the kept rows of those that the settings need."""
        kept = {row: place for place, row in enumerate(self.rows)}
        return np.array([kept[int(row)] for row in self._layout.kept])

    def _needed_rows(self) -> ChosenRows:
        return ChosenRows(self._rows, self._needed_places())

    @property
    def _stored_shape(self) -> tuple[int, int]:
        return (self._rows.row_count, self.frame_shape[1])

    def _field(self) -> FlatField:
        whole, places = self._flats.field(self.settings, self._stored_shape), self._needed_places()
        alike = np.array_equal(places, np.arange(self._rows.row_count))
        return whole if alike else whole.rows(places)
