"""Micro-Manager's own demonstration camera, in a core of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymmcore_plus import CMMCorePlus

LABEL = "Cam"


@contextmanager
def demo_core(*, megabytes: int = 64) -> Iterator["CMMCorePlus"]:
    """Load the camera, set to small frames of 16 bit."""
    import mm_test_adapters
    from pymmcore_plus import CMMCorePlus

    core = CMMCorePlus()
    core.setDeviceAdapterSearchPaths([str(mm_test_adapters.device_adapter_path())])
    core.loadDevice(LABEL, "DemoCamera", "DCam")
    core.initializeDevice(LABEL)
    core.setCameraDevice(LABEL)
    core.setProperty(LABEL, "PixelType", "16bit")
    core.setROI(0, 0, 48, 32)
    core.setExposure(1.0)
    core.setCircularBufferMemoryFootprint(megabytes)
    try:
        yield core
    finally:
        if LABEL in core.getLoadedDevices() and core.isSequenceRunning(LABEL):
            core.stopSequenceAcquisition(LABEL)
        core.unloadAllDevices()
