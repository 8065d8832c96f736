"""Cameras of Aravis and Micro-Manager in imaging plans, and what real faults do there.

What happens is told by others than the source: the process of the camera is stopped or killed, its core stops the
sequence or unloads the device, the kernel has no more space.
"""

import re
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from bluesky import Msg
from bluesky.preprocessors import msg_mutator
from bluesky.utils import FailedStatus, MsgGenerator
from numpy.typing import NDArray

from concertino import CameraError, SubscriberFailedError
from concertino.callbacks import ImageWriter
from concertino.devices import Camera, MicroManagerSource, SimulatedBeamline, TriggeredFrameSource
from concertino.plans import continuous_tomography, radiography, step_tomography
from concertino.session import open_session
from concertino.storage import Run, open_run
from tests.small_disks import mounted_disk

from .demo_camera import LABEL, demo_core
from .fake_gige import fake_gige, opened
from .needed import need
from .struck import Struck

FRAMES = 12
#: More than the small disk holds.
MANY = 100
PLANS = ("radiography", "step", "continuous")
RATE = 10.0

pytestmark = pytest.mark.disturbed_by_load(
    "what happens between two frames happens after the second when the test gets no processor"
)


@dataclass
class Bench:
    """A real camera, and what can happen to it."""

    source: TriggeredFrameSource
    lose_last: Callable[[], None]
    die: Callable[[], None]
    died: str
    lost: str


@contextmanager
def genicam() -> Iterator[Bench]:
    """Aravis' fake camera; its last frame is lost as its process stands still before it."""
    need("genicam")
    with fake_gige() as camera, opened() as source:
        try:
            yield Bench(
                source,
                lambda: camera.process.send_signal(signal.SIGSTOP),
                camera.kill,
                # The software trigger of a step is not answered; else it is the heartbeat.
                died=r"was lost: it does not answer any more|was told to software trigger, and failed",
                # Whichever is noticed first: the silence, or that its heartbeat is missing, too.
                lost=r"gave no frame for .* after 11 of 12 frames|was lost: it does not answer|software trigger, and failed",
            )
        finally:
            camera.process.send_signal(signal.SIGCONT)


@contextmanager
def micro_manager() -> Iterator[Bench]:
    """Micro-Manager's DemoCamera; its last frame is lost as somebody else ends its sequence, or unloads it."""
    need("micromanager")
    with demo_core() as core:

        def stop() -> None:
            if core.isSequenceRunning():
                core.stopSequenceAcquisition(LABEL)
            else:
                core.unloadDevice(LABEL)

        def unload() -> None:
            if core.isSequenceRunning():
                core.stopSequenceAcquisition(LABEL)
            core.unloadDevice(LABEL)

        failed = (
            r"ended its sequence after {} of 12 frames|failed: Camera not loaded|failed: No device"
        )
        yield Bench(MicroManagerSource(core), stop, unload, failed.format(6), failed.format(11))


BENCHES = {"genicam": genicam, "micromanager": micro_manager}


@pytest.fixture(params=BENCHES)
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with BENCHES[request.param]() as made:
        yield made


