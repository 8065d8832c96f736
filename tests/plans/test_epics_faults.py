"""What goes wrong with motors and shutters of EPICS, really caused: beam off, motors stopped, and who it was."""

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from .control_systems.beamlines import Scans, beamline

KINDS = ["classic", "async"]
#: 90 deg in 45 frames at 50 frames/s: 100 deg/s.
FAST: dict[str, Any] = {"num_projections": 45, "angular_range": "90 deg", "order": ["projections"]}
QUICK = {"still_s": 4.0, "off_s": 5.0, "answer_s": 10.0}

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
    """Return what runs plans; the read-backs come ten times a second."""
    kind: str = request.param
    with beamline(kind, tmp_path_factory.mktemp(kind), readback_hz=10.0) as started:
        yield started


def eventually(true: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until_s
        time.sleep(0.02)


def turns(scans: Scans, count: int) -> bool:
    """Whether the rotation has begun more than a number of moves, and is on its way."""
    return len(scans.moves("rot")) > count == len(scans.moves("rot", ended=True))


def test_a_stepped_scan_with_a_pss(scans: Scans) -> None:
    found = scans.run("step_tomography", num_projections=3, angular_range="24 deg", shutter="pss")
    assert found["error"] == ""
    assert scans.beam()[-2:] == [True, False]
    truth = [scans.position(when_s) for when_s in found["middles_s"]]
    assert truth == pytest.approx([0.0, 8.0, 16.0], abs=1e-3)


@pytest.mark.parametrize(
    ("scans", "rotation", "sign"), [("classic", "rot", 1), ("async", "plays", -1)], indirect=["scans"]
)  # fmt: skip
def test_the_first_frame_is_in_its_place(scans: Scans, rotation: str, sign: int) -> None:
    begins = []
    for _ in range(6):  # A computer that is busy starts a camera late; never early.
        given = FAST | {"rot": rotation, "angular_range": f"{90 * sign} deg", "shutter": "checked"}
        found = scans.run("continuous_tomography", **given)
        assert found["error"] == ""
        assert scans.beam()[-2:] == [True, False]
        truth = sign * np.array([scans.position(when_s, rotation) for when_s in found["middles_s"]])
        # All at full speed, also those that follow a way against the backlash.
        assert np.diff(truth) == pytest.approx(2.0, abs=0.02)
        begins.append(truth[0] - 0.1)
        if abs(begins[-1]) < 0.5:
            break
    assert min(map(abs, begins)) < 0.5, begins


@pytest.mark.parametrize("scans", ["async"], indirect=True)
def test_a_backlash_beyond_the_limit_is_refused(scans: Scans) -> None:
    found = scans.run(
        "continuous_tomography", **FAST | {"rot": "plays", "angular_range": "-90 deg", "start_angle": "-845 deg"}
    )  # fmt: skip
    assert not found["moved"]
    assert found["error"].startswith("ParameterError: angular_range, with the way to lose speed:")


@pytest.mark.parametrize(
    ("scans", "pv", "fault", "given", "said"),
    [
        (
            "async",
            "rot:fault",
            "short",
            {},
            r"rot \(ca://\w+:rot\) was sent to [\d.]+ (deg )?and says that it is there, but its read-back is [\d.]+",
        ),
        (
            "classic",
            "rot:fault",
            "stalls",
            {},
            r"rot \(ca://\w+:rot\) was to move to [\d.]+ deg and has not said that it is there, nor come nearer for "
            r"[\d.]+ s; it is at [\d.]+ deg\. Check the motor",
        ),
        (
            "classic",
            "rot:fault",
            "slow",
            {},
            r"rot \(ca://\w+:rot\) was to take a velocity of 100 deg/s and has 60 deg/s\.",
        ),
        (
            "async",
            "fault",
            "open",
            {"shutter": "pss"},
            r"pss \(ca://\w+:pss:close\) was switched off, and 2 s later its read-back ca://\w+:pss:status reads 5, not 2 in "
            r"the bits 0b11\. THE BEAM MAY BE ON\.",
        ),
    ],
    ids=["stops short", "stalls", "refuses its velocity", "PSS stays open"],
    indirect=["scans"],
)
def test_a_fault_fails_the_run_and_says_where(
    scans: Scans, pv: str, fault: str, given: dict[str, Any], said: str
) -> None:
    given = FAST | {"deadlines": QUICK} | given
    scans.put(pv, fault)
    try:
        found = scans.run("continuous_tomography", **given)
    finally:
        scans.put(pv, "none")
    assert re.search(said, found["error"]), found["error"]
    assert found["exit_status"] == "fail"
    assert re.search(said, found["reason"]), found["reason"]
    if fault != "open":
        assert scans.beam()[-1] is False
    else:
        scans.put("pss:close", 1)
    eventually(lambda: len(scans.moves("rot")) == len(scans.moves("rot", ended=True)))


@pytest.mark.parametrize(
    ("scans", "how"), [("async", "interlock"), ("classic", "stop_all")], indirect=["scans"]
)
def test_an_emergency_ends_a_run(scans: Scans, how: str) -> None:
    count = len(scans.moves("rot"))
    long = {"num_projections": 3000, "order": ["projections"]}  # A minute.
    reason = "the button was pressed"
    scans.begin("continuous_tomography", **long, **{how: True if how == "interlock" else reason})
    if how == "interlock":
        eventually(lambda: any(way > 90 for *_, way, _, _ in scans.moves("rot")[count:]))
        reason = "must be at most 1e-05."
        scans.put("pressure", 1e-3)
    found = scans.answer(60)
    assert found["error"]
    assert found["exit_status"] == "abort"
    assert reason in found["reason"]
    assert scans.beam()[-1] is False
    _, _, position, target = scans.moves("rot", ended=True)[-1]
    assert position < target - 60
    if how == "stop_all":
        return
    # It is not well yet: the next run ends before there is beam.
    beam = scans.beam()
    found = scans.run("continuous_tomography", **FAST, interlock=True)
    scans.put("pressure", 1e-7)
    assert found["exit_status"] == "abort"
    assert True not in scans.beam()[len(beam) :]
    assert scans.run("continuous_tomography", **FAST, interlock=True)["error"] == ""
