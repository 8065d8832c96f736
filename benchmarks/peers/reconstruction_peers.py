"""Other programs that reconstruct slices on a CPU, each as a function that gives a function to time."""

from collections.abc import Callable

import numpy as np
import scipy.fft
from phantoms import Slices, ramp_filtered


def with_finufft(stack: Slices) -> Callable[[], Slices]:
    import finufft

    slices, count, size = stack.shape
    k = np.arange(-(size // 2), size - size // 2)
    angles = np.arange(count) * np.pi / count
    kx = 2 * np.pi / size * k[None] * np.cos(angles)[:, None]
    ky = -2 * np.pi / size * k[None] * np.sin(angles)[:, None]
    plan = finufft.Plan(1, (size, size), eps=1e-3, isign=1, dtype="complex64", nthreads=2)
    plan.setpts(*(np.ascontiguousarray(f.ravel().astype(np.float32)) for f in (ky, kx)))
    phase = np.exp(0.5j * (kx + ky) + 2j * np.pi * k * (size - 1) / 2 / size)
    phase = (phase * np.pi / count / size).astype(np.complex64)

    def run() -> Slices:
        filtered = ramp_filtered(stack)
        pairs = np.empty((slices // 2, count, size), np.complex64)
        pairs.real, pairs.imag = filtered[0::2], filtered[1::2]
        spectra = scipy.fft.fft(pairs, axis=-1, workers=2, overwrite_x=True)
        spectra = np.concatenate(
            [spectra[..., -(size // 2) :], spectra[..., : size - size // 2]], -1
        )
        spectra *= phase
        out = np.empty((slices, size, size), np.float32)
        for pair in range(slices // 2):
            result = plan.execute(spectra[pair].ravel())
            out[2 * pair], out[2 * pair + 1] = result.real, result.imag
        return out

    return run


def with_astra(stack: Slices) -> Callable[[], Slices]:
    import astra

    count, size = stack.shape[1:]
    geometry = astra.create_proj_geom("parallel", 1.0, size, np.arange(count) * np.pi / count)
    volume = astra.create_vol_geom(size, size)
    projector = astra.create_projector("linear", geometry, volume)

    def run() -> Slices:
        filtered = ramp_filtered(stack[:1])
        sino = astra.data2d.create("-sino", geometry, filtered[0].copy())
        result = astra.data2d.create("-vol", volume)
        config = astra.astra_dict("BP")
        config.update(ProjectorId=projector, ProjectionDataId=sino, ReconstructionDataId=result)
        algorithm = astra.algorithm.create(config)
        astra.algorithm.run(algorithm)
        out = astra.data2d.get(result) * np.float32(np.pi / count)
        astra.algorithm.delete(algorithm)
        astra.data2d.delete([sino, result])
        return out[None]

    return run


def with_algotom(stack: Slices) -> Callable[[], Slices]:
    import algotom.rec.reconstruction as rec

    count, size = stack.shape[1:]
    angles = np.arange(count) * np.pi / count
    return lambda: rec.fbp_reconstruction(
        stack[0],
        (size - 1) / 2,
        angles=angles,
        apply_log=False,
        gpu=False,
        ratio=None,
        filter_name=None,
        ncore=2,
    )[None]


def with_scikit_image(stack: Slices) -> Callable[[], Slices]:
    from skimage.transform import iradon

    count = stack.shape[1]
    degrees = np.arange(count) * 180 / count
    return lambda: iradon(stack[0].T, degrees, circle=True).astype(np.float32)[None]


PEERS: dict[str, Callable[[Slices], Callable[[], Slices]]] = {
    "finufft": with_finufft,
    "astra linear": with_astra,
    "algotom fbp": with_algotom,
    "scikit-image": with_scikit_image,
}
