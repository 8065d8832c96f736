"""Three planes of what has come, against a known volume."""

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino import ParameterError, ReconstructionError
from concertino.reconstruction import OrthogonalPlanes, ReconstructionSettings, Reconstructor
from tests.reconstruction.analytic import disc_lines

ROWS, COLUMNS, COUNT, CENTER = 60, 90, 120, 47.2
ANGLES = np.arange(COUNT) * np.pi / COUNT
# x, y, detector row, width, amplitude
BLOBS = ((12.0, 6.0, 20.0, 6.0, 0.01), (-9.0, -15.0, 41.0, 5.0, 0.008))


def _truth(
    x: NDArray[np.floating], y: NDArray[np.floating], row: NDArray[np.floating]
) -> NDArray[np.floating]:
    return np.asarray(
        sum(
            amplitude * np.exp(-((x - x0) ** 2 + (y - y0) ** 2 + (row - r0) ** 2) / 2 / width**2)
            for x0, y0, r0, width, amplitude in BLOBS
        )
    )


def _counts() -> NDArray[np.uint16]:
    column = np.arange(COLUMNS) - CENTER
    row = np.arange(ROWS)[:, None]
    frames = np.zeros((COUNT, ROWS, COLUMNS))
    for frame, angle in zip(frames, ANGLES, strict=True):
        for x0, y0, r0, width, amplitude in BLOBS:
            place = x0 * np.cos(angle) + y0 * np.sin(angle)
            squared = (column - place) ** 2 + (row - r0) ** 2
            frame += amplitude * width * np.sqrt(2 * np.pi) * np.exp(-squared / 2 / width**2)
    return np.round(50 + 60000 * np.exp(-frames)).astype(np.uint16)


COUNTS = _counts()


def _job(center: float | None = CENTER, rows: tuple[int, ...] | None = None) -> Reconstructor:
    settings = ReconstructionSettings(center=center, slices=rows)
    job = Reconstructor(settings, num_projections=COUNT, frame_shape=(ROWS, COLUMNS), angles=ANGLES)
    job.add_darks(np.full((1, ROWS, COLUMNS), 50, np.uint16))
    job.add_flats(np.full((1, ROWS, COLUMNS), 60050, np.uint16))
    return job


def _errors(planes: OrthogonalPlanes, x: float, y: float, row: int) -> list[float]:
    step, size = planes.step_px, COLUMNS // planes.step_px
    across = (np.arange(size) - (size - 1) / 2) * step
    first = (step - 1) // 2
    rows = np.arange(first, ROWS, step)[:, None].astype(float)
    expected = (
        _truth(across, -across[:, None], np.array(float(row))),
        _truth(across, np.array(y), rows),
        _truth(np.array(x), -across, rows),
    )
    shown = (planes.xy, planes.xz, planes.yz)
    assert [plane.shape for plane in shown] == [plane.shape for plane in expected]
    return [float(np.abs(one - other).max()) for one, other in zip(shown, expected, strict=True)]


@pytest.mark.parametrize("pixels", [90, 45, 30])
@pytest.mark.parametrize("center", [CENTER, None])
def test_planes_show_what_is_there(center: float | None, pixels: int) -> None:
    job = _job(center)
    job.add_projections(COUNTS, 0)
    planes = job.planes(12.0, -15.0, 20, pixels=pixels)
    assert planes.step_px == 90 // pixels
    assert max(_errors(planes, 12.0, -15.0, 20)) < 7e-4


def test_looking_meanwhile_changes_nothing_but_when() -> None:
    watched, calm = _job(), _job()
    for start in range(0, COUNT, 7):
        watched.add_projections(COUNTS[start : start + 7], start)
        calm.add_projections(COUNTS[start : start + 7], start)
        if start > 20:
            watched.planes(row=30)
    one, other = watched.planes(row=30), calm.planes(row=30)
    for name in ("xy", "xz", "yz"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=2e-8)
    np.testing.assert_array_equal(watched.finish().volume, calm.finish().volume)


def test_interlaced_half_scan_is_on_scale() -> None:
    job = _job()
    for index in range(0, COUNT, 2):
        job.add_projections(COUNTS[index], index)
    assert max(_errors(job.planes(12.0, 6.0, 20), 12.0, 6.0, 20)) < 1e-3


def test_other_planes_may_be_asked_for_and_flats_may_come_late() -> None:
    job = _job()
    job.add_projections(COUNTS, 0)
    assert max(_errors(job.planes(12.0, 6.0, 20), 12.0, 6.0, 20)) < 7e-4
    assert max(_errors(job.planes(-9.0, -15.0, 41), -9.0, -15.0, 41)) < 7e-4
    job.add_flats(np.full((1, ROWS, COLUMNS), 60050, np.uint16))
    assert max(_errors(job.planes(-9.0, -15.0, 41), -9.0, -15.0, 41)) < 7e-4


def test_what_cannot_be_shown_is_said() -> None:
    job = _job(rows=(10, 20, 30))
    with pytest.raises(ReconstructionError, match="0 of 120 projections have come"):
        job.planes()
    job.add_projections(COUNTS[:40], 0)
    assert job.planes().xz.shape == (3, 90)
    with pytest.raises(
        ParameterError, match=r"row 11 was asked for, and only 3 rows are kept .10 to 30."
    ):
        job.planes(row=11)
    tilted = Reconstructor(
        ReconstructionSettings(center=CENTER, axis_angle_x=0.1),
        num_projections=COUNT, frame_shape=(ROWS, COLUMNS),
    )  # fmt: skip
    with pytest.raises(ParameterError, match="upright parallel geometry"):
        tilted.planes()


@pytest.mark.parametrize("given", [12.3, 51.7])
@pytest.mark.parametrize(("lost", "pixels"), [(0.0, 512), (0.1, 512), (0.0, 40)])
def test_planes_of_half_acquisition_have_the_whole_sample_with_its_values(
    given: float, lost: float, pixels: int
) -> None:
    """Two discs of 8 px on both sides of an axis near the edge, in a body that one frame does not cover."""
    near = (
        0.05 if lost else 0.02
    )  # a look makes up for lost frames all around, not each by its neighbours
    angles, mu = np.arange(480) * 2 * np.pi / 480, 0.02
    discs = [(0.0, 0.0, 45.0, mu), (30.3, 5.2, 8.0, mu), (-28.0, -12.0, 8.0, mu)]
    lines = disc_lines(64, angles, given, discs).repeat(3, axis=1)
    settings = ReconstructionSettings(center=given, half_acquisition=True, absorptivity=False)
    job = Reconstructor(settings, num_projections=480, frame_shape=(3, 64), angles=angles)
    chosen = np.random.default_rng(5).random(480) >= lost
    for index in np.flatnonzero(chosen):
        job.add_projections(lines[index : index + 1], int(index))
    planes = job.planes(y=5.2, pixels=pixels)
    assert {name: getattr(planes, name).shape for name in ("xy", "xz", "yz")} == job.plane_shapes(
        pixels
    )
    size, step = planes.xy.shape[1], planes.step_px
    places = (np.arange(size) - (size - 1) / 2) * step
    for x, y, radius, value in (
        (30.3, 5.2, 5.0, 2 * mu),
        (-28.0, -12.0, 5.0, 2 * mu),
        (8, -8, 9.0, mu),
    ):
        inside = np.hypot(places - x, -places[:, None] - y) < radius
        assert planes.xy[inside].mean() == pytest.approx(value, rel=near)
    along = planes.xz[0, np.abs(places - 30.3) < 5]
    assert along.mean() == pytest.approx(2 * mu, rel=near + 0.01)
