"""Zingers, stripes, phase and half acquisition: what was put in comes out again."""

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino import ParameterError
from concertino.reconstruction import ReconstructionSettings, Reconstructor, reconstruct
from tests.reconstruction.analytic import ball_lines, disc_lines
from tests.reconstruction.phantoms import blob_image, blob_sinogram, inside, rms

COLUMNS, COUNT = 128, 200
HALF = np.arange(COUNT) * np.pi / COUNT
CENTER = 63.5
MIDDLE = np.arange(COLUMNS) - (COLUMNS - 1) / 2
TRUTH = blob_image(*np.meshgrid(MIDDLE, -MIDDLE))
SETTINGS = ReconstructionSettings(center=CENTER)


@pytest.fixture(scope="module")
def lines() -> NDArray[np.float64]:
    return blob_sinogram(COLUMNS, HALF, CENTER)


def test_zingers_are_taken_out(lines: NDArray[np.float64]) -> None:
    counts = 5000 * np.exp(-0.05 * lines)
    flats = np.full((1, 1, COLUMNS), 5000.0)
    generator = np.random.default_rng(0)
    hit = generator.random(counts.shape) < 0.003
    spoilt = np.where(hit, 60000.0, counts)[:, None]
    clean = reconstruct(counts[:, None], HALF, flats=flats, settings=SETTINGS)[0]
    bad = reconstruct(spoilt, HALF, flats=flats, settings=SETTINGS)[0]
    mended = reconstruct(
        spoilt, HALF, flats=flats, settings=SETTINGS.updated(zinger_threshold=0.3)
    )[0]
    mask = inside(COLUMNS)
    assert rms(mended - clean, mask) < 0.05 * rms(bad - clean, mask)


@pytest.mark.parametrize("method", ["normalisation", "fourier-wavelet", "sorting"])
def test_rings_fade_and_the_sample_stays(lines: NDArray[np.float64], method: str) -> None:
    stripes = np.zeros(COLUMNS)
    stripes[[20, 41, 42, 70, 99]] = [5.0, -4.0, -3.0, 6.0, -4.0]
    striped = (lines + stripes).astype(np.float32)[:, None]
    ringed = reconstruct(striped, HALF, settings=SETTINGS)[0]
    settings = SETTINGS.updated(stripe_removal=method, stripe_width=9)
    calm = reconstruct(striped, HALF, settings=settings)[0]
    mask = inside(COLUMNS)
    assert rms(calm - TRUTH, mask) < 0.5 * rms(ringed - TRUTH, mask)
    untouched = reconstruct(lines.astype(np.float32)[:, None], HALF, settings=settings)[0]
    assert rms(untouched - TRUTH, mask) < 0.25 * rms(TRUTH, mask)


@pytest.mark.parametrize("method", ["normalisation", "fourier-wavelet", "sorting"])
def test_a_clean_sample_keeps_its_mean(method: str) -> None:
    """A disc off centre with bubbles: no method may take more than 2 % of its mean by default."""
    random = np.random.default_rng(5)
    discs = [(40.0, 20.0, 70.0, 0.02)]
    for _ in range(60):
        x, y = random.uniform(-0.6, 0.6, 2) * 70 + (40, 20)
        discs.append((x, y, random.uniform(3, 8), -0.01))
    angles = np.arange(400) * np.pi / 400
    clean = disc_lines(256, angles, 127.5, discs)
    settings = ReconstructionSettings(center=127.5)
    plain = reconstruct(clean, angles, settings=settings)[0]
    calm = reconstruct(clean, angles, settings=settings.updated(stripe_removal=method))[0]
    y, x = np.mgrid[:256, :256] - 127.5
    sample = np.hypot(x - 40, -y - 20) < 68
    assert calm[sample].mean() == pytest.approx(plain[sample].mean(), rel=0.02)


