"""Three planes of what has come, against a known volume."""

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino import ParameterError, ReconstructionError
from concertino.reconstruction import OrthogonalPlanes, ReconstructionSettings, Reconstructor

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
        ParameterError, match=r"row 11 is asked for, but only 3 rows are kept .10 to 30."
    ):
        job.planes(row=11)
    tilted = Reconstructor(
        ReconstructionSettings(center=CENTER, axis_angle_x=0.1),
        num_projections=COUNT, frame_shape=(ROWS, COLUMNS),
    )  # fmt: skip
    with pytest.raises(ParameterError, match="upright parallel geometry"):
        tilted.planes()
