"""Frames in, in any batches; slices out, at any time, and again with other settings."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._early_start import EarlyStart
from ._frame_store import FrameStore
from ._parameter_search import ParameterSearch
from ._resolved_job import ResolvedJob
from ._results import finished, halves_of, volume_of
from ._slice_maker import SliceMaker
from .analysis._resolution import Resolution, fourier_correlation
from .analysis._result import AxisEstimate, OrthogonalPlanes, ReconstructionResult, value_unit
from .preprocessing._rows import places_among
from .preprocessing._short_scan import tell_wedge
from .settings._checks import tell_other_units
from .settings._settings import ReconstructionSettings


class Reconstructor:
    """Reconstructs slices while darks, flats and projections arrive.

    Frames are copied as far as they are needed; the caller may reuse its buffers. Projections are
    regrouped by frame index, so that any batching of the calls gives the same bits. All methods may
    be called from any thread. Adding projections never waits for slices that are being computed.
    Sweeps and searches of settings are in its `search`, a `ParameterSearch`.

    Parameters
    ----------
    settings
        How to reconstruct.
    num_projections
        Number of projections of the scan.
    frame_shape
        (rows, columns) of a frame.
    angles
        float, (projection,), radians; None: half a turn in equal steps, end excluded.
        What a projection counts for follows them, until `set_angles` has told all and some weight
        differs by more than a tenth.
    keep_rows
        Detector rows to keep of each frame beside those that the settings need, for planes, `update`
        and `with_settings`: numbers, ``"all"``, or ``"planes"`` for those that `planes` shows.
    live
        False for frames that are all there already: slices are begun when they are asked for, one group after
        the other, which takes less memory and time than to have grids of all of them meanwhile.

    Raises
    ------
    ParameterError
        The settings do not fit the frames, the angles are not usable, or the back end that was asked
        for lacks something.
    ReconstructionError
        The job needs more memory than is allowed, or the back end is not available.

    Examples
    --------
    >>> import numpy as np
    >>> reconstructor = Reconstructor(
    ...     ReconstructionSettings(center=31.5), num_projections=8, frame_shape=(1, 64)
    ... )
    >>> reconstructor.add_projections(np.ones((8, 1, 64), np.float32), 0)
    >>> reconstructor.finish().volume.shape
    (1, 64, 64)
    """

    def __init__(
        self,
        settings: ReconstructionSettings,
        *,
        num_projections: int,
        frame_shape: tuple[int, int],
        angles: ArrayLike | None = None,
        keep_rows: Sequence[int] | Literal["needed", "planes", "all"] = "needed",
        live: bool = True,
    ) -> None:
        job = ResolvedJob.of(settings, num_projections, frame_shape, live=live)
        store = FrameStore.of(job, angles, keep_rows)
        maker = SliceMaker(job, store, planes_wanted=keep_rows in ("planes", "all"))
        # What is odd about the planned angles, though it can be reconstructed.
        tell_other_units(store.angles.scan)
        tell_wedge(settings, store.angles.scan)
        self._assemble(maker)

    @classmethod
    def _of(cls, maker: SliceMaker) -> "Reconstructor":
        made = cls.__new__(cls)
        made._assemble(maker)
        return made

    def _assemble(self, maker: SliceMaker) -> None:
        job = maker.job
        self.backend = job.backend
        self.num_projections, self.frame_shape = job.num_projections, job.frame_shape
        self.timings: dict[str, float] = maker.store.timings
        self._maker, self._store = maker, maker.store
        self._lock = threading.RLock()  # of whoever computes, or adds darks or flats
        self.search = ParameterSearch(maker, self._lock)
        self._early_start = EarlyStart(maker, self._lock)

    @property
    def settings(self) -> ReconstructionSettings:
        """How to reconstruct, as told by now."""
        return self._maker.job.settings

    @property
    def angles(self) -> NDArray[np.float64]:
        """Angle of each projection, as known now, in radians, with the `overall_angle`."""
        return self._store.angles.turned

    @property
    def rows(self) -> tuple[int, ...]:
        """The detector rows that are kept."""
        return self._store.kept

    @property
    def received(self) -> int:
        """Number of projections that have come."""
        return self._store.received

    @property
    def missing(self) -> tuple[int, ...]:
        """Frame indices of projections that have not come."""
        return self._store.missing

    @property
    def slice_rows(self) -> tuple[float, ...]:
        """Detector row of each slice, as seen in the upright geometry; the values of a sweep."""
        return self._maker.job.slice_rows

    @property
    def slice_shape(self) -> tuple[int, int]:
        """(rows, columns) of a slice's image."""
        return self._maker.job.slice_shape

    @property
    def memory_bytes(self) -> int:
        """Memory that the job has at its peak, in bytes, beside the darks and flats."""
        job = self._maker.job
        return job.peak_bytes(job.settings, job.threads, job.held_bytes(self._store.rows))

    @property
    def value_unit(self) -> str:
        """Unit of the slices, as far as flats have come; see `ReconstructionResult`."""
        job = self._maker.job
        return value_unit(job.settings, self._store.field(job.settings, job.layout).logarithm)

    def add_darks(self, frames: NDArray[np.generic]) -> None:
        """Add dark frames (frame, row, column), in any number of calls."""
        with self._lock:
            self._store.add_darks(frames)

    def add_flats(self, frames: NDArray[np.generic]) -> None:
        """Add flat frames (frame, row, column); flats after the first projections count as after."""
        with self._lock:
            self._store.add_flats(frames)

    def forget_darks(self) -> None:
        """Leave out the darks that have come: they are taken again."""
        with self._lock:
            self._store.flats.forget_darks()

    def forget_flats(self) -> None:
        """Leave out the flats that have come: they are taken again."""
        with self._lock:
            self._store.flats.forget_flats()

    def add_projections(
        self,
        frames: NDArray[np.generic],
        start: int,
        *,
        replace: bool = False,
        first_row: int | None = None,
    ) -> None:
        """Add projections (frame, row, column), the first of which has the frame index `start`.

        Parameters
        ----------
        frames
            (frame, row, column).
        start
            Index of the first.
        replace
            A projection that was given before is replaced, with the same bits as if only the later
            one had come.
        first_row
            The frames are cut to consecutive rows, this one and those after it, all that are kept among them.

        Raises
        ------
        ReconstructionError
            Shape, dtype or indices do not fit the scan, or a projection was given before and
            `replace` was not.
        """
        job = self._maker.job
        self._store.add_projections(frames, start, job, replace=replace, first_row=first_row)
        self._early_start.begin()

    def set_angles(self, angles: ArrayLike, known: ArrayLike) -> None:
        """Tell other angles than the planned ones, such as measured ones as far as they are known.

        May be called at any time. A projection whose angle is not known yet is used in previews
        only, until it is or `finish` is called. What each counts for follows the planned angles until all
        are known, and then these if some weight differs by more than a tenth.

        Parameters
        ----------
        angles
            float, (projection,), radians, of the whole scan.
        known
            bool, (projection,): which of them are final; the others will change.

        Raises
        ------
        ParameterError
            The arrays do not fit the scan.
        """
        self._store.angles.tell(angles, known)
        self._early_start.begin()

    def expect(self, dtype: np.dtype[np.generic]) -> None:
        """Know the type of the frames that are going to come; they may be wider than counts.

        Raises
        ------
        ReconstructionError
            Their rows take more memory than is allowed.
        """
        self._store.expect(dtype, self._maker.job)

    def _adopt(self, frames: NDArray[np.generic]) -> None:
        """Add all projections at once, which nobody changes while this object lives."""
        self._store.adopt(frames, self._maker.job)
        self._early_start.begin()

    def compute_beside(self) -> None:
        """From now on, compute in a thread of its own what can be while frames come.

        Adding projections then takes no longer than copying their rows: who adds them is not held up by what is made
        of them. What fails there is raised where projections or angles are given next.
        """
        self._early_start.in_background()

    def compute_no_more(self) -> None:
        """Begin nothing beside any more with what came until now; what is under way ends with its block."""
        self._early_start.end()

    def axis(self) -> AxisEstimate:
        """Return the rotation axis: as given, or as found from the projections that are there."""
        with self._lock:
            return self._maker.axis()

    def estimate_axis_quickly(self) -> AxisEstimate:
        """Return the axis as it was found lately: good enough for a look, and cheap."""
        with self._lock:
            return self._maker.estimate_axis_quickly()

    def tilted_axis(self) -> AxisEstimate:
        """Find the rotation axis and its roll about the beam, from many of the kept rows."""
        with self._lock:
            return self._maker.tilted_axis()

    def update(self, **changes: Any) -> ReconstructionSettings:
        """Change settings while projections arrive; slices and the result are made with them.

        Parameters
        ----------
        changes
            As for `ReconstructionSettings.updated`.

        Returns
        -------
        ReconstructionSettings
            All settings from now on.

        Raises
        ------
        ParameterError
            A setting is unknown, its value cannot work, or it does not fit the frames.
        ReconstructionError
            It cannot change any more: rows are needed that are not kept, darks and flats were
            combined already, or there is not enough memory. Nothing has changed then.
        """
        with self._lock:
            settings = self.settings.updated(**changes)
            self._maker.change(settings)
            return settings

    def with_settings(self, settings: ReconstructionSettings) -> "Reconstructor":
        """Return another reconstructor that has the rows of this one that the settings need, to be finished.

        Raises
        ------
        ReconstructionError
            The settings need rows that were not kept, or combine darks or flats in another way.
        """
        with self._lock:
            return Reconstructor._of(self._maker.with_settings(settings))

    def slices(self, rows: Sequence[float] | None = None) -> NDArray[np.float32]:
        """Reconstruct what is there now, float32, (slice, y, x), on the scale of the whole.

        An axis that is searched for is looked for again when there is a quarter more to look at.

        Parameters
        ----------
        rows
            Only these, of `slice_rows`: quicker, as they are kept up to date from then on.

        Raises
        ------
        ParameterError
            A row is no slice.
        ReconstructionError
            There are no projections yet, or flats are needed and missing.
        """
        with self._lock:
            self._maker.check_ready(1)
            only = None if rows is None else places_among(self.slice_rows, rows)
            center = self._maker.estimate_axis_quickly().center_px
            return volume_of(self._maker, center, last=False, only=only)

    def plane_shapes(self, pixels: int = 512) -> dict[str, tuple[int, int]]:
        """Shapes of the images that `planes` returns: of ``xy``, ``xz`` and ``yz``.

        Raises
        ------
        ParameterError
            As `planes`.
        """
        return self._maker.plane_shapes(pixels)

    def planes(
        self, x: float = 0.0, y: float = 0.0, row: int | None = None, *, pixels: int = 512
    ) -> OrthogonalPlanes:
        """Return three orthogonal planes of what is there now, coarse enough to be quick.

        The first call computes them from all kept rows; from then on they are kept up to date with
        each block of projections, as long as the same planes are asked for. Phase retrieval and
        stripe removal are left out.

        Parameters
        ----------
        x, y
            Where the vertical planes are, in px from the rotation axis.
        row
            Detector row of the horizontal plane; None: the middle one of those kept.
        pixels
            Most pixels across, of a frame; columns are averaged and rows left out until they fit.
            Planes of half acquisition have up to twice as many.

        Raises
        ------
        ParameterError
            The geometry is general: ask for oblique planes by `volume_angle_x` there. Or the row is
            not kept.
        ReconstructionError
            Fewer than two projections came, or flats are needed and missing.
        """
        with self._lock:
            return self._maker.planes(x, y, row, pixels)

    def finish(self, progress: Callable[[float], Any] | None = None) -> ReconstructionResult:
        """Reconstruct with all that has come; what is missing is said, not waited for.

        Parameters
        ----------
        progress
            Called in this thread with the share of the slices that is computed, from 0 to 1, ten times a second
            at most, and with 1 in the end.

        Raises
        ------
        ReconstructionError
            Fewer than two projections came, or flats are needed and missing.
        """
        self.compute_no_more()
        with self._lock:
            return finished(self._maker, progress)

    def resolution(self, *, one_slice: bool = False) -> Resolution:
        """Compare the slices of the odd and of the even projections.

        Parameters
        ----------
        one_slice
            Only the middle one of the slices: as expensive as one slice.

        Returns
        -------
        Resolution
            Fourier ring correlation of one slice, shell correlation of 8 slices or more.
        """
        with self._lock:
            halves = halves_of(self._maker, one_slice=one_slice)
        return fourier_correlation(*halves)