@pytest.mark.parametrize("spoilt", ["slit", "dead row", "nothing"])
def test_what_is_not_known_is_not_opaque_to_phase_retrieval(spoilt: str) -> None:
    angles = np.arange(60) * np.pi / 60
    lines = ball_lines((40, 64), angles, [(8.0, -4.0, 0.5, 6.0, 0.02)])
    settings = ReconstructionSettings(
        center=31.5, phase_method="tie", energy_kev=20, propagation_distance_mm=50, pixel_size_um=1,
        delta_beta=100, slices=(20,),
    )  # fmt: skip
    lit = np.ones((40, 64))
    if spoilt == "slit":
        lit[:10] = 0
    elif spoilt == "dead row":
        lit[12] = 0
    counts, flats = np.exp(-lines) * lit * 5e4 + 100, lit[None] * 5e4 + 100
    darks = np.full((1, 40, 64), 100.0)
    if spoilt == "nothing":
        counts[7] = np.nan
    y, x = np.mgrid[:64, :64] - 31.5
    empty = (np.hypot(x - 8, -y + 4) > 14) & (np.hypot(x, y) < 30)
    image = reconstruct(
        counts.astype(np.float32), angles, darks=darks, flats=flats, settings=settings
    )
    assert abs(image[0][empty].mean()) < 0.01 * 0.02


def test_stripes_go_with_lost_and_late_projections(lines: NDArray[np.float64]) -> None:
    settings = SETTINGS.updated(stripe_removal="normalisation")
    stack = lines.astype(np.float32)[:, None]
    job = Reconstructor(settings, num_projections=COUNT, frame_shape=(1, COLUMNS), angles=HALF)
    job.add_projections(stack[100:], 100)
    job.slices()
    job.add_projections(stack[:99], 0)
    result = job.finish()
    assert result.missing == (99,)
    whole = reconstruct(stack, HALF, settings=settings)
    assert rms(result.volume[0] - whole[0], inside(COLUMNS)) < 0.02


def _propagated(
    phase: NDArray[np.float64], absorbed: NDArray[np.float64], energy: float, mm: float, um: float
) -> NDArray[np.float32]:
    """Fresnel image of projections (n, row, column)."""
    wavelength = 1.2398419843320026e-3 / energy
    f2 = np.fft.fftfreq(phase.shape[1], um)[:, None] ** 2 + np.fft.fftfreq(phase.shape[2], um) ** 2
    wave = np.exp(-absorbed / 2 + 1j * phase)
    chi = np.exp(-1j * np.pi * wavelength * mm * 1e3 * f2)
    return np.asarray(np.abs(np.fft.ifft2(np.fft.fft2(wave) * chi)) ** 2, dtype=np.float32)


def _bump(rows: int = 48) -> NDArray[np.float64]:
    y, x = np.meshgrid(np.arange(rows) - 23.5, MIDDLE, indexing="ij")
    bump = 5.0 * np.sqrt(2 * np.pi) * np.exp(-(x**2 + y**2) / (2 * 5.0**2))
    return np.asarray(bump[None].repeat(COUNT, 0))


def test_one_material_is_found_by_tie() -> None:
    thickness = _bump()
    absorbed, ratio = 0.01 * thickness, 200.0
    images = _propagated(-ratio / 2 * absorbed, absorbed, 20.0, 60.0, 1.0)
    settings = SETTINGS.updated(
        phase_method="tie",
        energy_kev=20,
        propagation_distance_mm=60,
        pixel_size_um=1,
        delta_beta=ratio,
        slices=(20,),
        absorptivity=True,
    )
    found = reconstruct(images, HALF, settings=settings)[0]
    plain = reconstruct(images, HALF, settings=SETTINGS.updated(slices=(20,), absorptivity=True))[0]
    truth = 0.01 * np.exp(-(MIDDLE[:, None] ** 2 + MIDDLE[None] ** 2 + 3.5**2) / 50)
    mask = inside(COLUMNS, 0.8)
    assert rms(found - truth, mask) < 0.1 * rms(truth, mask)
    assert rms(plain - truth, mask) > rms(truth, mask)


@pytest.mark.parametrize("method", ["ctf", "qp", "qp2"])
def test_a_weak_phase_is_found(method: str) -> None:
    phase = 0.004 * _bump()
    images = _propagated(-phase, np.zeros_like(phase), 20.0, 300.0, 1.0)
    settings = SETTINGS.updated(
        phase_method=method,
        energy_kev=20,
        propagation_distance_mm=300,
        pixel_size_um=1,
        slices=(20,),
    )
    found = reconstruct(images, HALF, settings=settings)[0]
    truth = 0.004 * np.exp(-(MIDDLE[:, None] ** 2 + MIDDLE[None] ** 2 + 3.5**2) / 50)
    mask = inside(COLUMNS, 0.8)
    difference = found - truth
    difference -= difference[mask].mean()  # a constant phase leaves no trace
    assert rms(difference, mask) < 0.25 * rms(truth, mask)


