"""The same plan by software, by pulses at the camera's input, and with a trigger device."""

import threading
import time
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
import pytest
from bluesky.utils import FailedStatus
from ophyd_async.core import Device, DeviceVector, soft_signal_rw
from ophyd_async.fastcs.panda import PandaTimeUnits, SeqTable

from concertino import CameraError, DeviceError, ParameterError
from concertino.batch import reconstruct_run
from concertino.devices import PandaAxis, PandaTrigger
from concertino.documents import validate_run
from concertino.frames import PulseTrain
from concertino.plans import (
    AngleList,
    GoldenRatio,
    MultiTurn,
    Timbir,
    continuous_tomography,
    preflight,
    step_tomography,
)
from concertino.reconstruction import ReconstructionSettings
from concertino.storage import open_run, run_angles
from concertino.testing import check_every_end
from tests.plans.laboratory import POSITIONS, Laboratory, patience

pytestmark = pytest.mark.disturbed_by_load(
    "pulses come by the clock, and find the camera ready or not"
)

SCAN: dict[str, Any] = {
    "num_darks": 2, "num_flats": 2, "num_projections": 96, "angular_range": "180 deg",
}  # fmt: skip


@pytest.fixture
def laboratory(tmp_path: Path) -> Laboratory:
    return Laboratory(tmp_path, shape=(8, 48), frame_rate=80.0, exposure=0.004, noise=False)


def scanned(laboratory: Laboratory, name: str, **parameters: Any) -> Any:
    documents = laboratory.run(name, **(SCAN | parameters))
    validate_run(documents)
    return open_run(documents[0][1]["run_directory"])


def true_angles(laboratory: Laboratory, run: Any) -> Any:
    at = laboratory.beamline.rotation.position_at
    return np.array([at(ns * 1e-9) for ns in run.frames("projections").index["timestamp_ns"]])


class Generator:
    """Something that gives pulses at a steady rate, whoever wants them."""

    def __init__(self, pulse: Any, rate_hz: float) -> None:
        self._pulse, self._period_s = pulse, 1 / rate_hz
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        due_s = time.time()
        while not self._stopping.wait(max(0.0, due_s - time.time())):
            self._pulse(due_s)
            due_s += self._period_s


@pytest.mark.slow
def test_the_same_reconstruction_by_software_by_edges_and_with_a_device(
    laboratory: Laboratory,
) -> None:
    b = laboratory.beamline
    axis, number = b.twin.rotation_axis_px, 96
    volumes, begins = {}, {}
    for way in ("software", "edge", "device", "stepped with a device"):
        trigger = b.trigger_box if "device" in way else way
        name = "step_tomography" if "stepped" in way else "continuous_tomography"
        source: Any = b.camera.source
        # A machine that is too busy starts the camera so late that the stage brakes.
        for _ in range(4):
            with Generator(source.edge if way == "edge" else lambda time_s: None, 80.0):
                run = scanned(laboratory, name, trigger=trigger, num_projections=number)
            angles, uncertainty, told = run_angles(run)
            # The twin remembers 64 moves: of steps the read-back must do.
            true = angles if "stepped" in way else true_angles(laboratory, run)
            if np.diff(true).min() > 0.99 * 180 / number:
                break
        # No pulse is lost, and none is taken for another.
        assert np.diff(true) == pytest.approx(180 / number, abs=0.01), way
        assert len(true) == number
        assert np.abs(angles - true).max() < 0.02, way
        assert (uncertainty < 0.05).all()
        assert told == ("readback" if "stepped" in way else "encoder")
        begins[way] = true[0]
        made = reconstruct_run(run, ReconstructionSettings(slices=(4,), center=axis))
        volumes[way] = open_run(made.directory).frames("slices").read()[0]
    # By position every frame is where it was asked to be, by construction; the others are late.
    assert begins["device"] == pytest.approx(0, abs=0.01)
    assert min(begins["software"], begins["edge"]) > 0
    # Wherever a scan began, its slices lie as the sample does: the reconstruction has the angles that
    # were measured, and nothing is turned here.
    stepped = volumes.pop("stepped with a device")
    y, x = np.indices(stepped.shape) - (len(stepped) - 1) / 2
    inside = np.hypot(x, y) < 0.8 * len(stepped) / 2
    truth = b.twin.phantom.slice(4, b.twin.shape, b.twin.detector.pixel_size_mm)
    assert np.corrcoef(stepped[inside], truth[inside])[0, 1] > 0.97
    for way, volume in volumes.items():
        difference = np.sqrt(np.mean((volume - stepped)[inside] ** 2))
        # Angles between those of the steps, and blur: half a degree of error would be more.
        assert difference < 0.05 * stepped[inside].std(), way


