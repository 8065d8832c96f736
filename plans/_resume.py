"""Continue a scan that broke off: take what its record says is missing, in a linked run."""

import asyncio
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino.documents import TomoBlock, index_ranges
from concertino.storage import Run, StoredScan, open_run

from ._angle_schemes import recorded_scheme
from ._continuous_spiral_tomography import continuous_spiral_tomography
from ._continuous_tomography import continuous_tomography
from ._grating_stepping import grating_stepping
from ._offers import name_of
from ._questions import asked
from ._radiography import radiography
from ._resume_checks import check_resumable, check_same, differences
from ._scan_so_far import ScanSoFar, answer_scan_so_far
from ._step_spiral_tomography import step_spiral_tomography
from ._step_tomography import step_tomography

_PLANS: Mapping[str, Callable[..., MsgGenerator[str]]] = {
    "radiography": radiography,
    "step_tomography": step_tomography,
    "continuous_tomography": continuous_tomography,
    "step_spiral_tomography": step_spiral_tomography,
    "continuous_spiral_tomography": continuous_spiral_tomography,
    "grating_stepping": grating_stepping,
}
#: To read what is stored of a scan takes as long as it takes; this is a day.
_READING_S = 86_400.0
#: Streams of which a part is of no use: the fringes drift between two times.
_WHOLE = {"grating_stepping": ("reference_stepping", "object_stepping")}
#: Who starts exposures without being a device.
_NO_DEVICES = ("software", "edge")
#: What is known of each run anew.
_OF_THE_RUN = frozenset({
    "uid", "time", "scan_id", "scan_name", "run_directory", "plan_type", "plan_name", "plan_args",
    "detectors", "motors", "hints", "frames", "frame_shape", "frame_bytes", "tomo", "grating",
    "versions", "resumes",
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
    trigger: Any = None,
    unmoved: Sequence[Any] = (),
    verify: bool = True,
    root: str | None = None,
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
    trigger : TriggerDevice, optional
        What gave the pulses, if a device did.
    unmoved : sequence of Readable
        Devices of the run's baseline that must be where they were, such as the vertical stage.
    verify : bool
        Read every frame that is kept and compare its checksum; False: believe the documents.
    root : str, optional
        Data directory in which to look `run` up.
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
    check_resumable(stored, _PLANS)
    scan = StoredScan(stored)
    first, last = scan.runs[0], scan.runs[-1]
    if last.stop is None and last.is_recording:
        raise ParameterError(f"resume: {last.name} is being recorded. Wait for its end.")
    name = str(first.start["plan_name"])
    missing = yield from asked(
        lambda: asyncio.to_thread(missing_frames, scan, verify),
        f"The disk was asked which frames of {scan.name} are missing",
        _READING_S,
    )
    if not missing:
        raise ParameterError(
            f"resume: nothing is missing of {scan.name}: "
            + ", ".join(f"{count} {stream}" for stream, count in first.start["frames"].items())
            + ". Take a new scan."
        )
    devices = {
        "camera": camera, "beam": beam, "sample_stage": sample_stage, "rotation": rotation,
        "vertical_stage": vertical_stage, "stepping": stepping, "trigger": trigger,
    }  # fmt: skip
    given = _arguments(first, _PLANS[name], devices)
    carried = {key: value for key, value in last.start.items() if key not in _OF_THE_RUN}

    def check(metadata: Mapping[str, Any]) -> MsgGenerator[None]:
        yield from check_same(first, metadata, camera, unmoved)

    def answer(known: ScanSoFar) -> ScanSoFar:
        return replace(
            known,
            missing=missing,
            names=[stream for each in scan.runs for stream in each.streams],
            metadata={**carried, "resumes": last.uid},
            check=check,
        )

    uid: str = yield from answer_scan_so_far(_PLANS[name](**given, md=md), answer)
    return uid


def missing_frames(scan: StoredScan, verify: bool) -> dict[str, list[range]]:
    """Return which frames of a scan are missing or cannot be read, by stream.

    Parameters
    ----------
    scan : StoredScan
        The scan.
    verify : bool
        Whether to read those that there are.
    """
    start = scan.runs[0].start
    whole = _WHOLE.get(str(start.get("plan_name")), ())
    found: dict[str, list[range]] = {}
    for stream, count in start["frames"].items():
        there = scan.present(stream)[:count]
        if verify:
            there[[index for index in scan.unreadable(stream) if index < count]] = False
        if there.all():
            continue
        gaps = [range(count)] if stream in whole else index_ranges(np.flatnonzero(~there))
        found[stream] = list(gaps)
    return found


def _arguments(run: Run, plan: Callable[..., Any], devices: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a plan as its run's start document has them."""
    recorded = run.start["plan_args"]
    known = inspect.signature(plan).parameters
    wrong = []
    for part, device in devices.items():
        wanted = recorded.get(part)
        if part == "trigger" and wanted in _NO_DEVICES and device is None:
            continue
        if wanted is None or device is None:
            if wanted is not None or device is not None:
                wrong.append(
                    f"{part} was {wanted or 'none'} and is {name_of(device, '') or 'none'}"
                )
        elif name_of(device) != wanted:
            wrong.append(f"{part} was {wanted} and is {name_of(device)}")
    differences(run, wrong, "Give the devices that it was taken with")
    given = {part: device for part, device in devices.items() if part in recorded}
    for parameter, value in recorded.items():
        if parameter in known and given.get(parameter) is None:
            given[parameter] = _plain(value)
    if "scheme" in known:
        tomo = TomoBlock.from_start(run.start)
        angles = tomo.angles_deg or []
        if not angles and tomo.num_projections:
            angles = np.rad2deg(tomo.direction * tomo.angles_rad()).tolist()
        given["scheme"] = recorded_scheme(
            str(recorded["scheme"]), recorded.get("scheme_parameters"), angles
        )
    return given


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping) and set(value) == {"value", "unit"}:
        return f"{value['value']!r} {value['unit']}" if value["unit"] else value["value"]
    return value
