"""Looking and changing settings while projections arrive: no trace in the result but what was asked."""

import threading
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino import ParameterError, ReconstructionError
from concertino.reconstruction import ReconstructionSettings, Reconstructor, reconstruct

from .phantoms import blob_sinogram

ROWS, COLUMNS, COUNT = 12, 96, 130
ANGLES = np.arange(COUNT) * np.pi / COUNT
FIRST = ReconstructionSettings(slices=(7, 2), center=46.5)


@pytest.fixture(scope="module")
def scan() -> NDArray[np.uint16]:
    lines = blob_sinogram(COLUMNS, ANGLES, 46.5)[:, None] * np.linspace(0.5, 1, ROWS)[:, None]
    return np.round(100 + 40000 * np.exp(-lines / 20)).astype(np.uint16)


def job(settings: ReconstructionSettings = FIRST, **more: Any) -> Reconstructor:
    made = Reconstructor(
        settings, num_projections=COUNT, frame_shape=(ROWS, COLUMNS), angles=ANGLES, **more
    )
    made.add_darks(np.full((2, ROWS, COLUMNS), 100, np.uint16))
    made.add_flats(np.full((2, ROWS, COLUMNS), 40100, np.uint16))
    return made


def batch(scan: NDArray[np.uint16], settings: ReconstructionSettings) -> NDArray[np.float32]:
    return reconstruct(
        scan, ANGLES, settings=settings,
        darks=np.full((2, ROWS, COLUMNS), 100, np.uint16),
        flats=np.full((2, ROWS, COLUMNS), 40100, np.uint16),
    )  # fmt: skip


