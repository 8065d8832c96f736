"""Start-up module for bluesky's queue server, on the simulated beamline.

``start-re-manager --startup-module concertino.queueserver`` serves the plans of Concertino. A
facility copies this file, puts its own devices in place of the simulated ones, and names them in
``_DEVICES``. The data directory is the environment variable ``CONCERTINO_DIRECTORY``, ``data`` by
default.
"""

import os
from typing import Any

from bluesky_queueserver import parameter_annotation_decorator

from concertino import plans as _plans
from concertino.callbacks import ImageWriter, OnlineReconstruction
from concertino.devices import SimulatedBeamline
from concertino.reconstruction import ReconstructionSettings
from concertino.session import open_session

_session = open_session(
    os.environ.get("CONCERTINO_DIRECTORY", "data"), progress=False, catalog=False
)
RE = _session.RE

_beamline = SimulatedBeamline()
camera = _beamline.camera
rotation = _beamline.rotation
sample_stage = _beamline.sample_stage
vertical_stage = _beamline.vertical_stage
grating_stage = _beamline.grating_stage
shutter = _beamline.shutter
ring = _beamline.ring

_session.add_baseline(*_beamline.baseline)
_session.subscribe(ImageWriter())
_session.subscribe(
    OnlineReconstruction(ReconstructionSettings(slices=(_beamline.twin.shape[0] // 2,)))
)

# Which devices may stand where: the queue server refuses any other name before the plan starts.
_DEVICES = {
    "camera": ("camera",),
    "rotation": ("rotation",),
    "beam": ("shutter",),
    "sample_stage": ("sample_stage",),
    "vertical_stage": ("vertical_stage",),
    "stepping": ("grating_stage",),
}


def _with_devices(plan: Any, *parts: str) -> Any:
    parameters = {
        part: {
            "annotation": f"{part.title().replace('_', '')}s",
            "devices": {f"{part.title().replace('_', '')}s": list(_DEVICES[part])},
        }
        for part in parts
    }
    return parameter_annotation_decorator({"parameters": parameters})(plan)


radiography = _with_devices(_plans.radiography, "camera", "beam", "sample_stage")
step_tomography = _with_devices(
    _plans.step_tomography, "camera", "rotation", "beam", "sample_stage"
)
continuous_tomography = _with_devices(
    _plans.continuous_tomography, "camera", "rotation", "beam", "sample_stage"
)
step_spiral_tomography = _with_devices(
    _plans.step_spiral_tomography, "camera", "rotation", "vertical_stage", "beam", "sample_stage"
)
continuous_spiral_tomography = _with_devices(
    _plans.continuous_spiral_tomography,
    "camera",
    "rotation",
    "vertical_stage",
    "beam",
    "sample_stage",
)
grating_stepping = _with_devices(
    _plans.grating_stepping, "camera", "stepping", "beam", "sample_stage"
)
