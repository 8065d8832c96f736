"""Preflight: what a plan will do and need, and whether that can work, before anything moves."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from bluesky.utils import MsgGenerator

from concertino.documents import TomoBlock
from concertino.plans._asides import said
from concertino.plans.core._device_queries import rehearsing, without_run_engine
from concertino.reconstruction import ReconstructionSettings, Reconstructor
from concertino.storage import WriteRate, size_text

from ._overheads import LEARNT, monotonic_spans, noting
from ._preflight_value import AxisFigures, Preflight, StreamFigures
from ._rehearsal import Rehearsal
from ._rehearsed_frames import Taken
from ._resources import NothingKnown, Resources, WhichResources

LOG = logging.getLogger(__name__)

#: Blur above this is warned about, in px.
USUAL_BLUR_PX = 1.0


def preflight(
    plan: MsgGenerator[Any],
    *,
    resources: Resources | None = None,
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
    resources : Resources, optional
        What the computer has, such as `concertino.session.ComputerResources` of a data directory; without,
        neither disk nor memory are judged. `Session.preflight` knows its own.
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
    return without_run_engine(rehearsed(plan, resources, reconstruction, max_blur_px))  # type: ignore[no-any-return]


def rehearsed(
    plan: MsgGenerator[Any],
    resources: Resources | None = None,
    reconstruction: ReconstructionSettings | None = None,
    max_blur_px: float | None = None,
) -> MsgGenerator[Preflight]:
    """Return the same as `preflight`, from within a plan: only questions to devices are yielded."""
    known = NothingKnown() if resources is None else resources
    _learn_from_documents(known)
    rehearsal = Rehearsal(LEARNT.get())
    rehearsal.limit_blur(max_blur_px)
    yield from rehearsal.go_through(plan)
    return _figures(rehearsal, known, reconstruction)


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
    resources = (yield from said(WhichResources())) or NothingKnown()
    figures = _figures(rehearsal, resources, None)
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
    resources: Resources,
    settings: ReconstructionSettings | None,
) -> Preflight:
    streams = tuple(_stream(taken) for taken in rehearsal.taken)
    stored = [taken for taken in rehearsal.taken if not taken.facts.self_storing]
    disk_bytes = sum(taken.frame_bytes for taken in stored)
    # What a camera has taken for its largest frames it keeps.
    largest_last = sorted(rehearsal.taken, key=lambda taken: taken.facts.ring_bytes)
    cameras = {taken.camera: taken.facts for taken in largest_last}.values()
    ring_bytes = sum(camera.ring_bytes for camera in cameras)
    new_ring_bytes = sum(max(0, camera.ring_bytes - camera.ring_held_bytes) for camera in cameras)
    parts = dict(rehearsal.parts)
    free, memory = resources.disk_free_bytes(), resources.memory_free_bytes()
    rate, source = None, ""
    largest = max(rehearsal.taken, key=lambda taken: taken.facts.frame_bytes, default=None)
    if largest is not None and (measured := resources.write_rate(largest.facts.shape)) is not None:
        rate, source = measured.bytes_s, measured.source
        parts["storing"] = _storing_s(stored, measured)
    warnings, refusals = _judged(rehearsal, streams)
    too_large = free is not None and disk_bytes > free
    # Weighing the angles of millions of projections takes half a minute, and nobody wants to know then.
    needed = None if too_large else _reconstruction_bytes(rehearsal.starts, settings)
    if free is not None and too_large:
        refusals.append(
            f"disk: {size_text(disk_bytes)} are needed and {size_text(free)} are free in "
            f"{resources.place}; free some space or choose another data directory."
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


def _learn_from_documents(resources: Resources) -> None:
    """Take the overheads from the newest run that tells any, if no run of this process taught them."""
    if LEARNT.get().runs:
        return
    for start, stop in resources.past_runs():
        if "preflight" in start:
            LEARNT.load(start, stop)
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
        if block is None:
            continue
        tomo = TomoBlock.model_validate(dict(block))
        without_angles = tomo.angles_deg is None and tomo.angular_range_deg is None
        if without_angles or tomo.num_projections < 2:
            continue  # Such as radiographs, or views that align the axis: there are no slices of these.
        job = Reconstructor(
            settings,
            num_projections=tomo.num_projections,
            frame_shape=tuple(start["frame_shape"]),
            angles=tomo.angles_rad(),
        )
        most = max(most, job.memory_bytes)
    return most
