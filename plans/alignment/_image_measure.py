"""Numbers made of frames, as devices that are read."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from bluesky.protocols import HasName
from numpy.typing import NDArray

from concertino import ParameterError
from concertino.plans.core._cameras import check_camera
from concertino.plans.core._offers import Reads
from concertino.plans.core._protocols import FrameCamera
from concertino.plans.stubs._frame_tap import FrameTap
from concertino.units import convert_count


class ImageMeasure:
    """A number made of a camera's last frames: a readable device for scans and searches.

    The plans of this package trigger its camera before they read it. Plans of bluesky do, too, when
    they get ``[camera, measure]`` as detectors and ``BLUESKY_PREDECLARE=1`` is in the environment.

    Parameters
    ----------
    camera : FrameCamera
        Takes software triggers.
    function : callable
        Takes a frame (height, width), or with `frames` more than 1 so many (n, height, width);
        returns a number. It runs in a thread.
    name : str
        Name of the device and data key; the function's name by default.
    frames : int
        How many frames one reading takes.
    unit : str
        Of the number.

    Raises
    ------
    ParameterError
        If the function cannot be called, or the camera has no frame stream.

    Examples
    --------
    >>> import numpy as np
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import ImageMeasure
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> ImageMeasure(b.camera, np.mean).name
    'mean'
    """

    parent = None

    def __init__(
        self,
        camera: FrameCamera,
        function: Callable[[NDArray[Any]], float],
        *,
        name: str = "",
        frames: int = 1,
        unit: str = "",
    ) -> None:
        check_camera(camera)
        if not callable(function):
            raise ParameterError(
                f"function: {function!r} cannot be called. Give a function of a frame that returns "
                "a number, such as concertino.reconstruction.sharpness."
            )
        self.camera = camera
        self.function = function
        self.frames = convert_count(frames, parameter="frames")
        self.name = name or getattr(function, "__name__", "measure")
        self.unit = unit
        self._tap = FrameTap(camera, f"measure {self.name}", keep=self.frames)
        self._wanted = 0

    @property
    def hints(self) -> dict[str, list[str]]:
        """What is to be plotted."""
        return {"fields": [self.name]}

    async def describe(self) -> dict[str, Any]:
        """Describe the number, and listen to the stream that the camera is prepared for."""
        await self._tap.attach()
        self._wanted = 0
        key: dict[str, Any] = {
            "source": f"{self.camera.name}: {getattr(self.function, '__qualname__', self.name)}",
            "dtype": "number",
            "shape": [],
        }
        return {self.name: {**key, "units": self.unit} if self.unit else key}

    async def read(self) -> dict[str, Any]:
        """Wait for the frames of one reading, and return the number.

        Raises
        ------
        CameraError
            If they do not come.
        ParameterError
            If the function returns no finite number.
        """
        self._wanted += self.frames
        value = await asyncio.to_thread(self._measure, self._wanted)
        return {self.name: {"value": value, "timestamp": time.time()}}

    def _measure(self, wanted: int) -> float:
        frames = self._tap.newest(wanted)
        value = self.function(frames if self.frames > 1 else frames[-1])
        if not (np.isscalar(value) or np.ndim(value) == 0) or not np.isfinite(value):
            raise ParameterError(
                f"function: {self.name} of frame {wanted - 1} of camera {self.camera.name} is "
                f"{value!r}. Give a function that returns a finite number."
            )
        return float(value)


def check_measures(measures: Any) -> list[Any]:
    """Return the measures as a list, after checking that each can be read.

    Raises
    ------
    ParameterError
        If one cannot, there is none, or measures of frames do not go together.
    """
    several = list(measures) if isinstance(measures, Sequence) else [measures]
    for measure in several:
        if isinstance(measure, FrameCamera):
            raise ParameterError(
                f"measures: camera {measure.name} gives frames and no number. Wrap it with a function "
                "of a frame: ImageMeasure(camera, function)."
            )
        if isinstance(measure, str) or not (
            isinstance(measure, Reads) and isinstance(measure, HasName)
        ):
            raise ParameterError(
                f"measures: {measure!r} cannot be read. Give readable devices, or ImageMeasure(camera, "
                "function) for a function of a frame."
            )
    if not several:
        raise ParameterError("measures: there are none. Give at least one readable device.")
    images = [measure for measure in several if isinstance(measure, ImageMeasure)]
    for image in images[1:]:
        if image.camera is not images[0].camera or image.frames != images[0].frames:
            raise ParameterError(
                f"measures: {image.name} takes {image.frames} frames of camera {image.camera.name}, "
                f"and {images[0].name} takes {images[0].frames} of {images[0].camera.name}. Give "
                "measures of the same camera and number of frames, or scan twice."
            )
    return several
