"""Which of our cameras takes something that a plan was given as its camera, and that is none."""

import re
from pathlib import PurePath
from typing import Protocol, runtime_checkable

#: Classes of other libraries, by the beginning of their module and their name, and what takes their objects. Nothing
#: is imported: who gives an object of a library has done so.
_TAKERS = (
    ("ophyd_async.", "StandardDetector", "DetectorCamera(detector)"),
    ("ophyd.areadetector", "", "AreaDetectorCamera(detector)"),
    ("pymmcore", "", "Camera(MicroManagerSource(core))"),
    ("gi.repository.Aravis", "", "Camera(GenicamSource(ID)), with the camera's identifier"),
    ("aravis", "", "Camera(GenicamSource(ID)), with the camera's identifier"),
)
_IMAGES = (".tif", ".tiff")
#: A whole scan in one file.
_SCANS = (".h5", ".hdf5", ".nxs", ".hdf")


@runtime_checkable
class _Grabs(Protocol):
    """What a `FrameSource` has, and no device."""

    shape: object
    dtype: object

    def grab(self, out: object) -> object: ...


def taker_of(camera: object) -> str:
    """Return what makes a camera of something, as Python; empty if nothing is known that would.

    Parameters
    ----------
    camera : object
        What was given: an object of another library, a frame source, or an address.

    Examples
    --------
    >>> from concertino.plans.core._foreign_cameras import taker_of
    >>> taker_of("13SIM1:")
    "AreaDetectorCamera('13SIM1:')"
    """
    if isinstance(camera, str | PurePath):
        return _taker_of_address(str(camera))
    for made in type(camera).__mro__:
        for module, name, taker in _TAKERS:
            if f"{made.__module__}.".startswith(module) and name in ("", made.__name__):
                return taker
    return "Camera(SOURCE), with this frame source" if isinstance(camera, _Grabs) else ""


def _taker_of_address(address: str) -> str:
    if address.startswith(("tcp://", "ipc://")):
        return (
            f"Camera(DectrisStreamSource({address!r})), or Camera(HtypeStreamSource({address!r}))"
        )
    if address.startswith("tango://") or re.fullmatch(r"[\w.-]+:\d+", address):
        return f"TangoCamera({address!r})"
    if address.startswith(("http://", "https://")):
        return f"Camera(DectrisStreamSource(STREAM, control={address!r}))"
    if re.fullmatch(r"\d{1,3}(?:\.\d{1,3}){3}", address):
        return f"Camera(GenicamSource({address!r}))"
    if address.lower().endswith(_SCANS):
        return f"FileCamera({address!r})"
    if address.lower().endswith(".cfg"):
        return f"Camera(MicroManagerSource({address!r}))"
    if address.lower().endswith(_IMAGES) or re.match(r"[./~]", address):
        return f"FileCamera(projections={address!r})"
    # Records of EPICS have colons; "pva://" says how they are had.
    if re.fullmatch(r"(?:pva://|ca://)?[\w.{}<>;$()-]+(?::[\w.{}<>;$()-]*)+", address):
        return f"AreaDetectorCamera({address!r})"
    return ""
