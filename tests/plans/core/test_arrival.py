"""A motor that says that it is there: its read-back is compared with where it was sent."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from bluesky.protocols import Reading
from bluesky.utils import MsgGenerator
from ophyd.sim import SynAxis
from ophyd.status import Status

from concertino import DeviceError
from concertino.devices import SimulatedMotor
from concertino.plans import ascan, find_rotation_axis, focus
from concertino.plans.core._arrival import OF_A_STEP, OF_ITS_WAY
from tests.plans.laboratory import POSITIONS, Laboratory


class Stuck(SynAxis):  # type: ignore[misc]
    """Says that it is done, and goes a part of its way."""

    part = 0.0

    def set(self, value: float) -> Any:
        here = self.readback.get()
        super().set(here + self.part * (value - here))
        done = Status()
        done.set_finished()
        return done


def told(laboratory: Laboratory, run: Callable[[], Any]) -> str:
    laboratory.documents.clear()
    with pytest.raises(DeviceError) as caught:
        run()
    (stop,) = (document for name, document in laboratory.documents if name == "stop")
    assert stop["exit_status"] == "fail"
    assert str(caught.value) in stop["reason"]
    assert not laboratory.beam_is_on()
    return str(caught.value)


@pytest.mark.parametrize("name", ["radiography", "step_tomography", "continuous_tomography"])
def test_a_stage_that_stays_where_it_was(laboratory: Laboratory, name: str) -> None:
    said = told(laboratory, lambda: laboratory.run(name, sample_stage=Stuck(name="table")))
    assert said.startswith(
        "table was sent to 1 mm and says that it is there, but its read-back is 0 mm, off by more than 0.01 mm."
    )
    # The flats would have shown the sample.
    descriptors = [d["name"] for kind, d in laboratory.documents if kind == "descriptor"]
    assert "flats" not in descriptors


def test_a_rotation_that_stays_where_it_was(laboratory: Laboratory) -> None:
    said = told(
        laboratory,
        lambda: laboratory.run("step_tomography", rotation=Stuck(name="turn", egu="deg")),
    )
    assert said.startswith("turn was sent to 1")
    assert "its read-back is 0" in said
    assert f"off by more than {OF_A_STEP:g}" in said


def test_a_stage_that_goes_a_part_of_its_way(laboratory: Laboratory) -> None:
    stage = Stuck(name="table")
    stage.part = 1 - 3 * OF_ITS_WAY
    said = told(laboratory, lambda: laboratory.run("radiography", sample_stage=stage))
    assert "its read-back is 0.97 mm" in said
    stage = Stuck(name="table")
    stage.part = 1 - OF_ITS_WAY / 2
    documents = laboratory.run("radiography", sample_stage=stage)
    assert documents[-1][1]["exit_status"] == "success"


@pytest.mark.parametrize(("deadband", "fails"), [(1e-3, True), (0.05, False)])
def test_the_tolerance_that_a_motor_tells(
    laboratory: Laboratory, deadband: float, fails: bool
) -> None:
    stage = Stuck(name="table")
    stage.part, stage.deadband = 0.98, deadband
    if fails:
        said = told(laboratory, lambda: laboratory.run("radiography", sample_stage=stage))
        assert "off by more than 0.001 mm" in said
    else:
        documents = laboratory.run("radiography", sample_stage=stage)
        assert documents[-1][1]["exit_status"] == "success"


def test_other_plans_that_move(laboratory: Laboratory) -> None:
    b = laboratory.beamline

    def md() -> dict[str, Any]:
        return {"md": laboratory.directories.new().metadata()}

    plans: list[MsgGenerator[Any]] = [
        ascan([b.ring], Stuck(name="table"), 0, 1, num=3, **md()),
        find_rotation_axis(
            b.camera, Stuck(name="table", egu="deg"), b.beam, b.sample_stage,
            num_darks=1, num_flats=1, num_views=1, **POSITIONS, **md(),
        ),
        focus(b.camera, Stuck(name="table"), 1, 2, num=5, beam=b.beam, **md()),
    ]  # fmt: skip
    for plan in plans:
        assert "table was sent to" in told(laboratory, partial(laboratory.RE, plan))


class Polled(SimulatedMotor):
    """A motor whose read-back is that of the last time that somebody looked, four times a second."""

    _kept: tuple[float, Any] = (0.0, None)

    async def read(self) -> dict[str, Reading[Any]]:
        if time.time() - self._kept[0] > 0.25:
            self._kept = (time.time(), await super().read())
        return dict(self._kept[1])


def test_a_read_back_that_is_polled_is_waited_for(laboratory: Laboratory) -> None:
    rotation = Polled("deg", velocity=1000.0, max_velocity=1000.0, name="turn")
    stage = Polled("mm", velocity=1000.0, max_velocity=1000.0, name="table")
    documents = laboratory.run("step_tomography", rotation=rotation, sample_stage=stage)
    assert documents[-1][1]["exit_status"] == "success"
    # And the angles that are recorded are those of the frames.
    angles = [document["data"]["turn"] for kind, document in documents if kind == "event"]
    assert angles == pytest.approx([0, 1, 2], abs=1e-3)


class Winding(SynAxis):  # type: ignore[misc]
    """A rotation whose read-back begins anew after each turn."""

    def set(self, value: float) -> Any:
        return super().set(value % 360.0)


def test_a_rotation_that_counts_from_0_to_360(laboratory: Laboratory) -> None:
    documents = laboratory.run(
        "step_tomography",
        rotation=Winding(name="turn", egu="deg"),
        start_angle="350 deg",
        angular_range="30 deg",
    )
    assert documents[-1][1]["exit_status"] == "success"
