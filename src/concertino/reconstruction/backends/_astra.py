"""The back end `astra`: back projection by the ASTRA toolbox, on a GPU or a processor.

References
----------
W. van Aarle et al., Fast and flexible X-ray tomography using the ASTRA toolbox,
doi:10.1364/OE.24.025129
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from concertino._errors import ParameterError
from concertino._extras import extra
from concertino.reconstruction.kernels._aligned import aligned_zeros
from concertino.reconstruction.preprocessing._filters import factor, filter_response
from concertino.reconstruction.settings._settings import ReconstructionSettings
from concertino.reconstruction.settings._slice_geometry import SliceGeometry

_AT_ONCE = 512  # projections


def _astra() -> Any:
    """ASTRA, which need not be installed: it is asked for when somebody wants it."""
    with extra("astra", "The back end 'astra'"):
        import astra
    return astra


def device() -> tuple[str, bool]:
    """What ASTRA computes on, and whether that is a GPU.

    Raises
    ------
    MissingExtraError
        ASTRA is not installed.
    """
    astra = _astra()
    if astra.use_cuda():
        return str(astra.get_gpu_info()).split(",", maxsplit=1)[0], True
    return "processor", False


class AstraBackProjector:
    """A `BackProjector` that filters here and lets ASTRA back-project.

    The filtered rows are given on half pixels, and what ASTRA's interpolation blurs is undone in the filter: on
    a GPU, linear interpolation of the rows; on a processor, that of its projector, which interpolates
    in the image along the axis that is nearer to the detector's direction.

    Parameters
    ----------
    geometry
        Detector, axis and slices.
    settings
        The filter.
    projections
        Number of projections of the scan.
    on_gpu
        Whether ASTRA has a GPU.
    """

    def __init__(
        self,
        geometry: SliceGeometry,
        settings: ReconstructionSettings,
        projections: int,
        *,
        on_gpu: bool,
    ) -> None:
        self._geometry, self._on_gpu = geometry, on_gpu
        x, y = geometry.x, geometry.y
        self.width = geometry.filter_width
        self.projections = min(projections, _AT_ONCE)
        self.image_shape = (y.count, x.count)
        response = filter_response(settings, self.width) * factor(settings.filter)
        self._response = response.astype(np.complex64)
        half = x.step / 2, y.step / 2
        self._volume = _astra().create_vol_geom(
            y.count,
            x.count,
            x.start - half[0],
            x.start + (x.count - 1) * x.step + half[0],
            -(y.start + (y.count - 1) * y.step) - half[1],
            -y.start + half[1],
        )
        self._rows = self._images = aligned_zeros((0, 0, 0))
        self._gain = 0.0

    def workspace(self, slices: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Give memory; as `BackProjector.workspace`."""
        if len(self._rows) != slices:
            self._rows = aligned_zeros((slices, self.projections, self.width))
            self._images = aligned_zeros((slices, *self.image_shape))
        return self._rows, self._images

    def add(self, angles: NDArray[np.float64], pool: ThreadPoolExecutor) -> None:
        """Filter, and have ASTRA back-project; as `BackProjector.add`."""
        # what ASTRA makes of ones is asked of it: its versions scale in different ways
        self._gain = self._gain or self._of_ones()
        before = (self.width - self._geometry.columns) // 2
        # from the rotation axis to the middle of a row whose first half pixel is the detector's left one
        aside = (2 * self.width - 1) / 4 - (self._geometry.center + before)
        detector = _detector(angles, 2 * self.width, aside)
        response = self._response * self._sharpening(angles) / np.float32(self._gain)
        for rows, image in zip(self._rows[:, : len(angles)], self._images, strict=True):
            filtered = _on_half_pixels(rows, response)
            image += self._back_projected(
                np.roll(filtered, 2 * before, axis=1), detector, self._volume
            )

    def _sharpening(self, angles: NDArray[np.float64]) -> NDArray[np.float32]:
        """What undoes the interpolation, float32, (projection, frequency)."""
        frequency = np.fft.fftfreq(self.width)[None]
        if self._on_gpu:
            blurred = np.full((len(angles), 1), 0.5) * frequency
        else:
            step = self._geometry.x.step
            blurred = (
                np.maximum(np.abs(np.cos(angles)), np.abs(np.sin(angles)))[:, None] * frequency
            )
            blurred = blurred * step
        return np.asarray(1.0 / np.sinc(blurred) ** 2, dtype=np.float32)

    def _of_ones(self) -> float:
        """What a projection of ones on half pixels becomes in the middle of a small image."""
        ones = np.ones((1, 64), np.float32)
        small = _astra().create_vol_geom(8, 8)
        image = self._back_projected(ones, _detector(np.zeros(1), 64, 0.0), small)
        return float(image[2:6, 2:6].mean())

    def _back_projected(
        self, rows: NDArray[np.float32], detector: Any, volume: Any
    ) -> NDArray[np.float32]:
        astra = _astra()
        data = astra.data2d.create("-sino", detector, np.ascontiguousarray(rows))
        result = astra.data2d.create("-vol", volume)
        settings = astra.astra_dict("BP_CUDA" if self._on_gpu else "BP")
        settings.update(ProjectionDataId=data, ReconstructionDataId=result)
        projector = None
        if not self._on_gpu:
            projector = astra.create_projector("linear", detector, volume)
            settings["ProjectorId"] = projector
        algorithm = astra.algorithm.create(settings)
        try:
            astra.algorithm.run(algorithm)
            image: NDArray[np.float32] = astra.data2d.get(result)
            return image
        finally:
            astra.algorithm.delete(algorithm)
            astra.data2d.delete([data, result])
            if projector is not None:
                astra.projector.delete(projector)


def _detector(angles: NDArray[np.float64], count: int, aside: float) -> Any:
    """ASTRA's geometry of projections on half pixels, whose middle is `aside` of the axis in px."""
    cosines, sines = np.cos(angles), np.sin(angles)
    vectors = np.stack(
        [sines, -cosines, aside * cosines, aside * sines, cosines / 2, sines / 2], axis=1
    )
    return _astra().create_proj_geom("parallel_vec", count, vectors)


def _on_half_pixels(
    rows: NDArray[np.float32], response: NDArray[np.complexfloating]
) -> NDArray[np.float32]:
    """Filter rows (projection, width), with a response for each, and give them on half pixels."""
    count, width = rows.shape
    spectra = scipy.fft.rfft(rows, axis=1) * response[:, : width // 2 + 1]
    spectra[:, -1] *= 0.5  # the Nyquist frequency stands on both sides of a longer spectrum
    longer = np.zeros((count, width + 1), np.complex64)
    longer[:, : width // 2 + 1] = spectra
    return np.asarray(2.0 * scipy.fft.irfft(longer, 2 * width, axis=1), dtype=np.float32)


def check_steps(settings: ReconstructionSettings, *, on_gpu: bool) -> None:
    """Refuse image pixels that ASTRA's projectors cannot have.

    Raises
    ------
    ParameterError
        They are not squares, or on a processor not as large as the detector's.
    """
    steps = [region[2] if region else 1.0 for region in (settings.x_region, settings.y_region)]
    if steps[0] != steps[1]:
        raise ParameterError(
            "backend: 'astra' has square image pixels only, and x_region has the step "
            f"{steps[0]:g}, y_region {steps[1]:g}; use backend='cpu'."
        )
    if not on_gpu and steps[0] != 1.0:
        raise ParameterError(
            "backend: 'astra' without a GPU has image pixels of the detector's size only, and the "
            f"step of x_region and y_region is {steps[0]:g}; use backend='cpu'."
        )
