"""A start-up module whose plans meet faults: the beamline of the endurance tests, for a queue server's worker."""

import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bluesky.utils import MsgGenerator
from bluesky_queueserver import parameter_annotation_decorator

from concertino import plans as _plans
from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedStorageRing
from concertino.plans import Interlock, motor_places, queue_annotation
from concertino.session import open_session
from tests.endurance.bench import Beamline
from tests.endurance.mixed_runs import in_use, memory_bytes

#: No file may grow beyond it while the disk is full; smaller ones, such as the record, may.
FULL_BYTES = 100 * 2**10

if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
_session = open_session(os.environ["CONCERTINO_DIRECTORY"], progress=False, catalog=False)
RE = _session.RE
_line = Beamline()
camera, shutter, stage, rotation = _line.camera, _line.shutter, _line.stage, _line.rotation
ring = SimulatedStorageRing(name="ring")
_session.subscribe(ImageWriter(format="hdf5"))
RE.install_suspender(Interlock(ring.current, low=50))

_ROLES = {
    "cameras": ["camera"], "rotation": ["rotation"], "beam": ["shutter"], "sample_stage": ["stage"],
    "devices": ["camera", "shutter", "stage", "rotation"],
    "plan": ["radiography", "step_tomography", "continuous_tomography"],
}  # fmt: skip
_places = motor_places({"stage": stage, "rotation": rotation})


def _offered(plan: Any) -> Any:
    return parameter_annotation_decorator(queue_annotation(plan, _ROLES, _places))(plan)


radiography = _offered(_plans.radiography)
step_tomography = _offered(_plans.step_tomography)
continuous_tomography = _offered(_plans.continuous_tomography)


@contextmanager
def _fault(kind: str) -> Iterator[None]:
    """Have something go wrong while projections are taken."""

    def watch(stream: str, index: int) -> None:
        if stream == "projections" and index == 3:
            if kind == "beam dump":
                ring.refill(0.0)
            if kind == "disk full":
                resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_BYTES, resource.RLIM_INFINITY))

    _line.source.watch = watch
    _line.source.dies_at = 5 if kind == "camera dies" else -1
    stage.moves_left = 1 if kind == "stage fails" else -1
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        ring.refill(100.0)
        _line.source.watch = lambda stream, index: None
        _line.source.dies_at = stage.moves_left = -1


@_offered
def experiment(
    fault: str, plan: Callable[..., MsgGenerator[Any]], parameters: dict[str, Any]
) -> MsgGenerator[Any]:
    """Run a plan that meets a fault.

    Parameters
    ----------
    fault : str
        Which.
    plan : plan
        That is run.
    parameters : dict
        Its parameters.
    """
    with _fault(fault):
        return (yield from plan(**parameters))


def figures() -> dict[str, Any]:
    """Return what the worker uses of the machine, and whether the beam is on."""
    held = memory_bytes()  # It lets go at first of what Python would let go of later.
    return {"in use": in_use(), "memory": held, "beam": shutter.is_open}
