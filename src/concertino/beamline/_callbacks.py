"""The callbacks that a file asks for."""

from collections.abc import Iterator
from typing import Any

from concertino import DeviceError
from concertino.callbacks import ImageWriter, LiveView, OnlineReconstruction, ScanAlarms
from concertino.reconstruction import ReconstructionSettings

from ._classes import find_class
from ._devices import Devices, made
from ._settings import BeamlineSettings, CallbacksSection


def callbacks_of(settings: BeamlineSettings, devices: Devices) -> Iterator[Any]:
    """Yield the callbacks, what stores first.

    Parameters
    ----------
    settings : BeamlineSettings
        The file.
    devices : Devices
        Connected ones; the camera tells its frames' shape.
    """
    asked = settings.callbacks
    if asked.writer.enabled:
        yield ImageWriter(**asked.writer.model_dump(exclude={"enabled"}))
    view = None
    if asked.live_view.enabled:
        view = LiveView(**asked.live_view.model_dump(exclude={"enabled"}))
    if asked.reconstruction.enabled:
        reconstruction = _reconstruction(asked, settings, devices, planes=view is not None)
        if view is not None:
            reconstruction.add_callback(view)
            view.control(reconstruction)
        yield reconstruction
    if view is not None:
        yield view
    if asked.alarms:
        checks = [
            made(find_class(one.class_, "concertino.callbacks"), one.arguments, devices)
            for one in asked.alarms
        ]
        yield ScanAlarms(checks, callbacks=() if view is None else (view,))
    for one in asked.others:
        yield made(find_class(one.class_, "concertino.callbacks"), one.arguments, devices)


def _reconstruction(
    asked: CallbacksSection, settings: BeamlineSettings, devices: Devices, *, planes: bool
) -> OnlineReconstruction:
    wanted = asked.reconstruction
    given = dict(wanted.settings)
    if isinstance(wanted.slices, list):
        given["slices"] = tuple(wanted.slices)
    elif wanted.slices == "middle":
        given["slices"] = (_height(settings, devices) // 2,)
    return OnlineReconstruction(
        ReconstructionSettings(**given), planes=planes, output=wanted.output
    )


def _height(settings: BeamlineSettings, devices: Devices) -> int:
    """Return how many rows a frame of the first camera has."""
    cameras = settings.roles.get("camera", [])
    if not cameras:
        raise DeviceError(
            "callbacks.reconstruction: the middle row was asked for, and no camera has a role. Add camera = 'DEVICE' to "
            "[roles], or give rows such as slices = [100]."
        )
    return int(devices[cameras[0]].frame_shape[0])