def scan(
    name: str,
    source: TriggeredFrameSource,
    directory: Path,
    *,
    count: int = FRAMES,
    announced: bool = True,
) -> None:
    """Take a scan of the camera, written as TIFF; the beam is off at its end, whatever that is."""
    beamline = SimulatedBeamline(shape=(16, 16))
    # Radiographs at the camera's own pace, where that is how it runs a sequence.
    sequence = name == "radiography" and isinstance(_inner(source), MicroManagerSource)
    rate, exposure = (0.0, 0.2) if sequence and count == FRAMES else (RATE, 0.02)
    camera = Camera(source, exposure=exposure, frame_rate=rate, frame_timeout_s=10.0)
    where: dict[str, Any] = {
        "radio_position": "0 mm",
        "flat_position": "10 mm",
        "num_darks": 2,
        "num_flats": 2,
    }
    plans: dict[str, Callable[[], MsgGenerator[Any]]] = {
        "radiography": lambda: radiography(
            camera, beamline.beam, beamline.sample_stage, num_projections=count, **where
        ),
        "step": lambda: step_tomography(
            camera, beamline.rotation, beamline.beam, beamline.sample_stage, num_projections=count, **where
        ),
        "continuous": lambda: continuous_tomography(
            camera, beamline.rotation, beamline.beam, beamline.sample_stage, num_projections=count, **where
        ),
    }  # fmt: skip
    with open_session(directory, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        try:
            session.RE(plans[name]() if announced else msg_mutator(plans[name](), _announces_none))
        finally:
            assert not beamline.shutter.is_open


def _inner(source: TriggeredFrameSource) -> TriggeredFrameSource:
    return source.source if isinstance(source, Struck) else source


def _announces_none(message: Msg) -> Msg:
    """Have a run announce no frames, so that the disk is full in mid-scan and not before."""
    if message.command == "open_run":
        return message._replace(kwargs={**message.kwargs, "frames": {}})
    return message


def stored(directory: Path, kind: str = "projections") -> list[NDArray[Any]]:
    """Return the frames on the disk."""
    return [
        tifffile.imread(path) for path in sorted((directory / "scan_0001" / kind).glob("*.tif"))
    ]


def ended(directory: Path) -> tuple[Run, Mapping[str, Any]]:
    """Return the run, and the document that says how it ended."""
    run = open_run("scan_0001", directory)
    assert run.stop is not None
    return run, run.stop


def camera_row(run: Run, stream: str = "projections") -> dict[str, Any]:
    """Return what the ledger says of the camera."""
    (row,) = [row for row in run.ledger() if row["stream"] == stream and row["role"] == "publisher"]
    return row


@pytest.mark.parametrize("name", PLANS)
def test_each_plan_takes_its_frames(bench: Bench, name: str, tmp_path: Path) -> None:
    scan(name, bench.source, tmp_path)
    run, stop = ended(tmp_path)
    assert stop["exit_status"] == "success"
    frames = run.frames("projections")
    assert frames.shape == (FRAMES, 32, 48)
    row = camera_row(run)
    assert (row["exposed"], row["frames"], row["dropped"]) == (FRAMES, FRAMES, 0)
    # Both cameras draw another pattern for each frame, if not for each of many.
    images = stored(tmp_path)
    assert len(images) == FRAMES
    assert not any(map(np.array_equal, images, images[1:]))


def test_a_thousand_frames_are_accounted_for(bench: Bench, tmp_path: Path) -> None:
    beamline = SimulatedBeamline(shape=(16, 16))
    camera = Camera(bench.source, exposure=0.001, frame_rate=_thousands_rate(bench))
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        session.RE(
            radiography(
                camera, beamline.beam, beamline.sample_stage, radio_position="0 mm", flat_position="10 mm",
                num_darks=2, num_flats=2, num_projections=1000, on_lost="flag",
            )
        )  # fmt: skip
    row = camera_row(open_run("scan_0001", tmp_path))
    print(f"{type(bench.source).__name__}: {row['dropped']} of {row['exposed']} frames lost")
    assert row["exposed"] == row["frames"] + row["dropped"] == 1000
    assert len(stored(tmp_path)) == row["frames"]


def _thousands_rate(bench: Bench) -> float:
    return 0.0 if isinstance(bench.source, MicroManagerSource) else 200.0


def check_failed(tmp_path: Path, given: int, error: BaseException, said: str) -> None:
    """Check that a run failed for the reason, and that its frames until then are on the disk and accounted for."""
    run, stop = ended(tmp_path)
    assert stop["exit_status"] == "fail"
    assert re.search(said, stop["reason"]), stop["reason"]
    assert re.search(said, str(error.__cause__ or error)), error
    row = camera_row(run)
    assert (row["frames"], row["dropped"]) == (given, 0)
    assert row["triggered"] == FRAMES
    assert len(stored(tmp_path)) == given


@pytest.mark.parametrize("name", PLANS)
def test_a_last_frame_that_is_lost_fails_the_run(bench: Bench, name: str, tmp_path: Path) -> None:
    # A sequence that is told to end takes the frame that it is at.
    sequence = name == "radiography" and isinstance(bench.source, MicroManagerSource)
    source = Struck(bench.source, FRAMES - (2 if sequence else 1), bench.lose_last)
    with pytest.raises((FailedStatus, CameraError)) as caught:
        scan(name, source, tmp_path)
    check_failed(tmp_path, FRAMES - 1, caught.value, bench.lost)


@pytest.mark.parametrize("name", PLANS)
def test_a_camera_that_dies_fails_the_run(bench: Bench, name: str, tmp_path: Path) -> None:
    source = Struck(bench.source, FRAMES // 2, bench.die)
    with pytest.raises((FailedStatus, CameraError)) as caught:
        scan(name, source, tmp_path)
    check_failed(tmp_path, FRAMES // 2, caught.value, bench.died)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system that has no room for the frames of a scan."""
    with mounted_disk(tmp_path / "disk", "400k") as disk:
        yield disk


@pytest.mark.parametrize("name", PLANS)
def test_a_full_disk_fails_the_run_and_keeps_what_it_counts(
    bench: Bench, name: str, small_disk: Path
) -> None:
    with pytest.raises((FailedStatus, SubscriberFailedError)) as caught:
        scan(name, bench.source, small_disk, count=MANY, announced=False)
    failed = (
        caught.value if isinstance(caught.value, SubscriberFailedError) else caught.value.__cause__
    )
    assert "No space left on device" in str(failed)
    run, stop = ended(small_disk)
    assert stop["exit_status"] == "fail"
    assert "No space left on device" in stop["reason"]
    row = camera_row(run)
    (writer,) = [
        row for row in run.ledger() if row["stream"] == "projections" and row["role"] != "publisher"
    ]
    assert 0 < writer["acknowledged"] <= row["frames"] < MANY
    folder = small_disk / "scan_0001" / "projections"
    for index in range(writer["acknowledged"]):  # one that came later may be cut
        assert tifffile.imread(folder / f"frame_{index:06d}.tif").shape == (32, 48)
