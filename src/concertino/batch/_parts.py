"""A reconstruction in parts of some slices each: which rows, and with which axis."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from concertino._errors import ReconstructionError
from concertino.processing._scan_frames import ScanFrames
from concertino.processing._slices import slice_rows, without_slices
from concertino.reconstruction import (
    AxisEstimate,
    ReconstructionResult,
    ReconstructionSettings,
    axis_rows,
)
from concertino.runtime._kept_memory import kept_memory
from concertino.storage import open_run

from ._memory import (
    GROUPS,
    bytes_of_part,
    give_back,
    load_what_computes,
    use_memory_again,
    with_memory,
)
from ._shared_slices import SlicesPlace

Progress = Callable[[int, int], Any]
Rows = tuple[float, ...]

_REST_S = 5.0  # for which a worker keeps memory for another part


def parts_of(
    scan: ScanFrames, settings: ReconstructionSettings, room: int, least: int = 1
) -> list[Rows]:
    """Divide the rows into parts, each of which fits into memory.

    Parameters
    ----------
    scan
        What is reconstructed.
    settings
        How.
    room
        Bytes for one part at its peak.
    least
        So many parts or more, if there are as many groups of rows.

    Returns
    -------
    list of tuple of int
        The rows of each part.

    Raises
    ------
    ReconstructionError
        When not even one slice fits.
    """
    rows = slice_rows(settings, scan.frame_shape[0])
    settings = with_memory(settings, room)
    if settings.z_parameter is not None:
        scan.reconstructor(settings)
        return [rows]
    at_once = len(rows) if least <= 1 else min(len(rows), _whole_groups(-(-len(rows) // least)))
    while True:
        try:
            needed = bytes_of_part(
                scan.reconstructor(of_part(settings, rows[:at_once])),
                scan.num_darks,
                scan.num_flats,
            )
        except ReconstructionError:  # not even its rows and slices
            if at_once == 1:
                raise
            needed = 2 * room
        if needed <= room:
            return [rows[at : at + at_once] for at in range(0, len(rows), at_once)]
        if at_once == 1:
            raise ReconstructionError(
                f"One slice of {scan.run.name} needs {needed / 2**30:.3g} GiB, {room / 2**30:.3g} GiB are left "
                "for it; raise memory_gib, or give fewer threads."
            )
        smaller = at_once * max(0.5, min(0.9, room / needed))
        at_once = max(1, _whole_groups(int(smaller), up=False))


def of_part(settings: ReconstructionSettings, rows: Rows) -> ReconstructionSettings:
    """Return the settings of one part."""
    if settings.z_parameter is not None:
        return settings
    if settings.general and settings.slices is None:
        step = 1.0 if settings.region is None else settings.region[2]
        return settings.updated(region=(rows[0], rows[-1] + step / 2, step))
    return settings.updated(slices=tuple(int(row) for row in rows), region=None)


def axis_of(
    scan: ScanFrames, settings: ReconstructionSettings, step: Callable[[int], Any]
) -> AxisEstimate:
    """Find the rotation axis for all parts, from those rows that a reconstruction of all would take."""
    rows = slice_rows(settings, scan.frame_shape[0])
    if settings.general or settings.phase_method != "none":
        chosen = rows[
            :1
        ]  # whatever becomes a slice, all rows are kept, and the axis is found from them
    else:
        whole = tuple(int(row) for row in rows)
        chosen = axis_rows(scan.num_projections, scan.frame_shape[1], whole)
    # A few rows, 2**22 pixels at most: they need not fit with the slices, which are not computed.
    settings = of_part(settings, chosen).updated(memory_gib=None)
    reconstructor = scan.reconstructor(settings)
    scan.feed(reconstructor, step)
    return reconstructor.axis()


def make_ready(dtype: str) -> None:
    """Load what a part of frames of a type needs, in a worker that starts."""
    use_memory_again()
    load_what_computes(dtype)


def reconstruct_part(
    directory: str,
    settings: str,
    camera: str,
    tomogram: int | None,
    share: tuple[int, int],
    place: SlicesPlace | None,
    step: Callable[[int], Any],
) -> tuple[ReconstructionResult, bool]:
    """Do one part of a run, in whichever process; see `Cluster.in_order`.

    Returns
    -------
    ReconstructionResult
        With its slices, or without.
    bool
        Whether the slices are at the place that was offered instead.
    """
    use_memory_again()
    scan = ScanFrames(open_run(Path(directory)), camera, tomogram=tomogram)
    with kept_memory(_REST_S):  # for this worker's next part
        result = made_of(scan, ReconstructionSettings.model_validate_json(settings), share, step)
        if place is None or not place.put(result.volume):
            return result, False
        result = without_slices(result)
    give_back()
    return result, True


def made_of(
    scan: ScanFrames,
    settings: ReconstructionSettings,
    share: tuple[int, int],
    step: Callable[[int], Any],
) -> ReconstructionResult:
    """Reconstruct with settings; nothing but the result is left when it returns.

    Which share of the projections is read whole, see `ScanFrames.feeding`.

    A frame counts half when it is read; the other halves follow as the slices are computed, which takes longer than
    reading when they are large.
    """
    give_back()
    reconstructor = scan.reconstructor(settings)
    frames, read, told = scan.num_frames, 0, 0

    def tell(computed: float) -> None:
        nonlocal told
        done = int(read + computed * frames) // 2
        step(done - told)
        told = done

    for count in scan.feeding(reconstructor, share):
        read += count
        tell(0.0)
    return reconstructor.finish(tell)


def counter(progress: Progress | None, total: int) -> Callable[[int], None]:
    """Return a function that counts frames and reports their sum."""
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    return step


def _whole_groups(count: int, *, up: bool = True) -> int:
    """Round a number of slices to whole groups, as large ones as it allows: their bits are those of the whole."""
    size = next((size for size in GROUPS if size <= count), 1)
    return (-(-count // size) if up else count // size) * size
