"""Every setting's default, and every choice there is, on a clean phantom with a known value.

A setting that is new has no row in the table, and fails this until it has one.
"""

import typing
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino.reconstruction import ReconstructionSettings, backends, reconstruct

from .analytic import Array, disc_lines
from .oracle import WINDOWS, disc_found
from .phantoms import blob_image, blob_sinogram, inside

MU, COLUMNS, ROWS, CENTER = 0.02, 128, 3, 63.2
ANGLES = np.arange(300) * np.pi / 300
DISC = (6.3, -9.6, 10.0, MU)
BODY = (15.3, 9.1, 43.0, MU)  # off centre, as no stripe removal tells a centred one from rings
CLOSE = 0.01
#: What is said of stripe removal and of phase retrieval, whose own tests vary the object.
STRIPES, PHASE = 0.02, 0.02

#: What a row is judged by: settings to try, and how far the value may be off.
Row = list[tuple[dict[str, Any], float]]


def right(*tries: dict[str, Any], within: float = CLOSE) -> Row:
    return [(values, within) for values in tries]


def choices(name: str, *, but: tuple[str, ...] = (), within: float = CLOSE) -> Row:
    """Every choice of a setting, as its annotation tells them."""
    annotation = ReconstructionSettings.model_fields[name].annotation
    return [({name: c}, within) for c in typing.get_args(annotation) if c not in but]


OPTICS: dict[str, Any] = {
    "energy_kev": 20.0,
    "propagation_distance_mm": 100.0,
    "pixel_size_um": 1.0,
}
METHODS: Row = choices("phase_method", but=("none",), within=PHASE)
ELSEWHERE: Row = right({})
"""The default stands for a parallel beam on an upright axis, which the phantom is; other values are test_values'."""

TABLE: dict[str, Row] = {
    "backend": choices("backend"),
    "slices": right({}, {"slices": (1,)}),
    "region": right({"region": (0, 3, 1)}),
    "z_parameter": right({"z_parameter": "center", "region": (CENTER, CENTER + 1, 1.0)}),
    "x_region": right({"x_region": (-63.5, 64.5, 1.0)}),
    "y_region": right({"y_region": (-63.5, 64.5, 1.0)}),
    "center": right({"center": None}),
    "overall_angle": ELSEWHERE,
    "darks": choices("darks"),
    "flats": choices("flats"),
    "flats_after": choices("flats_after"),
    "dark_scale": ELSEWHERE,
    "flat_scale": ELSEWHERE,
    "absorptivity": right({}, {"absorptivity": True}),
    "minimum_transmission": ELSEWHERE,
    "fix_nonfinite": right({}, {"fix_nonfinite": False}),
    "zinger_threshold": right({}, {"zinger_threshold": 0.3}),
    "stripe_removal": choices("stripe_removal", within=STRIPES),
    "stripe_width": choices("stripe_removal", within=STRIPES),
    "half_acquisition": right({}, {"half_acquisition": False}),
    "filter": choices("filter", but=("none", "faris-byer")),  # these two: the contract of back ends
    "cutoff": choices("filter", but=("none", "faris-byer")),
    "butterworth_order": right({"filter": "butterworth"}),
    "padding": choices("padding", but=("mirror",)),  # said to be wrong of what is inside the field
    "memory_gib": ELSEWHERE,
    "threads": ELSEWHERE,
    "projections_per_block": ELSEWHERE,
    "phase_method": METHODS,
    "energy_kev": METHODS,
    "propagation_distance_mm": METHODS,
    "pixel_size_um": METHODS,
    "delta_beta": METHODS,
    "amplification": METHODS,
    "thresholding_rate": METHODS,
    "delta": right({"phase_method": "ctf", "delta": 1e-7}, within=PHASE),
    "center_row": ELSEWHERE,
    "source_distance": right({}, {"source_distance": 1e6}),
    "source_x": ELSEWHERE,
    "source_z": ELSEWHERE,
    "detector_distance": ELSEWHERE,
    "detector_x": ELSEWHERE,
    "detector_z": ELSEWHERE,
    "detector_angle_x": ELSEWHERE,
    "detector_angle_y": ELSEWHERE,
    "detector_angle_z": ELSEWHERE,
    "axis_angle_x": ELSEWHERE,
    "axis_angle_y": ELSEWHERE,
    "axis_angle_z": ELSEWHERE,
    "volume_angle_x": ELSEWHERE,
    "volume_angle_y": ELSEWHERE,
    "volume_angle_z": ELSEWHERE,
}  # fmt: skip


def test_every_setting_has_a_row_and_every_choice_is_tried() -> None:
    fields = ReconstructionSettings.model_fields
    assert set(TABLE) == set(fields), "give the new setting a row"
    for name, field in fields.items():
        if typing.get_origin(field.annotation) is Literal:
            tried = {values.get(name, field.default) for values, _ in TABLE[name]}
            left = {
                "filter": {"none", "faris-byer"},
                "padding": {"mirror"},
                "phase_method": {"none"},
            }
            assert set(typing.get_args(field.annotation)) - tried == left.get(name, set())
    assert set(WINDOWS) == set(typing.get_args(fields["filter"].annotation)) - {
        "none",
        "faris-byer",
    }


