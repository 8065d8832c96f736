"""Region, binning, mirror and rotation of frames, for sources whose cameras have none of their own."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._camera_setting import ChoiceSetting, IntegerSetting, Region, RegionSetting
from ._frame_source import CameraSettings

BINNINGS = (1, 2, 4, 8)


def shaping_settings(
    sensor: tuple[int, int],
) -> tuple[RegionSetting | IntegerSetting | ChoiceSetting, ...]:
    """Return the settings ``region``, ``binning``, ``mirror`` and ``rotate``, as `shaped` takes them.

    Parameters
    ----------
    sensor : tuple of int
        Height and width of a whole frame, in pixels.
    """
    binnings = tuple(binning for binning in BINNINGS if binning <= min(sensor))
    return (
        RegionSetting(value=Region(0, 0, *sensor), sensor=sensor),
        IntegerSetting(name="binning", value=1, choices=binnings),
        ChoiceSetting(
            name="mirror", value="none", choices=("none", "horizontal", "vertical", "both")
        ),
        IntegerSetting(name="rotate", value=0, unit="deg", choices=(0, 90, 180, 270)),
    )


def shape_of(settings: CameraSettings, sensor: tuple[int, int]) -> tuple[int, int]:
    """Return the shape of what `shaped` makes of a frame of the whole sensor, in pixels.

    Rows and columns that do not fill a binned pixel are left out.
    """
    region = settings.region or Region(0, 0, *sensor)
    height, width = region.height // settings.binning, region.width // settings.binning
    return (width, height) if settings.rotate in (90, 270) else (height, width)


def shaped(frames: NDArray[Any], settings: CameraSettings) -> NDArray[Any]:
    """Return the region of interest of frames, binned, then mirrored, then rotated.

    Parameters
    ----------
    frames : ndarray, shape (…, height, width)
        Of the whole sensor.
    settings : CameraSettings
        With them. The counts of the pixels that make one are averaged, and rounded if they are whole.

    Returns
    -------
    ndarray, shape (…, height, width)
        A view of the frames, unless they are binned.
    """
    region, by = settings.region, settings.binning
    if region is not None:
        rows = slice(region.row, region.row + region.height)
        frames = frames[..., rows, region.column : region.column + region.width]
    if by > 1:
        *stack, height, width = frames.shape
        whole = frames[..., : height // by * by, : width // by * by]
        mean = whole.reshape(*stack, height // by, by, width // by, by).mean(axis=(-3, -1))
        frames = (np.rint(mean) if frames.dtype.kind in "ui" else mean).astype(frames.dtype)
    if settings.mirror in ("horizontal", "both"):
        frames = frames[..., ::-1]
    if settings.mirror in ("vertical", "both"):
        frames = frames[..., ::-1, :]
    return np.rot90(frames, settings.rotate // 90, axes=(-2, -1)) if settings.rotate else frames
