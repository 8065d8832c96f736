"""A series closes its run when its data are there; the rotation turns back afterwards, or not at all."""

import time
from collections.abc import Iterator
from typing import Any

import bluesky.plan_stubs as bps
import pytest

from concertino.plans import preflight
from tests.plans.laboratory import Laboratory

#: Half turns that take 0.4 s each, and a rotation that turns back at 240 deg/s, which takes 3 s.
SERIES: dict[str, Any] = {
    "angular_range": "180 deg", "num_projections": 80, "num_tomograms": 4, "order": ["projections"],
}  # fmt: skip
SLOW_DEG_S = 240.0
BACK_S = 4 * 180 / SLOW_DEG_S


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    made = Laboratory(tmp_path_factory.mktemp("unwinding"))
    made.RE(bps.mv(made.beamline.rotation.velocity, SLOW_DEG_S))
    yield made
    made.close()


def test_the_run_is_closed_before_the_rotation_turns_back(lab: Laboratory) -> None:
    rotation = lab.beamline.rotation
    documents = lab.run("continuous_tomography", **SERIES)
    closed_s = documents[-1][1]["time"]
    assert documents[-1][1]["exit_status"] == "success"
    assert documents[0][1]["plan_args"].get("unwind", True)
    # Where the rotation was when the run was closed, and how long it took from there, by its own trajectory.
    assert rotation.position_at(closed_s) > 4 * 180
    assert time.time() - closed_s > rotation.position_at(closed_s) / SLOW_DEG_S
    assert rotation.position_at(time.time()) == pytest.approx(0, abs=1e-6)
    assert "moves after a run" not in documents[0][1]["preflight"]["parts"]


def test_a_rotation_that_is_not_unwound_stays_and_the_next_scan_turns_it_back(
    lab: Laboratory,
) -> None:
    rotation = lab.beamline.rotation
    documents = lab.run("continuous_tomography", unwind=False, **SERIES)
    assert documents[0][1]["plan_args"]["unwind"] is False
    assert rotation.position_at(time.time()) > 4 * 180
    figures = preflight(lab.plan("continuous_tomography", **SERIES))
    assert figures.parts["moves"] > BACK_S
    lab.run("radiography")  # Whatever turns nothing leaves it there.
    assert rotation.position_at(time.time()) > 4 * 180


def test_preflight_tells_the_way_back_apart(lab: Laboratory) -> None:
    back = preflight(lab.plan("continuous_tomography", **SERIES))
    stays = preflight(lab.plan("continuous_tomography", unwind=False, **SERIES))
    # The way beyond the last frame, and gaining and losing speed, come to it.
    assert BACK_S < back.parts["moves after a run"] < BACK_S + 2
    assert "moves after a run" not in stays.parts
    assert back.duration_s - stays.duration_s == pytest.approx(back.parts["moves after a run"])
    assert "moves after a run" in back.table()
