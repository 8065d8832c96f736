"""Scans of motors against measures: the points, the documents, the values."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from concertino.plans import ImageMeasure, ascan, dscan, scan
from concertino.storage import open_run
from concertino.units import q
from tests.plans.laboratory import Laboratory


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    made = Laboratory(tmp_path_factory.mktemp("scans"), exposure=0.001)
    yield made
    made.close()


def primary(lab: Laboratory) -> list[dict[str, Any]]:
    uids = {d["uid"] for n, d in lab.documents if n == "descriptor" and d["name"] == "primary"}
    return [d["data"] for n, d in lab.documents if n == "event" and d["descriptor"] in uids]


def run(lab: Laboratory, plan: Any) -> dict[str, Any]:
    lab.documents.clear()
    lab.RE(plan, **lab.directories.new().metadata())
    return next(d for n, d in lab.documents if n == "start")


def brightness(frame: NDArray[Any]) -> float:
    return float(frame.mean())


def test_ascan_reads_a_function_of_the_frame_at_each_point(lab: Laboratory) -> None:
    b = lab.beamline
    measure = ImageMeasure(b.camera, brightness, unit="count")
    start = run(lab, ascan([measure], b.sample_stage, "-1 mm", 1 * q.mm, num=5, beam=b.beam))
    events = primary(lab)
    assert [event["sample_stage"] for event in events] == [-1.0, -0.5, 0.0, 0.5, 1.0]
    stored = open_run(start["run_directory"])
    frames = stored.frames("frames").read()
    assert [event["brightness"] for event in events] == pytest.approx(
        [float(frame.mean()) for frame in frames]
    )
    # The sample is in the beam in the middle only.
    assert events[2]["brightness"] < 0.9 * events[0]["brightness"]
    assert not lab.beam_is_on()
    assert (start["plan_name"], start["num_points"]) == ("ascan", 5)
    assert start["plan_args"]["args"] == ["sample_stage", -1.0, 1.0]
    assert start["detectors"] == ["brightness", "camera"]
    descriptor = next(d for n, d in lab.documents if n == "descriptor" and d["name"] == "primary")
    assert descriptor["data_keys"]["brightness"]["units"] == "count"
    stored.close()


def test_a_measure_of_several_frames(lab: Laboratory) -> None:
    b = lab.beamline
    shapes: list[tuple[int, ...]] = []

    def spread(frames: NDArray[Any]) -> float:
        shapes.append(frames.shape)
        return float(frames.std(axis=0).mean())

    start = run(
        lab,
        ascan([ImageMeasure(b.camera, spread, frames=3)], b.sample_stage, 0, 1, num=2, beam=b.beam),
    )
    assert shapes == [(3, 16, 16)] * 2
    stored = open_run(start["run_directory"])
    frames = stored.frames("frames").read()
    stored.close()
    wanted = [float(frames[i : i + 3].std(axis=0).mean()) for i in (0, 3)]
    assert [event["spread"] for event in primary(lab)] == pytest.approx(wanted)


def test_dscan_is_relative_and_returns(lab: Laboratory) -> None:
    b = lab.beamline
    start = run(lab, ascan([b.ring], b.sample_stage, 0, "0.5 mm", num=2))
    start = run(lab, dscan([b.ring], b.sample_stage, "-200 um", "0.2 mm", num=3))
    assert [round(event["sample_stage"], 6) for event in primary(lab)] == [0.3, 0.5, 0.7]
    assert start["plan_name"] == "dscan"
    assert asyncio.run(b.sample_stage.user_readback.get_value()) == pytest.approx(0.5)


def test_scan_covers_a_grid_with_any_measures(lab: Laboratory) -> None:
    b = lab.beamline
    measures: list[Any] = [
        ImageMeasure(b.camera, np.mean),
        ImageMeasure(b.camera, np.max, name="top"),
        b.ring,
    ]
    start = run(
        lab,
        scan(
            measures, b.vertical_stage, 0, 1, 2, b.sample_stage, "-1 mm", "1 mm", 3,
            snake=True, beam=b.beam,
        ),
    )  # fmt: skip
    points = [(event["vertical_stage"], event["sample_stage"]) for event in primary(lab)]
    assert points == [(0, -1), (0, 0), (0, 1), (1, 1), (1, 0), (1, -1)]
    assert all({"mean", "top"} <= set(event) for event in primary(lab))
    assert list(start["shape"]) == [2, 3]
    assert start["hints"]["dimensions"] == [
        [["vertical_stage"], "primary"],
        [["sample_stage"], "primary"],
    ]


def test_three_motors_move_together(lab: Laboratory) -> None:
    b = lab.beamline
    run(
        lab,
        ascan(
            [b.ring], b.sample_stage, 0, 1, b.vertical_stage, 0, -1, b.rotation, "0 rad", "10 deg",
            num=3,
        ),
    )  # fmt: skip
    assert [
        (event["sample_stage"], event["vertical_stage"], round(event["rotation"], 6))
        for event in primary(lab)
    ] == [(0, 0, 0), (0.5, -0.5, 5), (1, -1, 10)]


def test_a_function_that_fails_fails_the_run_with_its_reason(lab: Laboratory) -> None:
    b = lab.beamline

    def broken(frame: NDArray[Any]) -> float:
        return float("nan")

    with pytest.raises(Exception, match="broken of frame 0 of camera camera is nan"):
        run(lab, ascan([ImageMeasure(b.camera, broken)], b.sample_stage, 0, 1, num=2, beam=b.beam))
    stop = next(d for n, d in lab.documents if n == "stop")
    assert stop["exit_status"] == "fail"
    assert "Give a function that returns a finite number." in stop["reason"]
    assert not lab.beam_is_on()


def test_scans_of_bluesky_take_image_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bluesky.plans as bp

    monkeypatch.setenv("BLUESKY_PREDECLARE", "1")
    lab = Laboratory(tmp_path, exposure=0.001)
    b = lab.beamline
    measure = ImageMeasure(b.camera, brightness)
    run(lab, bp.scan([b.camera, measure], b.sample_stage, 0, 1, 3))
    assert [event["sample_stage"] for event in primary(lab)] == [0, 0.5, 1]
    assert all(event["brightness"] > 0 for event in primary(lab))
    lab.close()


def test_the_curve_of_a_scan_is_plotted_as_it_comes(lab: Laboratory) -> None:
    import matplotlib as mpl

    mpl.use("agg", force=True)
    from bluesky.callbacks.mpl_plotting import LivePlot
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    plot = LivePlot("brightness", "sample_stage", ax=axes)
    b = lab.beamline
    token = lab.RE.subscribe(plot)
    run(lab, dscan([ImageMeasure(b.camera, brightness)], b.sample_stage, 0, 1, num=4, beam=b.beam))
    lab.RE.unsubscribe(token)
    (line,) = axes.get_lines()
    events = primary(lab)
    np.testing.assert_array_equal(line.get_xdata(), [event["sample_stage"] for event in events])
    np.testing.assert_array_equal(line.get_ydata(), [event["brightness"] for event in events])
    pyplot.close(figure)