def test_timbir_by_positions(laboratory: Laboratory) -> None:
    run = scanned(
        laboratory, "continuous_tomography", trigger=laboratory.beamline.trigger_box,
        scheme=Timbir(rounds=4), order=("projections",), num_projections=48,
    )  # fmt: skip
    true = true_angles(laboratory, run)
    assert true == pytest.approx(Timbir(rounds=4).passed(48, 0, 180), abs=0.01)
    assert (np.diff(true) > 0).all()
    assert np.sort(true % 180) == pytest.approx(np.arange(48) * 3.75, abs=0.01)
    assert np.abs(run_angles(run).angles_deg - true).max() < 0.01
    assert run.start["tomo"]["scheme"] == "timbir"


def test_several_turns_at_the_cameras_pace(laboratory: Laboratory) -> None:
    run = scanned(
        laboratory, "continuous_tomography", scheme=MultiTurn(turns=3), order=("projections",),
        num_projections=40,
    )  # fmt: skip
    true = true_angles(laboratory, run)
    assert np.diff(true) == pytest.approx(13.5, abs=0.01)
    assert np.diff(np.sort((true - true[0] + 1e-3) % 180)) == pytest.approx(4.5, abs=0.01)
    assert run.start["tomo"]["angular_range_deg"] == pytest.approx(540)
    assert np.abs(run_angles(run).angles_deg - true).max() < 0.05


