"""What an areaDetector's driver tells by itself: how many frames it has exposed, and of which shape."""

from typing import Any

import numpy as np
from ophyd_async.core import SignalR, StandardDetector


def exposure_counter(detector: StandardDetector) -> SignalR[int] | None:
    """Return what counts the exposures of a detector; None when it only counts what it has written.

    Of an areaDetector that is its driver's array counter, which goes on when a plugin loses a frame.
    """
    try:
        from ophyd_async.epics.adcore import AreaDetector
    except ImportError:  # Then it is none.
        return None
    return detector.driver.array_counter if isinstance(detector, AreaDetector) else None


async def present_frames(
    detector: StandardDetector,
) -> tuple[tuple[int, int], np.dtype[Any]] | None:
    """Return shape (height, width) and type of the frames that a detector would take now; None when it does not tell.

    Only an areaDetector does before it is prepared, by its driver's sizes.
    """
    try:
        from ophyd_async.epics.adcore import ADBaseDataType, AreaDetector
    except ImportError:
        return None
    if not isinstance(detector, AreaDetector):
        return None
    driver = detector.driver
    height, width = await driver.array_size_y.get_value(), await driver.array_size_x.get_value()
    pixel = await driver.data_type.get_value()
    if min(height, width) < 1 or pixel is ADBaseDataType.UNDEFINED:
        return None  # It has taken none yet.
    return (int(height), int(width)), np.dtype(pixel.value.lower())
