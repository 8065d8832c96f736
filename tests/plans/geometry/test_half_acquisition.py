"""Half acquisition: a full turn with the axis at the edge sees a sample twice as wide as the frame."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino import ParameterError
from concertino.batch import reconstruct_run
from concertino.callbacks import OnlineReconstruction, described_settings
from concertino.documents import TomoBlock
from concertino.reconstruction import ReconstructionSettings, reconstruct
from concertino.simulation import Beam, Detector, Phantom, Twin, ellipsoid_foam
from concertino.storage import open_run, replay
from tests.plans.laboratory import Laboratory

SHAPE = (8, 64)
AXIS_PX = 5.5
#: Both sides of the axis together.
WIDE = 2 * (SHAPE[1] - 1 - AXIS_PX) + 1
ROW = 4
SETTINGS = ReconstructionSettings(slices=(ROW,))
TOMOGRAPHIES = ("step_tomography", "continuous_tomography")


def wide_foam() -> Phantom:
    radius_mm = 0.44 * WIDE * 0.005
    return ellipsoid_foam(
        7, 12, radius_mm=radius_mm, height_mm=radius_mm, attenuation_per_mm=0.5 / radius_mm
    )


def wide_twin() -> Twin:
    return Twin(
        wide_foam(),
        Beam(flux=6e6, drift=0.0, wander_px=0.0),
        Detector(SHAPE, pixel_size_mm=0.005).even(),
        axis_offset_px=AXIS_PX - (SHAPE[1] - 1) / 2,
        noise=False,
    )


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    made = Laboratory(
        tmp_path_factory.mktemp("half"), twin=wide_twin(), exposure=0.001, frame_rate=300.0,
        ring_bytes=2**22,
    )  # fmt: skip
    yield made
    made.close()


def relative_error(found: NDArray[np.floating[Any]]) -> float:
    """Return the error inside the field, beside what there is to see."""
    size = found.shape[0]
    assert size == WIDE
    truth = wide_foam().slice(ROW, (SHAPE[0], size), 0.005)
    middle = np.arange(size) - (size - 1) / 2
    inside = np.hypot(*np.meshgrid(middle, middle)) < 0.46 * size
    difference = (found - truth)[inside]
    return float(np.sqrt(np.mean(difference**2)) / truth[inside].std())


@pytest.mark.parametrize("name", TOMOGRAPHIES)
def test_the_slice_is_the_phantom_over_the_double_width(lab: Laboratory, name: str) -> None:
    live = OnlineReconstruction(SETTINGS)
    lab.RE.subscribe(live)
    documents = lab.run(
        name, half_acquisition=True, angular_range=None, rotation_axis=AXIS_PX,
        num_projections=240, num_darks=2, num_flats=4, flat_position="2 mm",
    )  # fmt: skip
    start = documents[0][1]
    tomo = TomoBlock.from_start(start)
    assert tomo.half_acquisition
    assert tomo.angular_range_deg == 360
    assert tomo.rotation_axis_px == AXIS_PX
    result = live.wait(300)
    assert result.settings.half_acquisition
    assert result.volume.shape == (1, WIDE, WIDE)
    run = open_run(start["run_directory"])
    if name == "step_tomography":
        assert relative_error(result.volume[0]) < 0.3
    else:
        # The camera starts a little late: at the angles that were, it is the phantom, too.
        times = np.asarray(run.frames("projections").index["timestamp_ns"]) / 1e9
        found = reconstruct(
            run.frames("projections").read(),
            np.deg2rad([lab.beamline.rotation.position_at(time) for time in times]),
            darks=run.frames("darks").read(),
            flats=run.frames("flats").read(),
            settings=described_settings(SETTINGS, tomo),
        )
        assert relative_error(found[0]) < 0.3
    again = OnlineReconstruction(SETTINGS)
    replay(run, [again])
    np.testing.assert_array_equal(again.wait(300).volume, result.volume)
    batch = open_run(reconstruct_run(run, SETTINGS).directory)
    np.testing.assert_array_equal(batch.frames("slices").read(), result.volume)


def test_without_a_known_axis_it_is_found_at_the_edge(lab: Laboratory) -> None:
    live = OnlineReconstruction(ReconstructionSettings(slices=(3, 4, 5)))
    lab.RE.subscribe(live)
    lab.run(
        "step_tomography", half_acquisition=True, angular_range=None,
        num_projections=160, num_darks=2, num_flats=4, flat_position="2 mm",
    )  # fmt: skip
    result = live.wait(300)
    assert result.center_px == pytest.approx(AXIS_PX, abs=0.5)
    # How wide the field will be is not known before the axis is: as wide as it can be.
    assert result.volume.shape == (3, 2 * SHAPE[1] - 1, 2 * SHAPE[1] - 1)


def test_settings_that_say_otherwise_hold(lab: Laboratory) -> None:
    documents = lab.run(
        "step_tomography", half_acquisition=True, angular_range=None, num_projections=20,
        rotation_axis=AXIS_PX, flat_position="2 mm",
    )  # fmt: skip
    narrow = OnlineReconstruction(SETTINGS.updated(half_acquisition=False))
    replay(documents[0][1]["run_directory"], [narrow])
    assert narrow.wait(300).volume.shape == (1, SHAPE[1], SHAPE[1])


@pytest.mark.parametrize("name", TOMOGRAPHIES)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"angular_range": "180 deg"},
            "angular_range: 180 deg was given, and half acquisition sees each side of the sample only "
            "once in a turn. Give 360 deg or more, or leave angular_range out.",
        ),
        (
            {"angular_range": -359},
            "angular_range: -359 deg was given, and half acquisition sees each side of the sample only "
            "once in a turn. Give 360 deg or more, or leave angular_range out.",
        ),
        (
            {"rotation_axis": 31.5},
            "rotation_axis: column 31.5 px was given, 31.5 px from the nearest edge of a frame of 64 "
            "px, and half acquisition wants the axis within 21 px of one. Move the rotation axis, or "
            "leave half_acquisition out.",
        ),
        (
            {"rotation_axis": "64 px"},
            "rotation_axis: column 64 px was given, and a frame has the columns 0 to 63. Give the "
            "column of the rotation axis, counted from the first one's middle.",
        ),
        (
            {"rotation_axis": "1 mm"},
            "rotation_axis: a number of pixels in px is wanted, but '1 mm' is a length. Give a plain "
            "number in px or a quantity such as '10 px'.",
        ),
    ],
)
def test_what_cannot_be_half_acquisition(
    lab: Laboratory, name: str, wrong: dict[str, Any], message: str
) -> None:
    since = time.time()
    given: dict[str, Any] = {"half_acquisition": True, "angular_range": None, **wrong}
    with pytest.raises(ParameterError) as caught:
        lab.RE(lab.plan(name, num_projections=1000, **given))
    assert str(caught.value) == message
    assert not lab.documents
    assert lab.beamline.rotation._trajectory.last.start_s < since
