"""Start-up module for bluesky's queue server, on the simulated beamline.

``concertino queueserver`` serves the plans of Concertino with it. A facility copies this file, puts its own devices
in place of the simulated ones, names them in ``_DEVICES``, and starts ``concertino queueserver --startup-module`` with
its name: on a signal the plan ends before the worker does, beam off. Started by `start-re-manager` it serves as well.

The data directory is the environment variable ``CONCERTINO_DIRECTORY``, ``data`` by default; what makes the beam is
``CONCERTINO_SOURCE``, ``synchrotron`` (by default) or ``tube``.
"""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from bluesky.protocols import Movable, NamedMovable
from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino import plans as _plans
from concertino._extras import extra
from concertino.callbacks import ImageWriter, OnlineReconstruction
from concertino.devices import SimulatedBeamline
from concertino.reconstruction import ReconstructionSettings
from concertino.reconstruction import sharpness as _sharpness
from concertino.session import open_session
from concertino.units import QuantityLike, convert

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

_beamline = SimulatedBeamline(
    source=os.environ.get("CONCERTINO_SOURCE", "synchrotron"), memory_bytes=4 * 2**30
)
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
tube = _beamline.tube
trigger_box = _beamline.trigger_box
ring = _beamline.ring
sharpness = _plans.ImageMeasure(camera, _sharpness)

_session.add_baseline(*_beamline.baseline)
_session.subscribe(ImageWriter())
_session.subscribe(
    OnlineReconstruction(ReconstructionSettings(slices=(_beamline.twin.shape[0] // 2,)))
)

# Which devices may stand where: the queue server refuses any other name when a plan is added.
_DEVICES = {
    "camera": ("camera",),
    "cameras": ("camera", "detail"),  # One, or several that expose together.
    "rotation": ("rotation",),
    "beam": (_beamline.beam.name,),
    "sample_stage": ("sample_stage",),
    "vertical_stage": ("vertical_stage",),
    "stepping": ("grating_stage",),
    "axis_roll": ("axis_roll",),
    "axis_pitch": ("axis_pitch",),
    "pulses": ("trigger_box",),  # Starts the exposures.
    "trigger": ("ring",),  # Tells when something happens.
    "measure": ("camera", "sharpness", "ring"),
    "measures": ("sharpness", "ring"),
    "stage": ("focus_stage", "sample_stage", "vertical_stage"),
    "per_frame": ("ring", "rotation", "vertical_stage"),
    "unmoved": ("rotation", "sample_stage", "vertical_stage", "grating_stage", "focus_stage"),
    "motors": (
        "rotation", "sample_stage", "vertical_stage", "grating_stage", "axis_roll", "axis_pitch", "focus_stage",
    ),
    "devices": (
        "camera", "detail", "rotation", _beamline.beam.name, "sample_stage", "vertical_stage", "grating_stage",
    ),
    "x_stage": ("sample_stage",),
    "y_stage": ("vertical_stage",),
    "sample_changer": ("vertical_stage",),
    "plan": (
        "radiography", "retrospective_radiography", "step_tomography", "continuous_tomography",
        "step_spiral_tomography", "continuous_spiral_tomography", "grating_stepping",
    ),
}  # fmt: skip

_places = _plans.motor_places({name: globals()[name] for name in _DEVICES["motors"]})
_Plan = TypeVar("_Plan", bound=Callable[..., Any])


def _offered(plan: _Plan) -> _Plan:
    told = _plans.queue_annotation(plan, _DEVICES, _places)
    offered: _Plan = parameter_annotation_decorator(told)(plan)
    return offered


radiography = _offered(_plans.radiography)
retrospective_radiography = _offered(_plans.retrospective_radiography)
step_tomography = _offered(_plans.step_tomography)
continuous_tomography = _offered(_plans.continuous_tomography)
step_spiral_tomography = _offered(_plans.step_spiral_tomography)
continuous_spiral_tomography = _offered(_plans.continuous_spiral_tomography)
grating_stepping = _offered(_plans.grating_stepping)
resume = _offered(_plans.resume)
take_again = _offered(_plans.take_again)
focus = _offered(_plans.focus)
find_rotation_axis = _offered(_plans.find_rotation_axis)
align_rotation_axis = _offered(_plans.align_rotation_axis)
ascan = _offered(_plans.ascan)
dscan = _offered(_plans.dscan)
scan = _offered(_plans.scan)


@_offered
def xy_scan(
    x_stage: Movable[Any],
    y_stage: Movable[Any],
    x_positions: list[QuantityLike],
    y_positions: list[QuantityLike],
    plan: Callable[..., MsgGenerator[Any]],
    parameters: dict[str, Any],
    *,
    snake: bool = True,
    overlap: bool = False,
) -> MsgGenerator[tuple[str, ...]]:
    """Run a plan at each position of a grid, row by row, each as a run of its own.

    Parameters
    ----------
    x_stage, y_stage : device
        Move the sample; x changes fastest.
    x_positions, y_positions : list of quantity
        Plain numbers are in the stage's unit.
    plan : plan
        Which plan is run.
    parameters : dict
        Its parameters by their names, devices by theirs.
    snake : bool
        Every other row backwards.
    overlap : bool
        Go to the next position while the last frames of a run are still stored.

    Returns
    -------
    tuple of str
        The runs' uids.
    """

    def experiment(position: tuple[float, float]) -> MsgGenerator[Any]:
        return (yield from plan(**parameters))

    return (
        yield from _plans.xy_scan(
            x_stage, y_stage, x_positions, y_positions, experiment, snake=snake, overlap=overlap
        )
    )


@_offered
def change_samples(
    sample_changer: NamedMovable[Any],
    samples: dict[str, QuantityLike],
    plan: Callable[..., MsgGenerator[Any]],
    parameters: dict[str, Any],
    *,
    overlap: bool = False,
) -> MsgGenerator[tuple[str, ...]]:
    """Run a plan with each sample of a sample changer, each as a run of its own that names the sample.

    Parameters
    ----------
    sample_changer : device
        Brings in the sample whose position it is set to.
    samples : dict
        The changer's position of each sample, in order; plain numbers are in its unit.
    plan : plan
        Which plan is run.
    parameters : dict
        Its parameters by their names, devices by theirs.
    overlap : bool
        Bring in the next sample while the last frames of a run are still stored.

    Returns
    -------
    tuple of str
        The runs' uids.
    """

    def experiment(sample: str) -> MsgGenerator[Any]:
        return (yield from plan(**parameters))

    units = {place[0]: place[1] for place in _places}
    positions = {
        sample: convert(
            position, units.get(sample_changer.name, ""), parameter=f"samples: {sample}"
        )
        for sample, position in samples.items()
    }
    return (
        yield from _plans.change_samples(sample_changer, positions, experiment, overlap=overlap)
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
    if plan not in _DEVICES["plan"]:
        raise ParameterError(f"plan: {plan!r} is unknown; there are {', '.join(_DEVICES['plan'])}.")
    given = {
        part: _named(value) if part in _DEVICES else value for part, value in parameters.items()
    }
    return _session.preflight(getattr(_plans, plan)(**given)).to_json()


def _named(value: Any) -> Any:
    """Return the device of a name, or those of several; anything else as it is."""
    if isinstance(value, list):
        return [_named(name) for name in value]
    return globals().get(value, value) if isinstance(value, str) else value
