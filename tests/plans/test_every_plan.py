"""Every experiment at both kinds of source, stepped and continuous, against the digital twin.

What the devices are told is compared with the sequences of the predecessor's user guide, and what
comes of it with the phantom: slices of a tomography, images of a radiography, contrasts of a grating.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from bluesky import Msg
from numpy.typing import NDArray

from concertino.callbacks import GratingContrasts, OnlineReconstruction
from concertino.documents import TomoBlock
from concertino.reconstruction import ReconstructionSettings, rebin_helical, reconstruct
from concertino.simulation import BeamlineState
from concertino.storage import Run, open_run
from concertino.testing import plan_messages

from .laboratory import Laboratory
from .test_grating_stepping import GratingLaboratory, check_truth

SHAPE = (40, 48)
ROW = 20
COUNT = 72
PIXEL_MM = 0.005
ASKED: dict[str, Any] = {
    "num_darks": 2, "num_flats": 3, "num_projections": COUNT, "flat_position": "2 mm",
}  # fmt: skip
TURN: dict[str, Any] = {"angular_range": "180 deg"}
SPIRAL: dict[str, Any] = {
    **TURN,
    "start_position_vertical": f"{-8 * PIXEL_MM} mm",
    "vertical_shift_per_tomogram": f"{16 * PIXEL_MM} mm",
    "sample_height": f"{8 * PIXEL_MM} mm",
}
SOURCES = ("synchrotron", "tube")


@pytest.fixture(scope="module")
def labs() -> Iterator[dict[str, Laboratory]]:
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as root:
        made: dict[str, Laboratory] = {}
        for source in SOURCES:
            made[source] = Laboratory(
                Path(root, source), source, shape=SHAPE, noise=False, exposure=0.002,
                frame_rate=120.0, ring_bytes=2**22,
            )  # fmt: skip
            made[f"grating at a {source}"] = GratingLaboratory(Path(root, f"g-{source}"), source)
        yield made
        for laboratory in made.values():
            laboratory.close()


def story(lab: Laboratory, messages: Sequence[Msg]) -> list[str]:
    """Tell what the devices are told: what is set together, how frames are taken, the beam."""
    told: list[str] = []
    moves: dict[Any, list[str]] = {}
    stepped, triggers = False, 0
    for message in messages:
        device = getattr(message.obj, "name", "")
        if message.command == "set" and device == lab.beamline.beam.name:
            told.append("beam on" if message.args[0] else "beam off")
        elif message.command == "set" and device.endswith("-velocity"):
            told.append(f"{device} set")
        elif message.command == "set" and not stepped:
            place = f" to {message.args[0]:g}" if device == "sample_stage" else ""
            moves.setdefault(message.kwargs["group"], []).append(device + place)
        elif message.command == "wait" and message.kwargs["group"] in moves:
            told.append(" and ".join(moves.pop(message.kwargs["group"])))
        elif message.command == "prepare":
            stepped = message.args[0].trigger == "software"
            told.append(f"{message.args[0].count} {message.args[0].kind}")
        elif message.command == "kickoff":
            told += [f"{' and '.join(axes)} under way" for axes in moves.values()]
            moves.clear()
            told.append("free-running")
        elif message.command == "trigger":
            triggers += 1
        elif message.command == "complete" and stepped:
            told.append(f"{triggers} triggers")
            stepped, triggers = False, 0
        elif message.command == "close_run":
            told.append("closed")
    return told


OFF = ["beam off"]
BEGIN = [
    "beam off", "beam off", "2 darks", "free-running",
    "sample_stage to 2", "3 flats", "beam on", "free-running", "beam off",
]  # fmt: skip


def stepped(axes: Sequence[str], count: int) -> list[str]:
    return [
        " and ".join(["sample_stage to 0", *axes]), f"{count} projections",
        "beam on", "beam off", f"{count} triggers",
    ]  # fmt: skip


def continuous(axes: Sequence[str], count: int) -> list[str]:
    speeds = [f"{axis}-velocity set" for axis in axes]
    return [
        " and ".join(["sample_stage to 0", *axes]), *speeds,
        f"{count} projections", "beam on", f"{' and '.join(axes)} under way", "free-running",
        "beam off", *speeds,
    ]  # fmt: skip


def back(axes: Sequence[str]) -> list[str]:
    return ["closed", " and ".join(axes)]


TURNING, RISING = ("rotation",), ("rotation", "vertical_stage")
# What the user guide says of each; a velocity returns at every end, so a second time.
STORIES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "radiography": (
        {},
        [*BEGIN, "sample_stage to 0", "72 projections", "beam on", "free-running", "beam off", *OFF, "closed"],
    ),
    "step_tomography": (TURN, [*BEGIN, *stepped(TURNING, COUNT), *OFF, *back(TURNING)]),
    "continuous_tomography": (
        TURN,
        [*BEGIN, *continuous(TURNING, COUNT), *OFF, "rotation-velocity set", *back(TURNING)],
    ),
    "step_spiral_tomography": (SPIRAL, [*BEGIN, *stepped(RISING, 108), *OFF, *back(RISING)]),
    "continuous_spiral_tomography": (
        SPIRAL,
        [
            *BEGIN, *continuous(RISING, 108), *OFF,
            "rotation-velocity set", "vertical_stage-velocity set", *back(RISING),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", STORIES)
def test_an_experiment(labs: dict[str, Laboratory], name: str, source: str) -> None:
    lab = labs[source]
    parameters, wanted = STORIES[name]
    lab.documents.clear()
    live = OnlineReconstruction(ReconstructionSettings(slices=(ROW,)))
    token = lab.RE.subscribe(live)
    told = story(lab, plan_messages(lab.bench(lambda: lab.plan(name, **{**ASKED, **parameters}))))
    lab.RE.unsubscribe(token)
    assert told == wanted
    start = lab.documents[0][1]
    assert start["plan_name"] == name
    assert start["plan_args"]["beam"] == lab.beamline.beam.name
    run = open_run(start["run_directory"])
    if name == "radiography":
        seen = lines_of(run).mean(axis=0)
        truth = lab.beamline.twin.lines(BeamlineState())
        np.testing.assert_allclose(seen, truth, atol=0.01 * truth.max())
    else:
        truth = lab.beamline.twin.phantom.slice(ROW, SHAPE, PIXEL_MM)
        assert likeness(slice_of(lab, run), truth) > 0.95
        if "spiral" not in name:
            # A continuous scan's planned angles are off by what the camera starts late.
            like = likeness(live.wait(300).volume[0], truth)
            assert like > (0.95 if name.startswith("step") else 0.6)
    run.close()


@pytest.mark.parametrize("source", SOURCES)
def test_a_grating(labs: dict[str, Laboratory], source: str) -> None:
    lab = labs[f"grating at a {source}"]
    assert isinstance(lab, GratingLaboratory)
    live = GratingContrasts()
    token = lab.RE.subscribe(live)
    asked: dict[str, Any] = {"num_steps_per_period": 8, "propagation_distance": "15 cm"}
    told = story(lab, plan_messages(lab.bench(lambda: lab.stepping(**asked))))
    lab.RE.unsubscribe(token)

    def stepping(stream: str, place: int) -> list[str]:
        return [
            f"sample_stage to {place} and grating_stage", f"8 {stream}",
            "beam on", "beam off", "8 triggers", "grating_stage",
        ]  # fmt: skip

    assert told == [
        "beam off", "beam off", "2 darks", "free-running",
        *stepping("reference_stepping", 1), *stepping("object_stepping", 0), "beam off", "closed",
    ]  # fmt: skip
    check_truth(live.wait(240))


def lines_of(run: Run) -> NDArray[np.float64]:
    """Return the line integrals that the projections show."""
    darks, flats, frames = (
        run.frames(stream).read().astype(float) for stream in ("darks", "flats", "projections")
    )
    dark = darks.mean(axis=0)
    return np.asarray(-np.log(np.maximum(frames - dark, 1) / (flats.mean(axis=0) - dark)))


def slice_of(lab: Laboratory, run: Run) -> NDArray[np.float32]:
    """Reconstruct a slice from the frames, at the angles and heights at which they were taken."""
    tomo = TomoBlock.from_start(run.start)
    b, settings = lab.beamline, ReconstructionSettings(center=lab.beamline.twin.rotation_axis_px)
    if tomo.acquisition == "stepped":
        events = [event["data"] for event in run["projections"].events]
        angles = np.deg2rad([data["rotation"] for data in events])
        heights = np.array([data.get("vertical_stage", 0.0) for data in events])
    else:
        times = np.asarray(run.frames("projections").index["timestamp_ns"]) / 1e9
        angles = np.deg2rad([b.rotation.position_at(time) for time in times])
        heights = np.array([b.vertical_stage.position_at(time) for time in times])
    lines = lines_of(run)
    if tomo.scheme != "spiral":
        chosen = settings.updated(slices=(ROW,))
        volume = reconstruct(lines.astype(np.float32), angles, settings=chosen)
    else:
        height = (SHAPE[0] - 1) / 2 - ROW
        sinogram, indices = rebin_helical(lines, heights / PIXEL_MM, height=height, count=COUNT)
        volume = reconstruct(sinogram, angles[indices], settings=settings)
    found: NDArray[np.float32] = volume[0]
    return found


def likeness(found: NDArray[Any], truth: NDArray[Any]) -> float:
    return float(np.corrcoef(found.ravel(), truth.ravel())[0, 1])
