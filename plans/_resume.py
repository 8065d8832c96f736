"""Continue a scan that broke off: take what its record says is missing, in a linked run."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino.documents import index_ranges
from concertino.storage import Run, StoredScan, open_run

from ._asides import with_answers
from .core._device_queries import query
from .core._offers import name_of
from .core._protocols import TriggerDevice
from .imaging._imaging_scan import ImagingScan
from .imaging._resume_checks import check_resumable, check_same, differences
from .imaging._take_scan import take_scan
from .run._resume_context import ResumeContext, WhichPart

#: To read what is stored of a scan takes as long as it takes; this is a day.
_READING_S = 86_400.0
#: What is known of each run anew.
_OF_THE_RUN = frozenset({
    "uid", "time", "scan_id", "scan_name", "run_directory", "plan_type", "plan_name", "plan_args",
    "detectors", "motors", "hints", "frames", "frame_shape", "frame_bytes", "own_files", "tomo", "grating",
    "imaging_scan", "preflight", "versions", "resumes",
})  # fmt: skip


def resume(
    run: Run | str | int | os.PathLike[str],
    camera: Readable[Any],
    beam: Movable[Any],
    sample_stage: Movable[Any],
    rotation: Movable[Any] | None = None,
    *,
    vertical_stage: Movable[Any] | None = None,
    stepping: Movable[Any] | None = None,
    motors: Mapping[str, Movable[Any]] | None = None,
    trigger: TriggerDevice | None = None,
    unmoved: Sequence[Readable[Any]] = (),
    verify: bool = True,
    root: str | None = None,
    per_frame: Sequence[Readable[Any]] = (),
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Continue a run that broke off, a crash of its process included.

    The same plan with the parameters of its record takes only the frames that are missing: those that
    stand in the documents and can be read are kept. They come in a run of their own whose start document
    has ``resumes``, the uid of the run before; reconstruction and `StoredScan` take the runs as one
    scan. What is resumed may itself break off and be resumed.

    Parameters
    ----------
    run : Run, str, int or path
        The run, or what `concertino.storage.open_run` takes.
    camera, beam, sample_stage, rotation, vertical_stage, stepping : device
        The devices of the plan, as then.
    motors : mapping of str to device, optional
        What else moved, by its part, in a scan of one's own.
    trigger : TriggerDevice, optional
        What gave the pulses, if a device did.
    unmoved : sequence of Readable
        Devices of the run's baseline that must be where they were, such as the vertical stage.
    verify : bool
        Read every frame that is kept and compare its checksum; False: believe the documents.
    root : str, optional
        Data directory in which to look `run` up.
    per_frame : sequence of Readable
        The signals of which each frame has a value, as then.
    md : dict, optional
        Metadata for the new run, besides that of the old one.

    Returns
    -------
    str
        The new run's uid.

    Raises
    ------
    ParameterError
        If nothing is missing, the run cannot be resumed, or the devices are not as they were; nothing
        has moved then.
    DocumentError
        If it is no imaging run, or was written by a newer version.
    StorageError
        If there is no such run, or one that it resumes is gone.

    Examples
    --------
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import resume
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> plan = resume("scan_0001", b.camera, b.beam, b.sample_stage, b.rotation,
    ...               unmoved=[b.vertical_stage])
    """
    stored = run if isinstance(run, Run) else open_run(run, root)
    check_resumable(stored)
    scan = StoredScan(stored)
    first, last = scan.runs[0], scan.runs[-1]
    taken = ImagingScan.from_start(first.start)
    if last.stop is None and last.is_recording:
        raise ParameterError(f"resume: {last.name} is being recorded. Wait for its end.")
    missing = yield from query(
        lambda: asyncio.to_thread(missing_frames, scan, taken, verify),
        f"The disk was asked which frames of {scan.name} are missing",
        _READING_S,
    )
    if not missing:
        raise ParameterError(
            f"resume: nothing is missing of {scan.name}: "
            + ", ".join(f"{count} {stream}" for stream, count in taken.frames.items())
            + ". Take a new scan."
        )
    asked_for = {
        "rotation": rotation, "vertical_stage": vertical_stage, "stepping": stepping, **(motors or {}),
    }  # fmt: skip
    parts = {part: motor for part, motor in asked_for.items() if motor is not None}
    given = {"camera": camera, "beam": beam, "sample_stage": sample_stage, **parts}
    _check_devices(first, taken, given if trigger is None else {**given, "trigger": trigger})
    carried = {key: value for key, value in last.start.items() if key not in _OF_THE_RUN}

    def check(metadata: Mapping[str, Any]) -> MsgGenerator[None]:
        yield from check_same(first, metadata, camera, unmoved)

    def answer(known: ResumeContext | None) -> ResumeContext:
        return replace(
            known or ResumeContext(),
            missing=missing,
            names=[stream for each in scan.runs for stream in each.streams],
            metadata={**carried, "resumes": last.uid},
            check=check,
        )

    plan = take_scan(
        taken, camera, beam, sample_stage, parts, trigger=trigger, per_frame=per_frame, md=md
    )
    uid: str = yield from with_answers(plan, WhichPart, answer)
    return uid


def missing_frames(scan: StoredScan, taken: ImagingScan, verify: bool) -> dict[str, list[range]]:
    """Return which frames of a scan are missing or cannot be read, by stream.

    Parameters
    ----------
    scan : StoredScan
        The scan.
    taken : ImagingScan
        What it was to take.
    verify : bool
        Whether to read those that there are.
    """
    found: dict[str, list[range]] = {}
    for stream, count in taken.frames.items():
        there = scan.present(stream)[:count]
        if verify:
            there[[index for index in scan.unreadable(stream) if index < count]] = False
        if there.all():
            continue
        gaps = [range(count)] if stream in taken.whole else index_ranges(np.flatnonzero(~there))
        found[stream] = list(gaps)
    return found


def _check_devices(run: Run, scan: ImagingScan, devices: Mapping[str, Any]) -> None:
    """Refuse other devices than those of the run.

    Raises
    ------
    ParameterError
        With all that differ.
    """
    recorded = run.start["plan_args"]
    used = ("camera", "beam", "sample_stage", "trigger", *scan.motors)
    wrong = []
    for part in dict.fromkeys([*used, *devices]):
        then = recorded.get(part) if part in used else None
        device = devices.get(part)
        now = None if device is None else name_of(device)
        if now != then and (now is not None or part != "trigger" or scan.needs_trigger):
            wrong.append(f"{part} was {then or 'none'} and is {now or 'none'}")
    differences(run, wrong, "Give the devices that it was taken with")
