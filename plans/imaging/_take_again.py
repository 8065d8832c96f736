"""Take a stored scan again, from its start document alone."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from bluesky.protocols import Readable
from bluesky.utils import MsgGenerator

from concertino import ParameterError
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
    names, known = start["plan_args"], {device.name: device for device in devices}

    def playing(part: str) -> Any:
        wanted = names.get(part)
        several = wanted if isinstance(wanted, list) else [wanted]
        missing = [f"{name}" for name in several if name not in known]
        if missing:
            raise ParameterError(
                f"devices: {', '.join(missing)} was the {part} of the run, and is not among "
                f"{', '.join(known) or 'none'}. Give it, too."
            )
        found = [known[name] for name in several]
        return found if isinstance(wanted, list) else found[0]

    if trigger is None and scan.needs_trigger:
        trigger = playing("trigger")
    motors = {part: playing(part) for part in scan.motors}
    camera, beam, stage = (playing(part) for part in ("camera", "beam", "sample_stage"))
    return (yield from take_scan(scan, camera, beam, stage, motors, trigger=trigger, md=md))


def _start(run: Any, root: str | None) -> Mapping[str, Any]:
    return run.start if isinstance(run, Run) else open_run(run, root).start
