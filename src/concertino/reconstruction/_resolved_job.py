"""What settings come to for one scan: the rows that are needed, the slices that are made, and the memory that takes."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from concertino._errors import ReconstructionError

from .backends._backends import Backend, chosen_backend
from .preprocessing._rows import ProjectionRows
from .settings._checks import check_memory, checked_frame_shape, usable_cores
from .settings._layout import Layout, layout_of
from .settings._settings import ReconstructionSettings, positions

LOG = logging.getLogger("concertino.reconstruction")


@dataclass(frozen=True, eq=False)
class ResolvedJob:
    """Settings together with what follows from them for frames of one shape; made by `of`.

    Attributes
    ----------
    settings
        How to reconstruct.
    num_projections, frame_shape
        Number of projections of the scan, and (rows, columns) of a frame.
    live
        Whether slices are begun while frames come.
    backend
        Who computes.
    layout
        Rows that are needed, slices that are made.
    threads
        How many threads compute.
    budget_bytes
        Memory that is allowed.
    """

    settings: ReconstructionSettings
    num_projections: int
    frame_shape: tuple[int, int]
    live: bool
    backend: Backend
    layout: Layout
    threads: int
    budget_bytes: int

    @classmethod
    def of(
        cls,
        settings: ReconstructionSettings,
        num_projections: int,
        frame_shape: tuple[int, int],
        *,
        live: bool,
    ) -> "ResolvedJob":
        """Resolve settings.

        Raises
        ------
        ParameterError
            They do not fit the frames, or the back end that was asked for lacks something.
        ReconstructionError
            The back end is not available.
        """
        backend = chosen_backend(settings)
        LOG.info("backend %s: %s", backend.name, backend.reason)
        shape = checked_frame_shape(frame_shape)
        return cls(
            settings, int(num_projections), shape, live, backend, layout_of(settings, shape),
            settings.threads or usable_cores(), settings.memory_limit_bytes,
        )  # fmt: skip

    def changed_to(self, settings: ReconstructionSettings, layout: Layout) -> "ResolvedJob":
        """Return the job with other settings, computed by the same back end, threads and memory.

        Raises
        ------
        ReconstructionError
            The settings want others of these.
        """
        fixed = {"memory_gib", "threads", "backend"}
        present, wanted = (
            self.settings.model_dump(include=fixed),
            settings.model_dump(include=fixed),
        )
        changed = [name for name in present if wanted[name] != present[name]]
        if changed:
            raise ReconstructionError(
                f"{changed[0]} is {present[changed[0]]!r} since this reconstruction "
                "began, and cannot change while it runs; reconstruct again afterwards."
            )
        chosen_backend(settings)  # it may lack what is asked for now
        return replace(self, settings=settings, layout=layout)

    @property
    def slice_rows(self) -> tuple[float, ...]:
        """Detector row of each slice, as seen in the upright geometry; the values of a sweep."""
        if self.settings.z_parameter is not None and self.settings.region is not None:
            return tuple(positions(self.settings.region))
        if self.layout.heights is None:
            return tuple(float(row) for row in self.layout.kept[self.layout.sliced])
        middle = self.settings.center_row
        middle = (self.frame_shape[0] - 1) / 2 if middle is None else middle
        return tuple(float(middle - height) for height in self.layout.heights)

    @property
    def slice_shape(self) -> tuple[int, int]:
        """(rows, columns) of a slice's image."""
        return (len(positions(self.layout.y)), len(positions(self.layout.x)))

    def first_row(self, kept: Sequence[int]) -> tuple[int]:
        """Return the row whose slice stands for all: the first that was asked for, or the middle one of those kept."""
        chosen = self.settings.slices
        if chosen is not None:
            return (chosen[0],)
        by_region = self.settings.region is not None and self.settings.z_parameter is None
        rows = [int(row) for row in self.slice_rows] if by_region else list(kept)
        return (rows[len(rows) // 2],)

    def held_bytes(self, rows: ProjectionRows) -> int:
        """Return the memory for kept rows, treated ones and the result.

        Raises
        ------
        ReconstructionError
            More than is allowed.
        """
        count, columns = self.num_projections, self.frame_shape[1]
        more = rows.row_count - len(self.layout.kept)
        held = self.layout.bytes(count, columns, rows.itemsize)
        held += rows.itemsize * more * count * columns
        check_memory(held, self.budget_bytes, self.layout.slices, count)
        return held

    def own_bytes(self, settings: ReconstructionSettings) -> int:
        """Memory for treated rows and the result with other settings; raw rows are shared."""
        layout = layout_of(settings, self.frame_shape)
        return layout.bytes(self.num_projections, self.frame_shape[1], 0)

    def peak_bytes(self, settings: ReconstructionSettings, threads: int, held: int) -> int:
        """Memory at the peak with these settings and threads, when so many bytes are held all the time."""
        from .engines._memory import job_bytes

        frames = (self.num_projections, *self.frame_shape)
        return job_bytes(
            self.backend, settings, frames, threads, self.budget_bytes, held, self.live
        )
