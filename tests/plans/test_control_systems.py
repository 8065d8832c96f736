"""Plans with the motors of real control systems: EPICS' records by ophyd and ophyd-async, and Tango's by ophyd-async."""

import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .control_systems.beamlines import Scans, beamline

KINDS = ["classic", "async", "tango"]
#: 90 deg in 45 frames at 50 frames/s: 100 deg/s.
FAST: dict[str, Any] = {"num_projections": 45, "angular_range": "90 deg", "order": ["projections"]}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.disturbed_by_load(
        "servers of motors are processes; a scan's motion is judged by their clock"
    ),
]


@pytest.fixture(scope="module", params=KINDS)
def scans(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scans]:
    """Return what runs plans; the read-backs come five times a second, the unit is written as people do."""
    kind: str = request.param
    with beamline(kind, tmp_path_factory.mktemp(kind), readback_hz=5.0, egu="DEGREES") as started:
        yield started


@pytest.mark.parametrize("plan", ["radiography", "step_tomography", "continuous_tomography"])
def test_three_plans_start_and_end(scans: Scans, plan: str) -> None:
    turn = {} if plan == "radiography" else {"angular_range": "40 deg"}
    found = scans.run(plan, num_projections=20, **turn)
    assert found["error"] == ""
    assert found["exit_status"] == "success"
    if plan == "step_tomography":
        assert found["angles"] == pytest.approx(np.arange(20) * 2.0, abs=1e-3)


def test_the_camera_starts_in_place_with_a_slow_read_back(scans: Scans) -> None:
    begins = []
    for _ in range(6):  # A computer that is busy starts a camera late; never early.
        found = scans.run("continuous_tomography", **FAST)
        assert found["error"] == ""
        truth = np.array([scans.position(when_s) for when_s in found["middles_s"]])
        # All at full speed, and each angle recorded as it was.
        assert np.diff(truth) == pytest.approx(2.0, abs=0.02)
        allowed = 5 * np.array(found["uncertainty"]) + 0.05
        assert (np.abs(truth - found["angles"]) < allowed).all()
        # The first frame's middle is half an exposure after its begin.
        begins.append(truth[0] - 0.1)
        if abs(begins[-1]) < 0.5:
            break
    assert min(map(abs, begins)) < 0.5, begins


def refused(scans: Scans, plan: str, **parameters: Any) -> str:
    found = scans.run(plan, **parameters)
    assert not found["moved"]
    said: str = found["error"]
    assert said.startswith("ParameterError: ")
    return said.removeprefix("ParameterError: ")


def test_limits_are_asked_before_anything_moves(scans: Scans) -> None:
    fastest, farthest = (150, 500) if scans.kind == "tango" else (200, 1000)
    said = refused(scans, "continuous_tomography", **(FAST | {"num_projections": 15}))
    assert f"Motor rot was asked to move at 300 deg/s; it takes at most {fastest} deg/s." in said
    said = refused(scans, "step_tomography", num_projections=3, start_angle="1500 deg")
    assert said == (
        f"start_angle: Motor rot was asked to move to 1500 deg; its limits are -{farthest} to {farthest} deg."
    )
    # The way to lose speed goes beyond them.
    edge = FAST | {"start_angle": f"{farthest - 100} deg"}
    assert refused(scans, "continuous_tomography", **edge).startswith(
        "angular_range, with the way to lose speed: Motor rot was asked to move to"
    )
    if scans.kind != "tango":
        assert refused(scans, "radiography", num_projections=3, flat_position="3 cm") == (
            "flat_position: Motor stage was asked to move to 30 mm; its limits are 0 to 20 mm."
        )


def test_a_beam_and_a_stage_that_were_swapped(scans: Scans) -> None:
    said = refused(scans, "radiography", num_projections=3, stage="shutter", shutter="rot")
    assert said.startswith("beam: rot reads as a number, as a position does")


def test_a_motor_that_says_that_it_is_there_and_is_not(scans: Scans) -> None:
    if scans.kind == "tango":
        pytest.skip("the server has no such motor")
    found = scans.run("radiography", num_projections=3, stage="stuck")
    said = r"DeviceError: stuck \(ca://\w+:stuck\) was sent to 5 mm and says that it is there, but its read-back is 0 mm, "
    assert re.match(
        said + r"off by more than 0\.001 mm\. Check that it is switched on", found["error"]
    )
    assert found["exit_status"] == "fail"
    assert found["reason"] in found["error"]


def eventually(true: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 240
    while not true():
        assert time.monotonic() < until_s
        time.sleep(0.02)


def test_a_signal_stops_a_motor_that_would_go_on_without_its_session(tmp_path: Path) -> None:
    with beamline("async", tmp_path) as started:
        # A minute on its way: 180 deg at 3 deg/s.
        started.begin("continuous_tomography", num_projections=3000, order=["projections"])
        eventually(lambda: any(way > 90 for *_, way, _, _ in started.moves("rot")))
        begins = len(started.moves("rot"))
        assert len(started.moves("rot", ended=True)) == begins - 1
        signal_s = time.time()
        assert started.end(signal.SIGTERM) == 128 + signal.SIGTERM
        eventually(lambda: len(started.moves("rot", ended=True)) == begins)
    _, end_s, position, target = started.moves("rot", ended=True)[-1]
    assert end_s - signal_s < 30
    assert position < target - 60


@pytest.mark.parametrize("kind", ["classic", "async"])
def test_a_unit_that_nobody_knows_is_refused(tmp_path: Path, kind: str) -> None:
    with beamline(kind, tmp_path, egu="steps") as started:
        said = refused(started, "continuous_tomography", **FAST)
    assert said == (
        "rotation: rot states 'steps' as the unit of its position, which is not known, so that nobody can say "
        "what 1 deg is. Have it state its unit, such as 'deg' (in EPICS its EGU), or none."
    )
