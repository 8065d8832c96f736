"""Preflight: what a plan will do and need, and whether that can work, before anything moves."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bluesky.utils import MsgGenerator

from concertino.documents import TomoBlock
from concertino.plans.core._device_queries import rehearsing, without_run_engine
from concertino.reconstruction import ReconstructionSettings, Reconstructor
from concertino.storage import WriteRate, find_runs, free_space, measured_write_rate, size_text

from ._overheads import LEARNT, monotonic_spans, noting
from ._preflight_value import AxisFigures, Preflight, StreamFigures
from ._rehearsal import Rehearsal
from ._rehearsed_frames import Taken

LOG = logging.getLogger(__name__)

#: Blur above this is warned about, in px.
USUAL_BLUR_PX = 1.0
_LOOKED_AT = 20
_MEMORY = Path("/proc/meminfo")


def preflight(
    plan: MsgGenerator[Any],
    *,
    directory: str | Path | None = None,
    reconstruction: ReconstructionSettings | None = None,
    max_blur_px: float | None = None,
) -> Preflight:
    """Return what a plan will do and need, without moving anything.

    The plan's messages are gone through with a clock instead of the devices: moves take the time that
    follows from velocity and acceleration, frames that of the camera's rate or exposure. Devices are
    asked for their settings, and nothing else. Any plan will do, also one of bluesky or of your own;
    where one wants to know what only the run can tell, the figures end and say so.

    Parameters
    ----------
    plan : generator of messages
        The plan, as it would be given to the RunEngine; it is used up.
    directory : str or Path, optional
        The data directory: its space, and its speed, which is measured with a short write the first
        time and then kept in it.
    reconstruction : ReconstructionSettings, optional
        What will be reconstructed while the plan runs.
    max_blur_px : float, optional
        Refuse more motion blur than this, in px; more than 1 px is warned about.

    Returns
    -------
    Preflight
        The figures; `Preflight.check` raises what makes the plan impossible.

    Raises
    ------
    ParameterError, DeviceError
        What the plan itself refuses.
    StorageError
        If the directory cannot be written to.

    Examples
    --------
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import preflight, radiography
    >>> b = SimulatedBeamline(shape=(16, 16), frame_rate=100, exposure=0.004)
    >>> figures = preflight(radiography(
    ...     b.camera, b.beam, b.sample_stage, radio_position="0 mm", flat_position="10 mm",
    ...     num_darks=100, num_flats=100, num_projections=300))
    >>> round(figures.streams[2].duration_s, 3), figures.streams[2].dead_s, figures.disk_bytes
    (3.0, 0.006, 256000)
    """
    return without_run_engine(rehearsed(plan, directory, reconstruction, max_blur_px))  # type: ignore[no-any-return]


def rehearsed(
    plan: MsgGenerator[Any],
    directory: str | Path | None = None,
    reconstruction: ReconstructionSettings | None = None,
    max_blur_px: float | None = None,
) -> MsgGenerator[Preflight]:
    """Return the same as `preflight`, from within a plan: only questions to devices are yielded."""
    if directory is not None:
        _learn_from_documents(Path(directory))
    rehearsal = Rehearsal(LEARNT.get())
    rehearsal.limit_blur(max_blur_px)
    yield from rehearsal.go_through(plan)
    return _figures(rehearsal, directory, reconstruction)


def checked_run(
    run: Callable[[Mapping[str, Any], bool], MsgGenerator[str]],
    md: Mapping[str, Any],
    max_blur_px: float | None = None,
) -> MsgGenerator[str]:
    """Rehearse a run, refuse it if it cannot work, and run it with the figures in its start document.

    How long it really took teaches the next rehearsals.

    Parameters
    ----------
    run : callable
        Takes the metadata, and whether the run is only rehearsed; returns its plan.
    md : mapping
        The metadata.
    max_blur_px : float, optional
        Refuse more motion blur than this, in px.

    Raises
    ------
    ParameterError
        If it cannot work; nothing has moved then.
    """
    outer = yield from rehearsing()
    if isinstance(outer, Rehearsal):
        outer.limit_blur(max_blur_px)
        return (yield from run(md, True))
    rehearsal = Rehearsal(LEARNT.get())
    rehearsal.limit_blur(max_blur_px)
    yield from rehearsal.go_through(run(md, True))
    figures = _figures(rehearsal, None, None)
    figures.check()
    for warning in figures.warnings:
        LOG.warning("%s: %s", figures.plan, warning)
    true = monotonic_spans()
    uid: str = yield from noting(run({"preflight": figures.to_json(), **md}, False), true)
    if outer is None and not rehearsal.stopped_by:
        LEARNT.learn(rehearsal.spans, true)
    return uid


def _figures(
    rehearsal: Rehearsal,
    directory: str | Path | None,
    settings: ReconstructionSettings | None,
) -> Preflight:
    streams = tuple(_stream(taken) for taken in rehearsal.taken)
    disk_bytes = sum(taken.frame_bytes for taken in rehearsal.taken)
    cameras = {taken.camera: taken.facts for taken in rehearsal.taken}.values()
    ring_bytes = sum(camera.ring_bytes for camera in cameras)
    new_ring_bytes = sum(max(0, camera.ring_bytes - camera.ring_held_bytes) for camera in cameras)
    parts = dict(rehearsal.parts)
    free = rate = None
    source = ""
    if directory is not None:
        free = free_space(directory)
        largest = max(rehearsal.taken, key=lambda taken: taken.facts.frame_bytes, default=None)
        if largest is not None:
            measured = measured_write_rate(directory, largest.facts.shape)
            rate, source = measured.bytes_s, measured.source
            parts["storing"] = _storing_s(rehearsal.taken, measured)
    memory = _memory_free()
    warnings, refusals = _judged(rehearsal, streams)
    too_large = free is not None and disk_bytes > free
    # Weighing the angles of millions of projections takes half a minute, and nobody wants to know then.
    needed = None if too_large else _reconstruction_bytes(rehearsal.starts, settings)
    if free is not None and too_large:
        refusals.append(
            f"disk: {size_text(disk_bytes)} are needed and {size_text(free)} are free in "
            f"{Path(directory or '.').absolute()}; free some space or choose another data directory."
        )
    if memory is not None and new_ring_bytes + (needed or 0) > memory:
        refusals.append(
            f"memory: {size_text(new_ring_bytes)} more for frames on their way and {size_text(needed or 0)} "
            f"for the reconstruction are needed, and {size_text(memory)} are free; reconstruct fewer "
            "slices, or give the camera a smaller ring."
        )
    warnings += _slow_writing(streams, rate, ring_bytes)
    names = dict.fromkeys(str(start.get("plan_name", "plan")) for start in rehearsal.starts)
    return Preflight(
        plan=", ".join(names) or "plan",
        runs=len(rehearsal.starts),
        duration_s=sum(parts.values()),
        parts=parts,
        overheads=LEARNT.get(),
        streams=streams,
        axes=_axes(rehearsal.taken),
        disk_bytes=disk_bytes,
        disk_free_bytes=free,
        write_bytes_s=rate,
        write_source=source,
        ring_bytes=ring_bytes,
        reconstruction_bytes=needed,
        memory_free_bytes=memory,
        warnings=tuple(warnings),
        refusals=tuple(refusals),
        open_end=rehearsal.stopped_by,
    )


def _learn_from_documents(directory: Path) -> None:
    """Take the overheads from the newest run of a data directory, if no run of this process taught any."""
    if LEARNT.get().runs or not directory.is_dir():
        return
    for run in find_runs(directory)[:_LOOKED_AT]:
        if run.exit_status == "success" and "preflight" in run.start and run.stop is not None:
            LEARNT.load(run.start, run.stop)
            return


def _stream(taken: Taken) -> StreamFigures:
    return StreamFigures(
        taken.name,
        taken.camera,
        taken.trigger,
        taken.exposed,
        taken.end_s - taken.begin_s,
        taken.facts.exposure_s,
        taken.period_s,
        taken.facts.frame_bytes,
        taken.blur_px,
    )


def _axes(streams: list[Taken]) -> tuple[AxisFigures, ...]:
    return tuple(
        AxisFigures(
            name,
            motion.facts.unit,
            taken.name,
            motion.speed,
            motion.facts.ramp_s,
            motion.speed * motion.facts.ramp_s / 2,
        )
        for taken in streams
        for name, motion in taken.sweeps.items()
    )


def _judged(
    rehearsal: Rehearsal, streams: tuple[StreamFigures, ...]
) -> tuple[list[str], list[str]]:
    warnings: list[str] = []
    refusals: list[str] = []
    max_blur_px = rehearsal.max_blur_px
    for stream in streams:
        limit = USUAL_BLUR_PX if max_blur_px is None else max_blur_px
        if stream.blur_px <= limit:
            continue
        text = (
            f"blur: the image of {stream.stream} moves by {stream.blur_px:.3g} px during an exposure "
            f"of {stream.exposure_s:g} s, more than {limit:g} px; expose for at most "
            f"{stream.exposure_s * limit / stream.blur_px:.3g} s, or take more projections, or lower "
            "the frame rate."
        )
        (warnings if max_blur_px is None else refusals).append(text)
    if rehearsal.untimed:
        warnings.append(
            f"time: {', '.join(rehearsal.untimed)} tell neither a velocity nor a duration, so what "
            "they do counts as no time. Give the device a velocity, or a method set_duration_s(value)."
        )
    return warnings, refusals


def _slow_writing(
    streams: tuple[StreamFigures, ...], rate: float | None, ring_bytes: int
) -> list[str]:
    found = []
    for stream in streams:
        if rate is None or stream.bytes_s <= rate:
            continue
        behind = stream.frames * stream.frame_bytes * (1 - rate / stream.bytes_s)
        if behind > ring_bytes:
            found.append(
                f"writing: {stream.stream} come at {size_text(stream.bytes_s)}/s, the data directory "
                f"takes {size_text(rate)}/s, and the {size_text(behind)} in between do not fit into "
                f"the camera's ring of {size_text(ring_bytes)}; lower the frame rate, or choose a "
                "faster disk."
            )
    return found


def _storing_s(streams: list[Taken], measured: WriteRate) -> float:
    """Return the time for which writing outlasts exposing."""
    total = 0.0
    for taken in streams:
        exposing_s = taken.end_s - taken.begin_s
        total += max(0.0, taken.frame_bytes / measured.bytes_s - exposing_s)
        if not LEARNT.get().runs:
            total += measured.end_s  # What was learnt has that in it.
    return total


def _reconstruction_bytes(
    starts: list[Mapping[str, Any]], settings: ReconstructionSettings | None
) -> int | None:
    if settings is None:
        return None
    most = 0
    for start in starts:
        block = start.get("tomo")
        if block is None or start.get("tomo", {}).get("scheme") in ("radiography", "grating"):
            continue
        tomo = TomoBlock.model_validate(dict(block))
        if tomo.num_projections < 2:
            continue
        job = Reconstructor(
            settings,
            num_projections=tomo.num_projections,
            frame_shape=tuple(start["frame_shape"]),
            angles=tomo.angles_rad(),
        )
        most = max(most, job.memory_bytes)
    return most


def _memory_free() -> int | None:
    """Return the memory that can be had without swapping, in bytes, or None if unknown."""
    try:
        lines = dict(line.split(":", 1) for line in _MEMORY.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