def _once() -> dict[str, tuple[dict[str, Any], float]]:
    """Each different try of the table once, by its words; the stricter limit of several."""
    found: dict[str, tuple[dict[str, Any], float]] = {}
    for row in TABLE.values():
        for values, within in row:
            words = ", ".join(f"{key} {value}" for key, value in values.items()) or "defaults"
            found[words] = (values, min(within, found.get(words, (None, within))[1]))
    return found


@pytest.fixture(scope="module")
def counts() -> dict[str, NDArray[np.uint16]]:
    """Counts of a detector whose pixels differ, without noise but for being whole numbers."""
    lines = np.repeat(disc_lines(COLUMNS, ANGLES, CENTER, [DISC, BODY]), ROWS, axis=1)
    random = np.random.default_rng(0)
    gain = random.uniform(40000, 60000, (ROWS, COLUMNS))
    offset = random.uniform(90, 110, (ROWS, COLUMNS)).round()
    flats, darks = (gain + offset)[None], offset[None]
    frames = gain * np.exp(-lines) + offset
    rounded = {"flats": np.repeat(flats, 3, axis=0), "darks": np.repeat(darks, 3, axis=0)}
    return {
        name: np.round(values).astype(np.uint16)
        for name, values in {"projections": frames, **rounded}.items()
    }


@pytest.mark.parametrize(("values", "within"), _once().values(), ids=_once().keys())
def test_the_default_is_right(
    counts: dict[str, NDArray[np.uint16]], values: dict[str, Any], within: float
) -> None:
    if values.get("phase_method", "none") != "none":
        _check_phase(values, within)
        return
    if (name := values.get("backend", "auto")) != "auto":
        known = {backend.name: backend for backend in backends()}
        if not known[name].available:
            pytest.skip(known[name].reason)
    settings = ReconstructionSettings(**({"center": CENTER} | values))
    if settings.z_parameter is not None:
        settings = ReconstructionSettings(**values)
    volume = reconstruct(
        counts["projections"],
        ANGLES,
        darks=counts["darks"],
        flats=counts["flats"],
        settings=settings,
    )
    image = volume[len(volume) // 2].astype(float)
    if settings.stripe_removal != "none":  # what is said of it is about the sample as a whole
        places = np.arange(COLUMNS) - (COLUMNS - 1) / 2
        sample = np.hypot(places - BODY[0], -places[:, None] - BODY[1]) < BODY[2] - 3
        wanted = MU * (1 + DISC[2] ** 2 / (BODY[2] - 3) ** 2)
        assert image[sample].mean() == pytest.approx(wanted, rel=within)
        return
    value, x, y = disc_found(image - MU, *DISC[:3])
    assert value == pytest.approx(MU, rel=within)
    assert (x, y) == pytest.approx(DISC[:2], abs=0.05)


def _fresnel(phase: Array, absorbed: Array, padded: int = 4) -> NDArray[np.float32]:
    """Image of a wave that went through something and on; rows are alike, so one dimension tells."""
    wavelength_um, distance_um = 1.2398419843320026e-3 / 20.0, 100e3
    edge = (padded - 1) * phase.shape[1] // 2
    wave = np.exp(1j * phase - absorbed / 2)
    wave = np.pad(wave, ((0, 0), (edge, edge)), constant_values=1.0)
    frequency = np.fft.fftfreq(wave.shape[1])
    moved = np.fft.ifft(
        np.fft.fft(wave) * np.exp(-1j * np.pi * wavelength_um * distance_um * frequency**2)
    )
    seen = np.abs(moved[:, edge : edge + phase.shape[1]]) ** 2
    return np.repeat(seen[:, None], 4, axis=1).astype(np.float32)


def _check_phase(values: dict[str, Any], within: float) -> None:
    """A weak, smooth object, whose phase shift or attenuation per px is known everywhere."""
    lines, delta_beta = blob_sinogram(96, ANGLES, 47.5), 200.0
    axis = np.arange(96) - 47.5
    truth = blob_image(*np.meshgrid(axis, -axis))
    if values["phase_method"] == "tie":
        scale = 2e-4
        images = _fresnel(-delta_beta / 2 * scale * lines, scale * lines)
        values = values | {"delta_beta": delta_beta}
    else:
        scale = 2e-4  # rad per px
        images = _fresnel(-scale * lines, 0 * lines)
    settings = ReconstructionSettings(**({"center": 47.5, "slices": (1,)} | OPTICS | values))
    image = reconstruct(images, ANGLES, flats=np.ones((1, 4, 96), np.float32), settings=settings)[0]
    wanted = scale * truth
    if settings.delta is not None:
        wanted = wanted / (2 * np.pi * settings.delta / (1.2398419843320026e-3 / 20.0))
    mask = inside(96, 0.9)
    # a constant phase leaves no trace, so only what is above the surroundings is told
    factor, _ = np.polynomial.polynomial.polyfit(wanted[mask], image[mask], (0, 1))[::-1]
    assert factor == pytest.approx(1, rel=within)
