"""What a user reads who asked for something impossible."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from concertino import ParameterError, ReconstructionError
from concertino.reconstruction import (
    ReconstructionSettings,
    Reconstructor,
    backends,
    find_axis,
    reconstruct,
)

COUNTS = np.full((8, 2, 32), 100, np.uint16)


def _settings(**values: Any) -> Callable[[], object]:
    return lambda: ReconstructionSettings(**values)


def _job(**values: Any) -> Reconstructor:
    arguments = {"num_projections": 8, "frame_shape": (2, 32), **values}
    settings = arguments.pop("settings", ReconstructionSettings())
    return Reconstructor(settings, **arguments)


def _twice() -> None:
    job = _job()
    job.add_projections(COUNTS[:4], 0)
    job.add_projections(COUNTS[:4], 3)


def _two_dtypes() -> None:
    job = _job()
    job.add_projections(COUNTS[:4], 0)
    job.add_projections(COUNTS[4:].astype(np.float32), 4)


CASES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "unknown setting": (_settings(centre=3), ParameterError, "centre: there is no such setting"),
    "unknown filter": (_settings(filter="box"), ParameterError, r"filter: .*'ramp'.* got 'box'"),
    "cutoff": (_settings(cutoff=1.5), ParameterError, "cutoff: .*less than or equal to 1, got 1.5"),
    "nan centre": (_settings(center=float("nan")), ParameterError, "center must be a finite number"),
    "negative row": (_settings(slices=(2, -1)), ParameterError, "row -1 is negative"),
    "no row": (_settings(slices=()), ParameterError, "at least one row is needed"),
    "both": (_settings(slices=(1,), region=(0, 1, 1)), ParameterError, "give one of them"),
    "empty region": (_settings(x_region=(5, 5, 1)), ParameterError, "needs from < to and step > 0"),
    "centre outside": (
        lambda: _job(settings=ReconstructionSettings(center=32)),
        ParameterError,
        r"center: 32 px lies outside of the frame \(columns 0 to 31\)",
    ),
    "row outside": (
        lambda: _job(settings=ReconstructionSettings(slices=(0, 2))),
        ParameterError,
        "Row 2 was asked for, and the frames have the rows 0 to 1",
    ),
    "one projection": (lambda: _job(num_projections=1), ParameterError, "num_projections: 1 was given; give 2 or more"),
    "degrees": (
        lambda: _job(num_projections=181, angles=np.arange(181)),
        ParameterError,
        "go from 0 to 180 in about even steps, which looks like degrees; give radians",
    ),
    "degrees, end excluded": (
        lambda: find_axis(np.ones((90, 1, 16), np.float32), np.arange(90) * 4.0),
        ParameterError,
        "go from 0 to 356 in about even steps, which looks like degrees",
    ),
    "degrees of an encoder, some lost": (
        lambda: _job(
            num_projections=188,
            angles=np.delete(np.arange(200) * 0.9, slice(50, 62))
            + np.random.default_rng(0).normal(0, 0.02, 188),
        ),
        ParameterError,
        "which looks like degrees",
    ),
    "golden degrees": (
        lambda: _job(num_projections=300, angles=np.arange(300) * 111.246 % 180),
        ParameterError,
        "which looks like degrees",
    ),
    "half acquisition over half a turn": (
        lambda: _job(
            num_projections=100, angles=np.arange(100) * np.pi / 100,
            settings=ReconstructionSettings(center=8, half_acquisition=True),
        ),
        ParameterError,
        "needs projections over 360 deg, these cover 180.0 deg. Scan a full turn",
    ),
    "tilt in degrees": (
        _settings(axis_angle_x=30),
        ParameterError,
        "axis_angle_x is 30 rad, more than half a turn; if it was meant in degrees, give 0.5236",
    ),
    "MeV": (_settings(energy_kev=0.02), ParameterError, "if it was meant in MeV, give 20"),
    "pixel in mm": (_settings(pixel_size_um=0.001), ParameterError, "if it was meant in mm, give 1,"),
    "eV": (
        _settings(energy_kev=20000),
        ParameterError,
        "energy_kev: 20000 keV is no energy of X-ray imaging; if it was meant in eV, give 20",
    ),
    "wide pixels": (
        lambda: _job(
            num_projections=400, frame_shape=(200, 512),
            settings=ReconstructionSettings(memory_gib=0.09, center=255.5),
        ).add_projections(np.ones((2, 200, 512), np.float32), 0),
        ReconstructionError,
        "slices of 400 projections need",
    ),
    "nan angle": (
        lambda: _job(angles=[0, 1, np.nan, 3, 4, 5, 6, 7]),
        ParameterError,
        r"angles: number 2 is nan \(1 of 8 are not finite\)",
    ),
    "angle count": (
        lambda: _job(angles=[0, 1]), ParameterError, r"shape \(2,\) was given for 8 projections",
    ),
    "frame shape": (lambda: _job(frame_shape=(32,)), ParameterError, r"give \(rows, columns\)"),
    "memory": (
        lambda: _job(settings=ReconstructionSettings(memory_gib=1e-6)),
        ReconstructionError,
        "2 slices of 8 projections need .* GiB are allowed; take about 1 slices",
    ),
    "shapes differ": (
        lambda: _job().add_darks(np.zeros((3, 2, 31))),
        ReconstructionError,
        r"darks of shape \(2, 31\) do not fit this reconstruction's frames of shape \(2, 32\)",
    ),
    "complex": (
        lambda: _job().add_flats(np.zeros((2, 32), complex)), ReconstructionError, "dtype complex",
    ),
    "index": (
        lambda: _job().add_projections(COUNTS, 1),
        ReconstructionError,
        "Projections 1 to 8 were given, and the scan has 0 to 7",
    ),
    "cut rows": (
        lambda: _job().add_projections(COUNTS[:, 1:], 0, first_row=1),
        ReconstructionError,
        "cut to the rows 1 to 1, and the rows 0 to 1 are kept; give these",
    ),
    "twice": (_twice, ReconstructionError, "Projection 3 was given twice"),
    "two dtypes": (_two_dtypes, ReconstructionError, "4 to 7 are float32, .* were uint16"),
    "no flats": (
        lambda: reconstruct(COUNTS),
        ReconstructionError,
        r"No flats were given but the projections are counts \(uint16\).*absorptivity=False",
    ),
    "beam off": (
        lambda: reconstruct(COUNTS, darks=COUNTS[:2], flats=COUNTS[:2]),
        ReconstructionError,
        r"The flats \(mean 100\) are nowhere brighter than the darks \(mean 100\)\. Take flats with the ",
    ),
    "nothing came": (
        lambda: _job().slices(), ReconstructionError, "0 of 8 projections have come, and at least 1",
    ),
    "too few came": (
        lambda: _job().finish(), ReconstructionError, "0 of 8 projections have come, and at least 2",
    ),
    "not a stack": (
        lambda: find_axis(COUNTS[0]), ReconstructionError, r"shape \(2, 32\) was given; give one of \(angle, row, column\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("ask", "error", "message"), CASES.values(), ids=CASES.keys())
def test_the_message_says_what_is_wrong(
    ask: Callable[[], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ask()


def test_settings_go_through_json_and_stay_frozen() -> None:
    settings = ReconstructionSettings(slices=(3, 1), filter="hann", x_region=(-1, 5, 0.5))
    assert ReconstructionSettings.model_validate_json(settings.model_dump_json()) == settings
    with pytest.raises(ValueError, match="frozen"):
        settings.center = 3.0  # type: ignore[misc]
    assert settings.updated(center=3).center == 3.0
    for name, field in ReconstructionSettings.model_fields.items():
        assert field.description, f"{name} has no description"


def test_a_backend_is_there() -> None:
    assert any(backend.available for backend in backends())


def test_the_import_is_light() -> None:
    code = (
        "import sys, concertino.reconstruction;"
        "print([name for name in ('numba', 'scipy', 'h5py', 'bluesky') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