CHANGES: dict[str, dict[str, Any]] = {
    "axis": {"center": 44.25},
    "axis to be found": {"center": None},
    "filter and turn": {"filter": "hann", "overall_angle": 0.3},
    "other slices": {"slices": (3, 7, 9)},
    "region of the image": {"x_region": (-10.0, 10.0, 0.5)},
    "rings": {"stripe_removal": "sorting"},
    "phase": {
        "phase_method": "tie", "delta_beta": 100.0, "energy_kev": 20.0, "propagation_distance_mm": 100.0,
        "pixel_size_um": 1.0,
    },
    "general geometry": {"axis_angle_y": 0.02},
}  # fmt: skip


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_settings_changed_meanwhile_decide_the_result(
    scan: NDArray[np.uint16], changes: dict[str, Any]
) -> None:
    made = job(keep_rows="all")
    made.add_projections(scan[:70], 0)
    made.slices()
    settings = made.update(**changes)
    assert settings == FIRST.updated(**changes) == made.settings
    made.slices()
    made.add_projections(scan[70:], 70)
    result = made.finish()
    assert result.settings == settings
    np.testing.assert_array_equal(result.volume, batch(scan, settings))


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "rows": ({"slices": (5,)}, ReconstructionError, "Row 5 is needed, and only 2 rows were kept"),
    "flats": ({"flats": "median"}, ReconstructionError, "combined by average and average"),
    "threads": ({"threads": 7}, ReconstructionError, "threads is None since this"),
    "axis": ({"center": 96.0}, ParameterError, "center: 96 px lies outside of the frame"),
    "name": ({"centre": 40.0}, ParameterError, "centre: there is no such setting"),
    "memory": (
        {"x_region": (-40.0, 40.0, 0.0005), "y_region": (-40.0, 40.0, 0.0005)},
        ReconstructionError,
        "GiB are allowed",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_change_any_more_is_refused_and_nothing_changes(
    scan: NDArray[np.uint16], name: str
) -> None:
    changes, kind, message = REFUSED[name]
    made = job()
    made.add_projections(scan, 0)
    with pytest.raises(kind, match=message):
        made.update(**changes)
    assert made.settings == FIRST
    np.testing.assert_array_equal(made.finish().volume, batch(scan, FIRST))


def test_some_slices_alone_are_those_of_all(scan: NDArray[np.uint16]) -> None:
    everything = FIRST.updated(slices=None)
    made = job(everything)
    made.add_projections(scan[:100], 0)
    some = made.slices([11, 0, 4])
    np.testing.assert_array_equal(some, made.slices()[[11, 0, 4]])
    made.add_projections(scan[100:], 100)
    np.testing.assert_array_equal(made.finish().volume, batch(scan, everything))
    with pytest.raises(ParameterError, match="Slice 12 was asked for, and the 12 slices are of"):
        made.slices([12])


def test_slices_that_are_looked_at_take_the_place_of_others(scan: NDArray[np.uint16]) -> None:
    # memory for the rows, the result and one or two grids
    held = ROWS * (COUNT * COLUMNS * 2 + COLUMNS * COLUMNS * 4)
    small = FIRST.updated(slices=None, memory_gib=(held + 2 * 8 * 4 * (COLUMNS * 1.3) ** 2) / 2**30)
    made = job(small)
    for first in range(0, COUNT, 10):
        made.add_projections(scan[first : first + 10], first)
        made.slices([first % ROWS])
    np.testing.assert_array_equal(made.finish().volume, batch(scan, small))


@pytest.mark.parametrize("tall", [False, True])
def test_in_a_general_geometry_whole_blocks_are_shown(scan: NDArray[np.uint16], tall: bool) -> None:
    region = (0.0, 11.0, 0.25) if tall else (0.0, 12.0, 1.0)
    rolled = FIRST.updated(slices=None, region=region, axis_angle_y=0.02)
    made = job(rolled)
    made.add_projections(scan[:64], 0)
    rows = made.slice_rows
    some = made.slices([rows[5], rows[1]])
    whole = made.slices()[[5, 1]]
    # the outermost projections of a part of a scan count a little more in the exact one
    assert np.sqrt(np.mean((some - whole) ** 2)) < 0.03 * whole.std()
    made.add_projections(scan[64:], 64)
    made.slices([rows[5]])
    np.testing.assert_array_equal(made.finish().volume, batch(scan, rolled))


def test_frames_are_taken_while_slices_are_computed(scan: NDArray[np.uint16]) -> None:
    made = job()
    made.add_projections(scan[:1], 0)
    computing, go_on = threading.Event(), threading.Event()

    def look() -> None:
        with made._lock:  # as a long look does
            computing.set()
            go_on.wait(240)
            made.slices()

    looking = threading.Thread(target=look)
    looking.start()
    computing.wait(240)
    for first in range(1, COUNT, 3):
        made.add_projections(scan[first : first + 3], first)
    assert made.received == COUNT
    go_on.set()
    looking.join()
    np.testing.assert_array_equal(made.finish().volume, batch(scan, FIRST))


def test_looks_from_another_thread_leave_no_trace(scan: NDArray[np.uint16]) -> None:
    searched = FIRST.updated(center=None, slices=tuple(range(ROWS)))
    made = job(searched, keep_rows="planes")
    made.add_projections(scan[:8], 0)
    over = threading.Event()
    looks = 0

    def look() -> None:
        nonlocal looks
        while not over.is_set():
            made.slices([3, 8])
            made.planes()
            looks += 1

    looking = threading.Thread(target=look)
    looking.start()
    for first in range(8, COUNT, 2):
        made.add_projections(scan[first : first + 2], first)
    result = made.finish()
    over.set()
    looking.join()
    assert looks > 0
    np.testing.assert_array_equal(result.volume, batch(scan, searched))


def test_rows_for_planes_are_kept_beside_those_of_slices(scan: NDArray[np.uint16]) -> None:
    made = job(keep_rows="planes")
    assert made.rows == tuple(range(ROWS))
    assert made.slice_rows == (7.0, 2.0)
    made.add_projections(scan, 0)
    planes = made.planes()
    assert {n: getattr(planes, n).shape for n in ("xy", "xz", "yz")} == made.plane_shapes()
    assert planes.xz.shape == (ROWS, COLUMNS)
    np.testing.assert_array_equal(made.finish().volume, batch(scan, FIRST))
    some = job(keep_rows=(4, 11))
    assert some.rows == (2, 4, 7, 11)
    with pytest.raises(
        ParameterError, match="keep_rows: row 12 was given, and the frames have the rows 0"
    ):
        job(keep_rows=(12,))
    with pytest.raises(ParameterError, match="keep_rows: 'some' was given"):
        job(keep_rows="some")


def test_missing_projections_are_told_with_their_angles(scan: NDArray[np.uint16]) -> None:
    made = job()
    made.add_projections(scan[:50], 0)
    made.add_projections(scan[52:], 52)
    result = made.finish()
    assert result.missing == (50, 51)
    np.testing.assert_allclose(result.missing_angles, ANGLES[50:52])
    assert result.slice_rows == (7.0, 2.0)
