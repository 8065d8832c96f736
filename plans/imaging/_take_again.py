"""Take a stored scan again, from its start document alone."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from bluesky.protocols import HasName, Readable
from bluesky.utils import MsgGenerator

from concertino import DocumentError, ParameterError
from concertino.frames import RecordingTrigger
from concertino.plans.core._protocols import TriggerDevice
from concertino.storage import Run, open_run

from ._imaging_scan import ImagingScan
from ._take_scan import take_scan


def take_again(
    run: Run | Mapping[str, Any] | str | int | os.PathLike[str],
    devices: Iterable[Any],
    *,
    trigger: TriggerDevice | RecordingTrigger | Readable[Any] | None = None,
    root: str | None = None,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Take a scan as another was taken: all that is wanted stands in its start document, but for the devices.

    Parameters
    ----------
    run : Run, mapping, str, int or path
        The run, its start document, or what `concertino.storage.open_run` takes.
    devices : iterable of device
        Among them those that the run names.
    trigger : RecordingTrigger or device, optional
        What starts exposures, if that is none of the devices.
    root : str, optional
        Data directory in which to look `run` up.
    md : dict, optional
        Metadata for the new run; that of the old one is not taken over.

    Returns
    -------
    str
        The new run's uid.

    Raises
    ------
    ParameterError
        If a device is missing, or something cannot work; nothing has moved then.
    DocumentError
        If it is no imaging run, or was written by a newer version.
    StorageError
        If there is no such run.

    Examples
    --------
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import take_again
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> plan = take_again("scan_0001", [b.camera, b.beam, b.sample_stage, b.rotation])
    """
    start = run if isinstance(run, Mapping) else _start(run, root)
    scan = ImagingScan.from_start(start)
    names, known = _names(start), _by_name(devices)

    def playing(part: str) -> Any:
        wanted = names.get(part)
        if not wanted:
            raise ParameterError(
                f"run: its plan_args do not name its {part}. Take it with take_scan, and ImagingScan.from_start(start)."
            )
        several = wanted if isinstance(wanted, list) else [wanted]
        missing = [f"{name}" for name in several if name not in known]
        if missing and part == "trigger":
            raise ParameterError(
                f"trigger: that of the run was {', '.join(missing)}, which is none of the devices. Give what starts "
                "exposures as trigger=…."
            )
        if missing:
            advice = "Give it as trigger." if part == "trigger" else "Give it, too."
            raise ParameterError(
                f"devices: {', '.join(missing)} was the {part} of the run, and is not among "
                f"{', '.join(known) or 'none'}. {advice}"
            )
        found = [known[name] for name in several]
        return found if isinstance(wanted, list) else found[0]

    if trigger is None and scan.needs_trigger:
        trigger = playing("trigger")
    motors = {part: playing(part) for part in scan.motors}
    camera, beam, stage = (playing(part) for part in ("camera", "beam", "sample_stage"))
    return (yield from take_scan(scan, camera, beam, stage, motors, trigger=trigger, md=md))


def _names(start: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the names of what took a run, by its part."""
    names = start.get("plan_args")
    if not isinstance(names, Mapping):
        raise DocumentError(
            f"Run {str(start.get('uid', '?'))[:8]} has no plan_args, so nobody can tell with which devices it was taken. "
            "Take it with take_scan, and ImagingScan.from_start(start)."
        )
    return names


def _by_name(devices: object) -> dict[str, Any]:
    """Return devices by their names; one alone, or a mapping of them, will do."""
    if isinstance(devices, HasName):
        devices = [devices]
    if isinstance(devices, Mapping):
        devices = devices.values()
    if isinstance(devices, str) or not isinstance(devices, Iterable):
        raise ParameterError(f"devices: {devices!r} was given. Give a list of devices.")
    known: dict[str, Any] = {}
    for device in devices:
        if not isinstance(device, HasName):
            raise ParameterError(
                f"devices: {device!r} is among them, and has no name. Give devices."
            )
        known[device.name] = device
    return known


def _start(run: Any, root: str | None) -> Mapping[str, Any]:
    return run.start if isinstance(run, Run) else open_run(run, root).start
