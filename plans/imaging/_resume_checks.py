"""Whether a run can be continued, and whether everything is as it was."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import bluesky.plan_stubs as bps
from bluesky.utils import MsgGenerator, maybe_await

from concertino import ParameterError
from concertino.documents import BASELINE, TomoBlock
from concertino.plans.core._device_queries import AsSet, outcome, query
from concertino.plans.core._offers import HasExposure, ReadsSettings, SetOtherwise, name_of
from concertino.plans.core._parameters import read_number
from concertino.plans.run._optics import same_optics
from concertino.plans.run._settings import alike, plain, shown
from concertino.storage import Run

from ._imaging_scan import ImagingScan

_TOLERANCE = 1e-3


def check_resumable(run: Run) -> None:
    """Refuse a run that is none of a scan that can be continued.

    Raises
    ------
    ParameterError
        If it is not.
    DocumentError
        If it is no imaging run, or was written by a newer version.
    """
    if "derived_from" in run.start:
        raise ParameterError(
            f"resume: {run.name} processes the run {run.start['derived_from']}; resume that one."
        )
    TomoBlock.from_start(run.start)
    if run.start.get(ImagingScan.NAME) is not None and ImagingScan.from_start(run.start).pauses:
        return
    raise ParameterError(
        f"resume: {run.name} is a run of {run.start.get('plan_name')!r}, which cannot be resumed: it is "
        "no imaging scan, or one that is taken as a whole. Run it again."
    )


def check_same(
    run: Run, metadata: Mapping[str, Any], camera: Any, unmoved: Sequence[Any]
) -> MsgGenerator[None]:
    """Refuse to continue a scan with other settings.

    Parameters
    ----------
    run : Run
        The scan's first run.
    metadata : mapping
        The start document of the run to be.
    camera : device
        The camera.
    unmoved : sequence of Readable
        Devices that must be where they were.

    Raises
    ------
    ParameterError
        With all that differs, then and now.
    """
    then, now = _compared(run.start), _compared(metadata)
    wrong = [
        f"{name} was {shown(then.get(name))} and is {shown(now.get(name))}"
        for name in dict.fromkeys([*then, *now])
        if not (
            alike(then.get(name), now.get(name)) or _as_good_as(name, then.get(name), now.get(name))
        )
    ]
    wrong += yield from _set_otherwise(run, camera)
    exposure_s = _recorded(run, camera.name).get(f"{camera.name}-exposure")
    if exposure_s is not None and isinstance(camera, HasExposure):
        present_s = yield from read_number(camera.exposure)
        if not alike(exposure_s, present_s):
            wrong.append(f"the exposure was {exposure_s:g} s and is {present_s:g} s")
    for device in unmoved:
        wrong += yield from _moved(run, device)
    differences(run, wrong, "Set it as it was, or take a new scan")


def differences(run: Run, wrong: Sequence[str], advice: str) -> None:
    """Raise if anything differs.

    Raises
    ------
    ParameterError
        With all of it.
    """
    if wrong:
        raise ParameterError(f"resume: of {run.name}, {'; '.join(wrong)}. {advice}.")


def _as_good_as(name: str, then: Any, now: Any) -> bool:
    """Whether what devices read of their optics is the same, or older runs do not tell it."""
    field = name.removeprefix("tomo ")
    return same_optics(field, then, now) or (field == "source_kind" and then is None)


def _compared(start: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "frame_shape": list(start.get("frame_shape", [])),
        "frame_bytes": start.get("frame_bytes"),
        **{f"tomo {key}": value for key, value in start["tomo"].items()},
        **start["plan_args"],
    }


def _recorded(run: Run, camera: str) -> dict[str, Any]:
    """Return what a camera was set to in the first of a run's streams that tells its exposure time, or any of it."""
    told = [run[stream].configuration for stream in run.streams]
    own = [
        {name: value for name, value in each.items() if name.startswith(f"{camera}-")}
        for each in told
    ]
    exposed = [each for each in own if each.get(f"{camera}-exposure") is not None]
    return next(iter(exposed or filter(None, own)), {})


def _set_otherwise(run: Run, camera: Any) -> MsgGenerator[list[str]]:
    """Return which settings of a camera are not as they were recorded, such as its region."""
    if not isinstance(camera, ReadsSettings):
        return []
    name = name_of(camera)
    what = f"{name} was asked for its settings"
    now = yield from outcome(AsSet(camera, partial(_settings_read, camera), what))
    then = _recorded(run, name)
    # The plan's arguments, the exposure time and the ``tomo`` block are compared by themselves.
    known = {f"{name}-{part}" for part in ("exposure", "frame_rate", "pixel_size")}
    both = {key: plain(now[key]["value"]) for key in now or {} if key in then and key not in known}
    return [
        f"{key} was {shown(plain(then[key]))} and is {shown(value)}"
        for key, value in both.items()
        if not alike(plain(then[key]), value)
    ]


async def _settings_read(camera: Any, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read a camera's settings, but for those that are to count instead of the present ones."""
    found = dict(await maybe_await(camera.read_settings()) or {})
    if settings and isinstance(camera, SetOtherwise):
        for name, value in settings.items():
            found[camera.settings[name].name] = {"value": plain(value)}
    return found


def _moved(run: Run, device: Any) -> MsgGenerator[list[str]]:
    """Return what a device's reading says of it that differs from the run's baseline."""
    if BASELINE not in run.streams:
        return []
    readings = yield from query(device.read, f"{device.name} was asked for its reading")
    if readings is None:
        return []
    before = run[BASELINE].events[0]["data"]
    wrong = []
    for name, reading in readings.items():
        then, now = before.get(name), reading["value"]
        if isinstance(then, int | float) and not alike(then, now, absolute=_TOLERANCE):
            wrong.append(f"{name} was at {then:g} and is at {now:g}")
    yield from bps.null()
    return wrong
