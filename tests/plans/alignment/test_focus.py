"""The focus of the twin is found, and what has none is refused."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from concertino import DeviceError
from concertino.plans import ImageMeasure, focus
from concertino.reconstruction import sharpness
from concertino.simulation import Focus, Phantom
from tests.plans.process_laboratory import ProcessLaboratory, foam, twin

SHAPE = (96, 112)


@pytest.mark.parametrize(("position_mm", "depth_mm"), [(1.37, 0.1), (-0.83, 0.1), (0.215, 0.05)])
def test_the_focus_is_found_within_its_depth(
    tmp_path: Path, position_mm: float, depth_mm: float
) -> None:
    lab = ProcessLaboratory(tmp_path, twin(foam(SHAPE), SHAPE, focus=Focus(position_mm, depth_mm)))
    b = lab.beamline
    found = lab.result(focus(b.camera, b.focus_stage, "-2 mm", "2 mm", beam=b.beam))
    lab.close()
    assert abs(found.position - position_mm) < depth_mm
    assert asyncio.run(b.focus_stage.user_readback.get_value()) == pytest.approx(found.position)
    assert abs(found.position - position_mm) < max(5 * found.uncertainty, 0.2 * depth_mm)
    assert found.confidence > 0.8
    assert found.unit == "mm"
    assert not lab.beam_is_on()
    (event,) = lab.events("focus")
    assert event["focus-position"] == found.position
    assert event["focus-figure"] == found.figure
    measured = [e["sharpness"] for e in lab.events("primary")]
    assert found.figure == measured[-1] > 0.97 * max(measured)


def test_any_readable_can_be_made_greatest(tmp_path: Path) -> None:
    lab = ProcessLaboratory(tmp_path, twin(foam(SHAPE), SHAPE, focus=Focus(0.4)))
    b = lab.beamline

    def how_sharp(frames: NDArray[Any]) -> float:
        return sharpness(frames.mean(axis=0))

    measure = ImageMeasure(b.camera, how_sharp, frames=2)
    found = lab.result(focus(measure, b.focus_stage, 2, -1, num=9, tolerance="5 um", beam=b.beam))
    assert found.position == pytest.approx(0.4, abs=0.1)
    lab.close()


def test_a_flat_curve_and_an_end_are_refused_and_the_stage_returns(tmp_path: Path) -> None:
    lab = ProcessLaboratory(tmp_path, twin(Phantom(()), SHAPE, focus=Focus(0.4)))
    b = lab.beamline
    with pytest.raises(
        DeviceError, match="focus: sharpness is flat from -2 to 2 mm of focus_stage"
    ):
        lab.result(focus(b.camera, b.focus_stage, -2, 2, num=5, beam=b.beam))
    assert asyncio.run(b.focus_stage.user_readback.get_value()) == 0
    stop = next(d for n, d in lab.documents if n == "stop")
    assert stop["exit_status"] == "fail"
    assert "Bring something with contrast into the view" in stop["reason"]
    lab.close()
    lab = ProcessLaboratory(tmp_path / "end", twin(foam(SHAPE), SHAPE, focus=Focus(0.4)))
    b = lab.beamline
    with pytest.raises(
        DeviceError, match=r"greatest at the end of the range, at 1 mm of focus_stage.* below it"
    ):
        lab.result(focus(b.camera, b.focus_stage, 1, 2, num=5, beam=b.beam))
    assert asyncio.run(b.focus_stage.user_readback.get_value()) == 0
    assert not lab.beam_is_on()
    lab.close()
