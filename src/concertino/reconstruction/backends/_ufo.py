"""The back end `ufo`: filtered back projection by UFO over OpenCL.

References
----------
M. Vogelgesang et al., Real-time image-content-based beamline control for smart 4D X-ray imaging,
doi:10.1107/S1600577516010195
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from concertino.reconstruction.kernels._announce import announce_ufo
from concertino.reconstruction.preprocessing._filters import factor, filter_response
from concertino.reconstruction.settings._settings import ReconstructionSettings
from concertino.reconstruction.settings._slice_geometry import SliceGeometry

from ._ufo_graph import SharedArrays, graph, half_pixel_response, widened
from ._ufo_process import SharedMemory, UfoProcess

_AT_ONCE = 512  # projections: a device need not hold a whole sinogram and its spectrum
_PATIENCE_S = 120.0
_SLOWEST = 2e7  # updates a second: less is not computing any more


class UfoBackProjector:
    """A `BackProjector` that lets UFO compute in its process.

    Parameters
    ----------
    process
        Where UFO runs.
    geometry
        Detector, axis and slices.
    settings
        The filter.
    projections
        Number of projections of the scan.
    """

    def __init__(
        self,
        process: UfoProcess,
        geometry: SliceGeometry,
        settings: ReconstructionSettings,
        projections: int,
    ) -> None:
        self._process, self._geometry = process, geometry
        least = geometry.filter_width
        self.width = 2 ** (least - 1).bit_length()  # all that UFO's transform takes
        self.projections = min(projections, _AT_ONCE)
        self.image_shape = (geometry.y.count, geometry.x.count)
        response = filter_response(settings, least) * complex(factor(settings.filter))
        wide = widened(response, self.width)
        self._response = half_pixel_response(wide).view(np.float32)
        self._arrays: SharedArrays | None = None
        self._memory: SharedMemory | None = None
        self._views: dict[str, NDArray[np.float32]] = {}

    def workspace(self, slices: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Give memory that UFO sees too; as `BackProjector.workspace`."""
        arrays = SharedArrays(slices, self.projections, self.width, *self.image_shape)
        if arrays != self._arrays:
            self._views = {}
            offsets = arrays.offsets
            self._memory, self._arrays = SharedMemory(offsets["end"]), arrays
            self._views = {
                name: np.frombuffer(
                    self._memory.memory, np.float32, int(np.prod(shape)), offsets[name]
                ).reshape(shape)
                for name, shape in arrays.shapes.items()
            }
            self._views["response"][:] = self._response
            self._views["rows"][:, -1, 0] = 1.0  # the rest of new memory is zero
        return self._views["rows"][:, :-1], self._views["images"]

    def add(self, angles: NDArray[np.float64], pool: ThreadPoolExecutor) -> None:
        """Have UFO filter and back-project; as `BackProjector.add`."""
        assert self._arrays is not None
        assert self._memory is not None
        before = (self.width - self._geometry.columns) // 2
        places = self._views["places"]
        last = self.width - before - 1
        places[:, 0] = (len(angles), -2 * before, 2 * last, self.width)
        places[:, 1, 0] = self.projections
        places[:, 2 : len(angles) + 2, :3] = 2.0 * self._geometry.places(angles)
        devices, _ = self._process.devices()
        announce_ufo(devices)
        slices, height, width = self._views["images"].shape
        updates = slices * height * width * len(angles)
        self._process.run(
            graph(self._arrays),
            self._memory,
            f"it reconstructed {slices} slices of {height} x {width} px from {len(angles)} "
            "projections",
            _PATIENCE_S + updates / _SLOWEST,
        )