# A ball's diameter in px, and the distance: its Fresnel number d² / (λ z) is 21, 258 and 2629.
@pytest.mark.parametrize(("diameter", "mm"), [(20, 300), (40, 100), (70, 30)])
@pytest.mark.parametrize("method", ["ctf", "qp", "qp2", "tie"])
def test_the_phase_of_a_ball_is_its_refraction(method: str, diameter: int, mm: float) -> None:
    size, fine, off, per_px = 192, 4, 25.0, 0.002
    ratio, angles = 100.0, np.arange(240) * np.pi / 240
    place = (np.arange(size * fine) + 0.5) / fine - size / 2
    chord = 2 * np.sqrt(np.maximum(diameter**2 / 4 - place[:, None] ** 2 - place**2, 0))
    absorbed = 2 * per_px / ratio * chord if method == "tie" else 0 * chord
    image = _propagated(-per_px * chord[None], absorbed[None], 20.0, mm, 1 / fine)[0]
    image = image.reshape(size, fine, size, fine).mean((1, 3))
    spectrum = np.fft.fft2(image - 1)  # the ball turns about an axis beside it
    waves = np.exp(-2j * np.pi * np.fft.fftfreq(size) * off * np.cos(angles)[:, None, None])
    images = (1 + np.fft.ifft2(spectrum * waves).real).astype(np.float32)
    settings = ReconstructionSettings(
        center=(size - 1) / 2, slices=(size // 2,), phase_method=method, energy_kev=20,
        propagation_distance_mm=mm, pixel_size_um=1, delta_beta=ratio,
    )  # fmt: skip
    found = reconstruct(images, angles, settings=settings)[0]
    x, y = np.meshgrid(*2 * [np.arange(size) - (size - 1) / 2])
    apart = np.hypot(x - off, y)
    inside_of_it = found[apart < diameter / 2 - 3].mean()
    around = found[(apart > diameter / 2 + 4) & (apart < diameter / 2 + 10)].mean()
    truth = 2 * per_px / ratio if method == "tie" else per_px
    assert inside_of_it == pytest.approx(truth, rel=0.05)
    assert inside_of_it - around == pytest.approx(truth, rel=0.03)


def test_phase_says_what_it_needs() -> None:
    with pytest.raises(ParameterError, match="'tie' needs delta_beta"):
        ReconstructionSettings(phase_method="tie", propagation_distance_mm=100)
    with pytest.raises(
        ParameterError, match=r"regularization_rate was given, 2\.5, .* give delta_beta"
    ):
        ReconstructionSettings(regularization_rate=2.5)


@pytest.mark.parametrize("center", [14.5, 110.25])
def test_half_acquisition_sees_twice_as_wide(center: float) -> None:
    angles = np.arange(2 * COUNT) * np.pi / COUNT
    wide = 3.0  # the phantom, three times as large, does not fit to one side of the axis
    t = (np.arange(COLUMNS) - center) / wide
    lines = np.stack([
        np.interp(t, np.arange(-100, 101) , row)
        for row in blob_sinogram(201, angles, 100.0)
    ]) * wide  # fmt: skip
    settings = ReconstructionSettings(center=center, half_acquisition=True)
    volume = reconstruct(lines.astype(np.float32)[:, None], angles, settings=settings)
    size = volume.shape[1]
    assert size > 1.7 * COLUMNS
    middle = (np.arange(size) - (size - 1) / 2) / wide
    truth = blob_image(*np.meshgrid(middle, -middle))
    assert rms(volume[0] - truth, inside(size)) < 0.03
    narrow = ReconstructionSettings(
        center=center,
        x_region=(-(size - 1) / 2, size / 2, 1),
        y_region=(-(size - 1) / 2, size / 2, 1),
    )
    seams = reconstruct(lines.astype(np.float32)[:, None], angles, settings=narrow)
    assert rms(seams[0] - truth, inside(size)) > 0.1