@pytest.mark.parametrize(
    ("plan", "parameters", "message"),
    [
        ("continuous_tomography", {"scheme": GoldenRatio()}, "neighbours are -68.75 to 111.2 deg apart"),
        ("continuous_tomography", {"scheme": AngleList((0.0, 5.0, 1.0)), "num_projections": 3},
         "a stage that turns steadily passes angles in one direction"),
        ("continuous_tomography", {"scheme": Timbir(rounds=4)},
         "whose angles are not equally far apart"),
        ("continuous_tomography", {"scheme": MultiTurn(turns=4)},
         "have the factor 4 in common, so that turns would repeat angles of others. Give 97"),
        ("continuous_tomography", {"trigger": "bell"}, "trigger: 'bell' was given; give 'software'"),
        ("step_tomography", {"trigger": 3}, "trigger: 3 was given; give 'software'"),
        ("step_tomography", {"trigger": "edge"}, "in a stepped scan pulses must wait for the stage"),
        ("continuous_tomography", {"num_tomograms": 0}, "num_tomograms"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(
    laboratory: Laboratory, plan: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError) as caught:
        scanned(laboratory, plan, **parameters)
    assert message in str(caught.value)
    assert not laboratory.documents


def test_pulses_that_the_camera_would_miss_are_refused(laboratory: Laboratory) -> None:
    laboratory.RE(bps.mv(laboratory.beamline.camera.exposure, 0.02))
    with pytest.raises(
        ParameterError, match=r"pulses would come 80 times a second, and camera exposes"
    ):
        scanned(
            laboratory, "continuous_tomography", trigger=laboratory.beamline.trigger_box,
            order=("projections",),
        )  # fmt: skip


@pytest.mark.parametrize("readout", ["direct", "later"])
def test_pulses_that_do_not_come_end_the_scan(tmp_path: Path, readout: str) -> None:
    laboratory = Laboratory(tmp_path, memory_bytes=2**20)
    with (
        patience(frame_s=0.3),
        pytest.raises(
            CameraError, match=r"camera exposed 0 of 3 frames .* check that they are given"
        ),
    ):
        laboratory.run(
            "continuous_tomography", trigger="edge", order=("projections",), readout=readout
        )
    assert not laboratory.beam_is_on()
    assert not laboratory.moving()
    laboratory.close()


def test_the_box_refuses_what_it_cannot_do(laboratory: Laboratory) -> None:
    box = laboratory.beamline.trigger_box
    for train, message in (
        (PulseTrain(2, "table", (1.0, 2.0)), "connected are rotation"),
        (PulseTrain(3, "rotation", (1.0, 2.0)), "3 pulses at 2 positions"),
        (PulseTrain(3, "rotation", (1.0, 2.0, 1.5)), "all in one direction"),
    ):
        with pytest.raises(FailedStatus) as caught:
            laboratory.RE(bps.prepare(box, train, wait=True))
        assert isinstance(caught.value.__cause__, DeviceError)
        assert message in str(caught.value.__cause__)
    laboratory.RE(bps.prepare(box, PulseTrain(0), wait=True))
    with pytest.raises(FailedStatus) as caught:
        laboratory.RE(bps.trigger(box, wait=True))
    assert "armed for 0 more" in str(caught.value.__cause__)


@pytest.mark.parametrize("plan", [continuous_tomography, step_tomography])
def test_every_end_with_a_trigger_device_is_safe(laboratory: Laboratory, plan: Any) -> None:
    b = laboratory.beamline
    bench = laboratory.bench(
        lambda: plan(
            b.camera, b.rotation, b.beam, b.sample_stage, **POSITIONS,
            num_projections=3, angular_range="6 deg", order=("projections",),
            trigger=b.trigger_box, md=laboratory.directories.new().metadata(),
        )
    )  # fmt: skip
    check_every_end(bench, every=6)


def test_the_frames_of_pulses_are_counted_once(laboratory: Laboratory) -> None:
    box = laboratory.beamline.trigger_box
    for name in ("step_tomography", "continuous_tomography"):
        figures = preflight(laboratory.plan(name, **(SCAN | {"trigger": box})))
        assert [(stream.stream, stream.frames) for stream in figures.streams] == [
            ("darks", 2), ("flats", 2), ("projections", 96),
        ]  # fmt: skip


class Sequencer(Device):
    """The signals of a PandA's sequencer."""

    def __init__(self) -> None:
        self.table = soft_signal_rw(SeqTable)
        self.repeats = soft_signal_rw(int)
        self.prescale = soft_signal_rw(float)
        self.prescale_units = soft_signal_rw(PandaTimeUnits, PandaTimeUnits.S)
        self.enable = soft_signal_rw(str, "ZERO")
        self.posa = soft_signal_rw(str, "ZERO")
        super().__init__()


class Box(Device):
    def __init__(self) -> None:
        self.seq = DeviceVector({1: Sequencer()})
        super().__init__("panda")


@pytest.mark.parametrize(
    ("counts", "parameters", "said"),
    [
        (
            1000.0,
            {"num_projections": 5000},
            "trigger: Trigger device panda was asked for pulses at 5000 positions; its sequencer has 4096 rows. "
            "Take fewer projections a run, or give pulses at times.",
        ),
        (
            1.0,
            {"num_projections": 1000},
            "trigger: Trigger device panda was asked for pulses at 1000 positions from ",
        ),
        (
            1e8,
            {"num_projections": 10},
            "trigger: Trigger device panda was asked for pulses at rotation = ",
        ),
    ],
    ids=["too many", "within one count", "beyond 32 bits"],
)
def test_what_a_panda_cannot_do_is_told_before_anything_moves(
    laboratory: Laboratory, counts: float, parameters: dict[str, Any], said: str
) -> None:
    b = laboratory.beamline
    trigger = PandaTrigger(Box(), {"rotation": PandaAxis("INENC1.VAL", counts)})
    given = SCAN | parameters | {"trigger": trigger, "angular_range": "180 deg"}
    since_s = time.time()
    for run in (laboratory.RE, preflight):
        laboratory.documents.clear()
        with pytest.raises(ParameterError) as caught:
            run(laboratory.plan("continuous_tomography", **given))
        assert str(caught.value).startswith(said)
    assert laboratory.documents == []
    assert all(motor._trajectory.last.start_s < since_s for motor in (b.rotation, b.sample_stage))


def test_a_panda_is_given_pulses_at_times_as_often_as_it_likes(laboratory: Laboratory) -> None:
    trigger = PandaTrigger(Box())
    trigger.check_train(PulseTrain(70_000, period_s=1e-3))
    with pytest.raises(DeviceError, match=r"a pulse each 1e-05 s; one lasts 1e-05 s\."):
        trigger.check_train(PulseTrain(10, period_s=1e-5))
