"""Spirals, stepped and continuous: parity.md section 2, the rows of its settings and sequences."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

from concertino import ParameterError
from concertino.devices import SimulatedMotor
from concertino.documents import TomoBlock
from concertino.plans import continuous_spiral_tomography, step_spiral_tomography
from concertino.reconstruction import ReconstructionSettings, rebin_helical, reconstruct
from concertino.storage import open_run
from concertino.testing import PlanFault, check_every_end, plan_messages
from tests.plans.laboratory import SPIRAL, Laboratory, actions

SPIRALS = ("step_spiral_tomography", "continuous_spiral_tomography")


@pytest.fixture(scope="module")
def labs() -> Iterator[dict[str, Laboratory]]:
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as root:
        made = {s: Laboratory(Path(root, s), s) for s in ("synchrotron", "tube")}
        yield made
        for laboratory in made.values():
            laboratory.close()


@pytest.fixture(params=["synchrotron", "tube"])
def lab(request: pytest.FixtureRequest, labs: dict[str, Laboratory]) -> Laboratory:
    return labs[request.param]


def test_sequence_of_a_stepped_spiral(lab: Laboratory) -> None:
    # parity.md 2, "spiral: rotation and vertical together, stepped", "stepped: software trigger
    # per angle", "vertical step start + i*shift/N": 2 tomograms of 2.
    bench = lab.bench(
        lambda: lab.plan(
            "step_spiral_tomography",
            num_projections=2,
            angular_range="180 deg",
            start_angle="10 deg",
            start_position_vertical="0.1 mm",
            vertical_shift_per_tomogram="-0.02 mm",
            sample_height="0.02 mm",
        )
    )
    beam = lab.beamline.beam.name
    assert actions(plan_messages(bench)) == [
        f"{beam} False",
        f"{beam} False",
        "take 2 darks (internal)",
        "kickoff",
        "sample_stage 1",
        "take 2 flats (internal)",
        f"{beam} True",
        "kickoff",
        f"{beam} False",
        "sample_stage 0",
        "rotation 10",
        "vertical_stage 0.1",
        "take 4 projections (software)",
        f"{beam} True",
        "rotation 10",
        "vertical_stage 0.1",
        "trigger",
        "rotation 100",
        "vertical_stage 0.09",
        "trigger",
        "rotation 190",
        "vertical_stage 0.08",
        "trigger",
        "rotation 280",
        "vertical_stage 0.07",
        "trigger",
        f"{beam} False",
        f"{beam} False",
        "rotation 10",
        "vertical_stage 0.1",
    ]


def test_sequence_of_a_continuous_spiral(lab: Laboratory) -> None:
    # parity.md 2, "continuous: velocity set, free-running camera, previous velocity restored",
    # "vertical velocity shift*fps/N" = 0.02 / 3 * 200, "continuous velocity fps*range/N" = 200.
    bench = lab.bench(lambda: lab.plan("continuous_spiral_tomography", order=("projections",)))
    said = actions(plan_messages(bench))
    assert [line for line in said if "velocity" in line] == [
        "rotation-velocity 200",
        "vertical_stage-velocity 1.33333",
        "rotation-velocity 360",
        "vertical_stage-velocity 20",
        "rotation-velocity 360",
        "vertical_stage-velocity 20",
    ]
    begin = said.index("take 8 projections (internal)")
    away = [line.split()[0] for line in said[begin + 2 :]]
    assert away[:3] == ["rotation", "vertical_stage", "kickoff"]
    beam = lab.beamline.beam.name
    assert said[begin + 1] == f"{beam} True"
    assert said[begin + 5 :][:1] == [f"{beam} False"]
    assert said[-5:] == [
        f"{beam} False",
        "rotation-velocity 360",
        "vertical_stage-velocity 20",
        "rotation 0",
        "vertical_stage 0",
    ]


@pytest.mark.parametrize("name", SPIRALS)
def test_a_fraction_of_a_tomogram_is_taken(laboratory: Laboratory, name: str) -> None:
    # parity.md 2, "tomograms = |height/shift| + 1, total = tomograms*N": 2.5 tomograms of 3.
    docs = laboratory.run(name)
    start = next(doc for kind, doc in docs if kind == "start")
    assert start["frames"] == {"darks": 2, "flats": 2, "projections": 8}
    assert start["plan_args"]["num_tomograms"] == pytest.approx(2.5)
    assert start["plan_args"]["num_projections"] == 3
    assert start["plan_args"]["vertical_shift_per_tomogram"] == {"value": 0.02, "unit": "mm"}
    tomo = TomoBlock.from_start(start)
    assert (tomo.scheme, tomo.num_projections) == ("spiral", 8)
    np.testing.assert_allclose(np.rad2deg(tomo.angles_rad()), np.arange(8.0), atol=1e-12)
    np.testing.assert_allclose(tomo.vertical_mm(), np.arange(8) * 0.02 / 3)


def test_the_read_backs_of_a_stepped_spiral_are_its_positions(laboratory: Laboratory) -> None:
    docs = laboratory.run("step_spiral_tomography")
    start = next(doc for kind, doc in docs if kind == "start")
    tomo = TomoBlock.from_start(start)
    angles, heights = readings(docs, "rotation"), readings(docs, "vertical_stage")
    assert angles == pytest.approx(np.rad2deg(tomo.angles_rad()))
    assert heights == pytest.approx(tomo.vertical_mm())


def readings(docs: list[tuple[str, Any]], motor: str) -> list[float]:
    """Return the read-backs of a motor in all events."""
    return [doc["data"][motor] for kind, doc in docs if kind == "event" and motor in doc["data"]]


@pytest.mark.parametrize("name", SPIRALS)
def test_slices_of_a_spiral_are_those_of_the_phantom(tmp_path: Path, name: str) -> None:
    lab = Laboratory(tmp_path, shape=(40, 48), noise=False, exposure=0.002, frame_rate=120.0)
    count, pixel_mm = 48, lab.beamline.twin.detector.pixel_size_mm
    docs = lab.run(
        name,
        num_projections=count,
        num_darks=1,
        num_flats=1,
        angular_range="180 deg",
        start_position_vertical=f"{-12 * pixel_mm} mm",
        vertical_shift_per_tomogram=f"{16 * pixel_mm} mm",
        sample_height=f"{8 * pixel_mm} mm",
    )
    start = next(doc for kind, doc in docs if kind == "start")
    tomo = TomoBlock.from_start(start)
    run = open_run(start["run_directory"])
    darks, flats, frames = (
        run.frames(s).read().astype(float) for s in ("darks", "flats", "projections")
    )
    run.close()
    lab.close()
    assert len(frames) == 72
    # A camera that starts late by some ms: the stream motion says where the axes were then.
    turned, lifted = (late(docs, motor, start) for motor in ("rotation", "vertical_stage"))
    angles = tomo.angles_rad() + np.deg2rad(turned)
    lines = -np.log(np.maximum(frames - darks.mean(0), 1) / (flats.mean(0) - darks.mean(0)))
    twin = lab.beamline.twin
    for height in (-4.0, 0.0, 3.0):
        sinogram, indices = rebin_helical(
            lines, (tomo.vertical_mm() + lifted) / pixel_mm, height=height, count=count
        )
        found = reconstruct(
            sinogram,
            angles[indices],
            settings=ReconstructionSettings(center=twin.rotation_axis_px),
        )[0]
        truth = twin.phantom.slice((40 - 1) / 2 - height, twin.shape, pixel_mm)
        assert np.corrcoef(found.ravel(), truth.ravel())[0, 1] > 0.95, height


def late(docs: list[tuple[str, Any]], motor: str, start: Any) -> float:
    """Return how far a motor was beyond its first position when the camera started."""
    for kind, doc in docs:
        if kind == "event" and "camera-start_time" in doc["data"]:
            args = start["plan_args"]
            rotates = motor == "rotation"
            speed = args["velocity" if rotates else "vertical_velocity"]["value"]
            begun = args["start_angle" if rotates else "start_position_vertical"]["value"]
            elapsed_s = doc["timestamps"][motor] - doc["data"]["camera-start_time"]
            return float(doc["data"][motor] - speed * elapsed_s - begun)
    return 0.0


@pytest.mark.parametrize("name", SPIRALS)
@pytest.mark.parametrize("source", ["synchrotron", "tube"])
def test_every_end_of_a_spiral_is_safe(labs: dict[str, Laboratory], name: str, source: str) -> None:
    first = (source == "tube") != (name == SPIRALS[1])
    bench = labs[source].bench(lambda: labs[source].plan(name, order=("projections",)))
    check_every_end(bench, every=20, kinds=PlanFault.KINDS[first::2])


@pytest.mark.parametrize("plan", [step_spiral_tomography, continuous_spiral_tomography])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"vertical_shift_per_tomogram": 0},
            "vertical_shift_per_tomogram: 0 mm was given, and a spiral moves. Give a length such as "
            "'2 mm', negative to move down, or use step_tomography or continuous_tomography.",
        ),
        (
            {"vertical_shift_per_tomogram": "2 deg"},
            "vertical_shift_per_tomogram: a length in mm is wanted, but '2 deg' is an angle. "
            "Give a plain number in mm or a quantity such as '10 mm'.",
        ),
        ({"sample_height": 0}, "sample_height: 0 is not positive. Give more than 0 mm."),
        (
            {"start_position_vertical": "101 mm"},
            "start_position_vertical: Motor vertical_stage was asked to move to 101 mm; its limits "
            "are -100 to 100 mm.",
        ),
        (
            {"sample_height": "300 mm", "vertical_shift_per_tomogram": "100 mm"},
            "sample_height and vertical_shift_per_tomogram: Motor vertical_stage was asked to move "
            "to 366.667 mm; its limits are -100 to 100 mm.",
        ),
        (
            {"angular_range": 0},
            "angular_range: 0 deg was given. Give an angle such as 180 deg, negative to turn "
            "backwards.",
        ),
    ],
)
def test_wrong_parameters(
    laboratory: Laboratory, plan: Callable[..., Any], wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        laboratory.RE(laboratory.plan(plan.__name__, **wrong))
    assert str(caught.value) == message
    assert not any(kind == "start" for kind, _ in laboratory.documents)


def test_a_vertical_stage_that_is_none(laboratory: Laboratory) -> None:
    b = laboratory.beamline
    given = {**SPIRAL, "radio_position": 0, "flat_position": 1}
    stage: Any = "vertical"
    with pytest.raises(ParameterError, match=r"^vertical_stage: 'vertical' cannot be moved\. Give"):
        laboratory.RE(
            step_spiral_tomography(b.camera, b.rotation, stage, b.beam, b.sample_stage, **given)
        )


def test_a_spiral_that_is_too_fast(laboratory: Laboratory) -> None:
    with pytest.raises(ParameterError) as caught:
        laboratory.RE(
            laboratory.plan(
                "continuous_spiral_tomography",
                vertical_shift_per_tomogram="1 mm",
                sample_height="1 mm",
            )
        )
    assert str(caught.value) == (
        "vertical_shift_per_tomogram, num_projections and the camera's frame rate: Motor "
        "vertical_stage was asked to move at 66.6667 mm/s; it takes more than 0 and at most 50 mm/s."
    )


def test_a_vertical_stage_in_another_unit(laboratory: Laboratory) -> None:
    # Both are lengths: what is given in mm reaches the motor in its own unit.
    b = laboratory.beamline
    stage = SimulatedMotor(
        "um", velocity=20_000.0, acceleration_time=0.005, max_velocity=50_000.0, name="lift"
    )
    laboratory.RE(
        step_spiral_tomography(
            b.camera, b.rotation, stage, b.beam, b.sample_stage,
            radio_position=0, flat_position=1, order=("projections",), num_projections=2,
            angular_range="2 deg", md=laboratory.directories.new().metadata(), **SPIRAL,
        )
    )  # fmt: skip
    assert readings(laboratory.documents, "lift") == pytest.approx([0, 10, 20, 30, 40])
    start = next(doc for kind, doc in laboratory.documents if kind == "start")
    np.testing.assert_allclose(TomoBlock.from_start(start).vertical_mm(), np.arange(5) * 0.01)
