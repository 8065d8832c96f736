"""Grating stepping: parity.md section 2 (settings, formulas, sequence) and section 3 (contrasts)."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from bluesky.utils import MsgGenerator

from concertino import ParameterError, ReconstructionError
from concertino.callbacks import FrameConsumer, GratingContrasts
from concertino.devices import SimulatedMotor
from concertino.documents import GratingBlock
from concertino.plans import grating_stepping
from concertino.reconstruction import Contrasts
from concertino.simulation import (
    Beam,
    BeamlineState,
    Detector,
    Ellipsoid,
    Faults,
    Grating,
    Phantom,
    Twin,
)
from concertino.storage import open_run, replay
from concertino.testing import PlanFault, check_every_end, plan_messages

from .laboratory import Laboratory, actions

SHAPE = (24, 32)
GRATING = Grating(
    period_um=2.4, visibility=0.25, distance_mm=150.0, moire_px=20.0, refraction_um=0.0003
)
STEPPING: dict[str, Any] = {
    "radio_position": 0,
    "flat_position": "1 mm",
    "grating_period": "2.4 um",
    "stepping_start_position": "3 um",
}


def grating_twin() -> Twin:
    detector = Detector(shape=SHAPE, read_noise=0.0).even()
    ball = Ellipsoid((0.0, 0.0, 0.0), (0.06, 0.04, 0.05), 5.0)
    beam = Beam(flux=2e7, drift=0.0, wander_px=0.0)
    return Twin(Phantom((ball,)), beam, detector, grating=GRATING, noise=False)


class GratingLaboratory(Laboratory):
    def __init__(self, root: Path, source: str = "synchrotron", **more: Any) -> None:
        super().__init__(root, source, **{"twin": grating_twin(), "exposure": 0.002, **more})

    def stepping(self, **parameters: Any) -> MsgGenerator[Any]:
        b = self.beamline
        given = {"num_darks": 2, "num_steps_per_period": 4, **STEPPING, **parameters}
        given["md"] = {**self.directories.new().metadata(), **given.get("md", {})}
        return grating_stepping(b.camera, b.grating_stage, b.beam, b.sample_stage, **given)


@pytest.fixture(scope="module")
def labs() -> Iterator[dict[str, GratingLaboratory]]:
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as root:
        made = {s: GratingLaboratory(Path(root, s), s) for s in ("synchrotron", "tube")}
        yield made
        for laboratory in made.values():
            laboratory.close()


@pytest.fixture(params=["synchrotron", "tube"])
def lab(request: pytest.FixtureRequest, labs: dict[str, GratingLaboratory]) -> GratingLaboratory:
    return labs[request.param]


def test_sequence(lab: GratingLaboratory) -> None:
    # parity.md 2, "grating: stepping motor per phase step, with and without the sample",
    # "grating step period/steps, frames periods*steps".
    bench = lab.bench(lambda: lab.stepping(num_periods=2, num_steps_per_period=3))
    beam = lab.beamline.beam.name
    steps = [f"grating_stage {3 + i * 0.8:g}" for i in range(6)]

    def stepping(stream: str, sample: float) -> list[str]:
        moves = [line for step in steps for line in (step, "trigger")]
        return [
            f"sample_stage {sample:g}",
            steps[0],
            f"take 6 {stream} (software)",
            f"{beam} True",
            *moves,
            f"{beam} False",
            steps[0],
        ]

    assert actions(plan_messages(bench)) == [
        f"{beam} False",
        f"{beam} False",
        "take 2 darks (internal)",
        "kickoff",
        *stepping("reference_stepping", 1),
        *stepping("object_stepping", 0),
        f"{beam} False",
    ]


def test_contrasts_are_those_of_the_twin_live_and_replayed(tmp_path: Path) -> None:
    # parity.md 3, "phase-grating Fourier processing": intensity, visibility contrast, differential
    # phase, also in radians of refraction.
    lab = GratingLaboratory(tmp_path)
    shown: dict[str, Any] = {}

    def show(frame: Any, stream: str, _index: int) -> None:
        shown[stream] = frame.copy()

    looker = FrameConsumer(show)
    live = GratingContrasts(callbacks=[looker])
    lab.RE.subscribe(live)
    lab.RE(lab.stepping(num_periods=2, num_steps_per_period=8, propagation_distance="15 cm"))
    found = live.wait(240)
    lab.close()
    start = next(doc for kind, doc in lab.documents if kind == "start")
    assert GratingBlock.from_start(start).propagation_distance_mm == 150
    assert start["tomo"]["propagation_distance_mm"] == 150
    check_truth(found)
    looker.settle()
    for name in ("intensity", "dark_field", "differential_phase", "refraction_angle"):
        np.testing.assert_array_equal(shown.pop(name), getattr(found, name), err_msg=name)
    # The fringes of the twin without a sample: even, and as strong as the grating's.
    assert set(shown) == {"reference", "visibility"}
    np.testing.assert_allclose(shown["visibility"], GRATING.visibility, atol=5e-3)

    again = GratingContrasts()
    replay(start["run_directory"], again)
    for name in ("intensity", "dark_field", "differential_phase", "refraction_angle"):
        np.testing.assert_array_equal(
            getattr(again.wait(240), name), getattr(found, name), err_msg=name
        )

    assert live.run_directory is not None
    assert live.run_directory.name == "scan_0001_grating_01"
    run = open_run(live.run_directory)
    assert run.start["derived_from"] == start["uid"]
    assert run.start["processing"]["parameters"]["period_um"] == 2.4
    np.testing.assert_array_equal(run.frames("dark_field").read()[0], found.dark_field)
    np.testing.assert_array_equal(run.frames("refraction_angle").read()[0], found.refraction_angle)
    run.close()


def check_truth(found: Contrasts) -> None:
    twin = grating_twin()
    lines, pixel = twin.lines(BeamlineState()), twin.detector.pixel_size_mm
    # A position that moves on to larger values moves the phase on, too: the fringes run as the
    # cosine of the sum of both.
    shift = GRATING.phase_shift(lines, pixel)
    assert np.abs(shift).max() > 0.3
    assert np.abs(shift).max() < np.pi
    np.testing.assert_allclose(found.intensity, np.exp(-lines), atol=2e-3)
    np.testing.assert_allclose(found.dark_field, GRATING.dark_field(lines), atol=5e-3)
    np.testing.assert_allclose(found.differential_phase, shift, atol=5e-3)
    refraction = GRATING.refraction_angle(lines, pixel)
    assert found.refraction_angle is not None
    np.testing.assert_allclose(found.refraction_angle, refraction, atol=0.01 * refraction.max())


@pytest.mark.parametrize("stepped", ["analyser", "phase", "source"])
@pytest.mark.parametrize("direction", [1, -1])
def test_a_ball_refracts_outwards(tmp_path: Path, stepped: Any, direction: Any) -> None:
    twin = grating_twin()
    twin.grating = replace(GRATING, stepped=stepped, direction=direction)
    lab = GratingLaboratory(tmp_path, twin=twin)
    live = GratingContrasts()
    lab.RE.subscribe(live)
    more = {} if stepped == "analyser" else {"analyser_period": "2.4 um"}
    lab.RE(
        lab.stepping(
            propagation_distance="150 mm",
            stepped_grating=stepped,
            stepping_direction=direction,
            **more,
        )
    )
    found = live.wait(240)
    lab.close()
    start = next(doc for kind, doc in lab.documents if kind == "start")
    assert (start["grating"]["stepped"], start["grating"]["direction"]) == (stepped, direction)
    assert found.refraction_angle is not None
    # The ellipsoid's chord along the beam in the middle row, in mm, is 0.08 sqrt(1 - (x / 0.06)^2);
    # delta is 5 per mm times 0.0003 um. Light is refracted by minus the slope of their product.
    x = (np.arange(SHAPE[1]) - (SHAPE[1] - 1) / 2) * twin.detector.pixel_size_mm
    inside = np.abs(x) < 0.045
    delta = 5 * 0.0003e-3
    middle = 0.5 * twin.detector.pixel_size_mm / 0.05  # The row beside the middle, in semi-axes.
    slope = -0.08 * x[inside] / 0.06**2 / np.sqrt(1 - (x[inside] / 0.06) ** 2 - middle**2)
    angle = found.refraction_angle[SHAPE[0] // 2, inside]
    np.testing.assert_allclose(angle, -delta * slope, atol=0.05 * np.abs(delta * slope).max())
    assert angle[-1] > 0 > angle[0]


def test_another_grating_has_no_refraction_angle_without_the_analysers_period() -> None:
    block = GratingBlock(
        period_um=4.0, num_steps_per_period=4, start_um=0.0, stepping="g0", stepped="source"
    )
    assert block.fringe_period_um is None
    assert block.model_copy(update={"analyser_period_um": 2.4}).fringe_period_um == 2.4


@pytest.mark.parametrize("lost", [0, 2, 7])
def test_the_step_that_was_lost_is_named(tmp_path: Path, lost: int) -> None:
    lab = GratingLaboratory(tmp_path, faults=Faults(drop_frames=[lost]))
    live = GratingContrasts()
    lab.RE.subscribe(live)
    lab.RE(
        lab.stepping(
            num_steps_per_period=8, on_lost="flag", order=("reference_stepping", "object_stepping")
        )
    )
    with pytest.raises(ReconstructionError, match=rf"^Steps {lost} of 8 are missing"):
        live.wait(240)
    lab.close()


@pytest.mark.parametrize("darks", [True, False])
def test_without_darks_the_images_are_biased_and_it_is_said(
    labs: dict[str, Any], caplog: pytest.LogCaptureFixture, darks: bool
) -> None:
    lab = labs["synchrotron"]
    live = GratingContrasts()
    token = lab.RE.subscribe(live)
    order = ("darks", "reference_stepping", "object_stepping")
    lab.RE(lab.stepping(order=order[0 if darks else 1 :]))
    lab.RE.unsubscribe(token)
    live.wait(240)
    said = [r.getMessage() for r in caplog.records if "there are no darks" in r.getMessage()]
    assert len(said) == (0 if darks else 1)
    assert all("transmission and dark field are too near to 1" in text for text in said)


def test_without_a_distance_there_is_no_refraction_angle(labs: dict[str, Any]) -> None:
    lab = labs["synchrotron"]
    live = GratingContrasts()
    token = lab.RE.subscribe(live)
    lab.RE(lab.stepping())
    lab.RE.unsubscribe(token)
    assert live.wait(240).refraction_angle is None


def test_a_stepping_that_is_not_there(labs: dict[str, Any]) -> None:
    lab = labs["synchrotron"]
    live = GratingContrasts()
    with pytest.raises(
        ReconstructionError, match=r"^There is nothing to wait for: no grating stepping run"
    ):
        live.wait(1)
    token = lab.RE.subscribe(live)
    lab.RE(lab.stepping(order=("object_stepping",)))
    lab.RE.unsubscribe(token)
    with pytest.raises(ReconstructionError) as caught:
        live.wait(240)
    assert str(caught.value) == (
        "Steps 0, 1, 2, 3 of 4 are missing: the phase of the fringes follows from whole periods "
        "only. Repeat the scan."
    )


@pytest.mark.parametrize("source", ["synchrotron", "tube"])
def test_every_end_is_safe(labs: dict[str, GratingLaboratory], source: str) -> None:
    lab = labs[source]
    bench = lab.bench(lambda: lab.stepping(order=("reference_stepping", "object_stepping")))
    check_every_end(bench, every=14, kinds=PlanFault.KINDS[source == "tube" :: 2])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"grating_period": "0 um"},
            "grating_period: '0 um' is not positive. Give more than 0 um.",
        ),
        (
            {"grating_period": "2 deg"},
            "grating_period: a length in um is wanted, but '2 deg' is an angle. Give a plain number "
            "in um or a quantity such as '10 um'.",
        ),
        (
            {"num_steps_per_period": 2},
            "num_steps_per_period: 2 is too small. Give at least 3.",
        ),
        ({"num_periods": 0}, "num_periods: 0 is too small. Give at least 1."),
        (
            {"stepping_start_position": "2 mm"},
            "stepping_start_position: Motor grating_stage was asked to move to 2000 um; its limits "
            "are -1000 to 1000 um.",
        ),
        (
            {"grating_period": "1 mm"},
            "grating_period and num_periods: Motor grating_stage was asked to move to 753 um",
        ),
        (
            {"propagation_distance": -1},
            "propagation_distance: -1 is not positive. Give more than 0 mm.",
        ),
        (
            {"stepped_grating": "G1"},
            "stepped_grating: 'G1' was given; give which grating the motor moves: 'analyser', 'phase' or "
            "'source'.",
        ),
        (
            {"stepping_direction": 0},
            "stepping_direction: 0 was given; give 1 if larger positions of the motor are towards larger "
            "columns of the frame, or -1 if towards smaller ones.",
        ),
        (
            {"analyser_period": "4.8 um"},
            "analyser_period: 4.8 um was given, and the analyser itself is stepped, with a "
            "grating_period of 2.4 um.",
        ),
        (
            {"order": ("darks", "flats")},
            "order: ['darks', 'flats'] was given; name darks, reference_stepping, "
            "object_stepping, and at least one. ",
        ),
    ],
)
def test_wrong_parameters(
    labs: dict[str, GratingLaboratory], wrong: dict[str, Any], message: str
) -> None:
    lab = labs["synchrotron"]
    lab.documents.clear()
    if "753" in message:
        lab.beamline.grating_stage.limits = (-500.0, 500.0)
    try:
        with pytest.raises(ParameterError) as caught:
            lab.RE(lab.stepping(**wrong))
    finally:
        lab.beamline.grating_stage.limits = (-1000.0, 1000.0)
    assert str(caught.value).startswith(message)
    assert not lab.documents


def test_a_grating_on_a_motor_in_mm(labs: dict[str, GratingLaboratory]) -> None:
    lab, b = labs["synchrotron"], labs["synchrotron"].beamline
    motor = SimulatedMotor(
        "mm", velocity=1.0, max_velocity=1.0, acceleration_time=0.002, name="coarse"
    )
    lab.documents.clear()
    lab.RE(
        grating_stepping(
            b.camera, motor, b.beam, b.sample_stage, num_steps_per_period=3,
            order=("reference_stepping",), md=lab.directories.new().metadata(), **STEPPING,
        )
    )  # fmt: skip
    key = "coarse"
    read = [d["data"][key] for k, d in lab.documents if k == "event" and key in d["data"]]
    assert read == pytest.approx([0.003, 0.0038, 0.0046])
    assert motor.position_at(time.time()) == pytest.approx(0.003)
