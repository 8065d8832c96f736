"""Start-up module for bluesky's queue server, on the simulated beamline.

``concertino queueserver`` serves the plans of Concertino with it. A facility copies this file, puts its own devices
in place of the simulated ones, names them in ``_DEVICES``, and starts ``concertino queueserver --startup-module`` with
its name: on a signal the plan ends before the worker does, beam off. The data directory is the environment variable ``CONCERTINO_DIRECTORY``, ``data`` by
default.
"""

import os
import signal
import threading
from typing import Any

from concertino import ParameterError
from concertino import plans as _plans
from concertino._extras import extra
from concertino.callbacks import ImageWriter, OnlineReconstruction
from concertino.devices import SimulatedBeamline
from concertino.reconstruction import ReconstructionSettings
from concertino.reconstruction import sharpness as _sharpness
from concertino.session import open_session

with extra("queueserver", "The start-up module of a queue server"):
    from bluesky_queueserver import is_re_worker_active, parameter_annotation_decorator

if is_re_worker_active() and threading.current_thread() is threading.main_thread():
    # The worker is forked from the server's first process, whose handler is not for it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
_session = open_session(
    os.environ.get("CONCERTINO_DIRECTORY", "data"), progress=False, catalog=False
)
_session.require_storage = True
RE = _session.RE

_beamline = SimulatedBeamline(memory_bytes=4 * 2**30)
camera = _beamline.camera
detail = _beamline.add_camera("detail", shape=(256, 256), pixel_size_um=2.5)
rotation = _beamline.rotation
sample_stage = _beamline.sample_stage
vertical_stage = _beamline.vertical_stage
grating_stage = _beamline.grating_stage
axis_roll = _beamline.axis_roll
axis_pitch = _beamline.axis_pitch
focus_stage = _beamline.focus_stage
shutter = _beamline.shutter
ring = _beamline.ring
sharpness = _plans.ImageMeasure(camera, _sharpness)

_session.add_baseline(*_beamline.baseline)
_session.subscribe(ImageWriter())
_session.subscribe(
    OnlineReconstruction(ReconstructionSettings(slices=(_beamline.twin.shape[0] // 2,)))
)

# Which devices may stand where: the queue server refuses any other name before the plan starts.
_DEVICES = {
    "camera": ("camera",),
    "cameras": ("camera", "detail"),  # One, or several that expose together.
    "rotation": ("rotation",),
    "beam": ("shutter",),
    "sample_stage": ("sample_stage",),
    "vertical_stage": ("vertical_stage",),
    "stepping": ("grating_stage",),
    "axis_roll": ("axis_roll",),
    "axis_pitch": ("axis_pitch",),
    "trigger": ("ring",),
    "measure": ("camera", "sharpness", "ring"),
    "stage": ("focus_stage", "sample_stage", "vertical_stage"),
    "per_frame": ("ring", "rotation", "vertical_stage"),
    "unmoved": ("rotation", "sample_stage", "vertical_stage", "grating_stage", "focus_stage"),
}

_LISTS = {"unmoved", "per_frame"}


def _with_devices(plan: Any, *parts: str) -> Any:
    parameters = {
        part: {
            "annotation": f"{part.title().replace('_', '')}s",
            "devices": {f"{part.title().replace('_', '')}s": list(_DEVICES[part])},
        }
        for part in parts
        if part not in ("cameras", *_LISTS)
    }
    for part in _LISTS & set(parts):
        kind = part.title().replace("_", "")
        parameters[part] = {
            "annotation": f"typing.List[{kind}]",
            "devices": {kind: list(_DEVICES[part])},
        }
    if "cameras" in parts:
        parameters["camera"] = {
            "annotation": "typing.Union[Cameras, typing.List[Cameras]]",
            "devices": {"Cameras": list(_DEVICES["cameras"])},
        }
    return parameter_annotation_decorator({"parameters": parameters})(plan)


_PLANS = (
    "radiography",
    "step_tomography",
    "continuous_tomography",
    "step_spiral_tomography",
    "continuous_spiral_tomography",
    "grating_stepping",
)

radiography = _with_devices(_plans.radiography, "cameras", "beam", "sample_stage", "per_frame")
retrospective_radiography = _with_devices(
    _plans.retrospective_radiography, "camera", "beam", "sample_stage", "trigger", "per_frame"
)
step_tomography = _with_devices(
    _plans.step_tomography, "cameras", "rotation", "beam", "sample_stage", "per_frame"
)
continuous_tomography = _with_devices(
    _plans.continuous_tomography, "cameras", "rotation", "beam", "sample_stage", "per_frame"
)
step_spiral_tomography = _with_devices(
    _plans.step_spiral_tomography,
    "cameras",
    "rotation",
    "vertical_stage",
    "beam",
    "sample_stage",
    "per_frame",
)
continuous_spiral_tomography = _with_devices(
    _plans.continuous_spiral_tomography,
    "cameras",
    "rotation",
    "vertical_stage",
    "beam",
    "sample_stage",
    "per_frame",
)
grating_stepping = _with_devices(
    _plans.grating_stepping, "cameras", "stepping", "beam", "sample_stage", "per_frame"
)
resume = _with_devices(
    _plans.resume, "camera", "beam", "sample_stage", "rotation", "vertical_stage", "stepping",
    "unmoved", "per_frame",
)  # fmt: skip
focus = _with_devices(_plans.focus, "measure", "stage", "beam")
find_rotation_axis = _with_devices(
    _plans.find_rotation_axis, "camera", "rotation", "beam", "sample_stage"
)
align_rotation_axis = _with_devices(
    _plans.align_rotation_axis,
    "camera",
    "rotation",
    "axis_roll",
    "axis_pitch",
    "beam",
    "sample_stage",
)


def preflight(plan: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return what a plan would do and need; nothing moves.

    For the queue server's ``function_execute``: ``{"item_type": "function", "name": "preflight",
    "args": ["continuous_tomography", {"camera": "camera", …}]}``.

    Parameters
    ----------
    plan : str
        Name of a plan.
    parameters : dict
        Its parameters, with the names of devices.

    Returns
    -------
    dict
        As `concertino.plans.Preflight.to_json`.
    """
    names = globals()
    if plan not in _PLANS:
        raise ParameterError(f"plan: {plan!r} is unknown; there are {', '.join(_PLANS)}.")
    given = {
        part: names.get(value, value) if part in _DEVICES and isinstance(value, str) else value
        for part, value in parameters.items()
    }
    if "per_frame" in given:
        given["per_frame"] = [names.get(name, name) for name in given["per_frame"]]
    return _session.preflight(getattr(_plans, plan)(**given)).to_json()


ascan, dscan, scan = _plans.ascan, _plans.dscan, _plans.scan
