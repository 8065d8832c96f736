"""Detectors that stream in scans: what is stored, and what is said when an image, the detector or the disk is lost."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky.utils import FailedStatus

from concertino import CameraError, FramesLostError, SubscriberFailedError
from concertino.callbacks import ImageWriter
from concertino.devices import Camera, DectrisStreamSource, HtypeStreamSource, SimulatedBeamline
from concertino.plans import continuous_tomography, radiography, step_tomography
from concertino.session import Session, open_session
from concertino.storage import open_run
from tests.small_disks import mounted_disk

from .detector_process import picture
from .detectors import Process, detector

pytestmark = pytest.mark.disturbed_by_load(
    "frames of another process must come while the axis turns"
)

SHAPE = (16, 24)
PROJECTIONS = 6
#: The series of a scan: darks, flats, projections.
DARKS, FLATS, LAST = 1, 2, 3
CONTROLLED = ("v2", "v1")


def camera_of(process: Process, protocol: str, **settings: Any) -> Camera:
    control = process.control if protocol in CONTROLLED else None
    kind = DectrisStreamSource if protocol == "v2" else HtypeStreamSource
    source = kind(process.stream, control=control, shape=SHAPE, dtype=np.uint16, within_s=60.0)
    return Camera(
        source,
        exposure=0.001 if protocol in CONTROLLED else 0.0,
        frame_rate=20,
        name="detector",
        **settings,
    )


def scan(plan: Any, camera: Camera, beamline: SimulatedBeamline) -> Any:
    rotation = () if plan is radiography else (beamline.rotation,)
    return plan(
        camera, *rotation, beamline.beam, beamline.sample_stage,
        radio_position="0 mm", flat_position="10 mm", num_darks=2, num_flats=3, num_projections=PROJECTIONS,
    )  # fmt: skip


class Bench:
    """A session in a directory, a beamline without a camera of its own, and a detector process."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.beamline = SimulatedBeamline(shape=SHAPE)
        self._stack = stack

    def detector(self, protocol: str, **behaviour: Any) -> Process:
        controlled = protocol in CONTROLLED
        counts = () if controlled else (2, 3, PROJECTIONS)
        return self._stack.enter_context(
            detector(
                protocol=protocol, controlled=controlled, counts=counts, period_s=0.05, **behaviour
            )
        )

    def run(self, plan: Any, camera: Camera) -> BaseException | None:
        """Run a scan; return why it failed."""
        with open_session(self.directory, progress=False, catalog=False) as session:
            session.subscribe(ImageWriter())
            return self._failure(session, scan(plan, camera, self.beamline))

    def _failure(self, session: Session, plan: Any) -> BaseException | None:
        try:
            session.RE(plan)
        except FailedStatus as error:
            return error.__cause__
        except Exception as error:
            return error
        finally:
            assert not self.beamline.shutter.is_open
        return None

    @property
    def documents(self) -> list[tuple[str, dict[str, Any]]]:
        lines = (self.directory / "scan_0001" / "documents.jsonl").read_text().splitlines()
        return [tuple(json.loads(line)) for line in lines]

    def frames(self, stream: str) -> list[Any]:
        return list(open_run(1, self.directory).frames(stream))

    def check(self, stream: str, series: int, numbers: list[int]) -> None:
        """Check that the images of a series are stored in a stream."""
        frames = self.frames(stream)
        assert len(frames) == len(numbers)
        for frame, number in zip(frames, numbers, strict=True):
            assert np.array_equal(frame, picture(series, number, SHAPE, "uint16"))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(tmp_path, stack)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted_disk(tmp_path / "disk", "2m") as disk:
        yield disk


WAYS = [
    *((protocol, plan) for protocol in CONTROLLED for plan in (radiography, step_tomography, continuous_tomography)),
    *(("maxiv", plan) for plan in (radiography, continuous_tomography)),
]  # fmt: skip
each_way = pytest.mark.parametrize(
    ("protocol", "plan"), WAYS, ids=[f"{way[0]}-{way[1].__name__}" for way in WAYS]
)


@each_way
@pytest.mark.parametrize("algorithm", ["bslz4", "none"])
def test_every_image_is_stored_as_it_was(
    bench: Bench, protocol: str, plan: Any, algorithm: str
) -> None:
    process = bench.detector(protocol, algorithm=algorithm)
    assert bench.run(plan, camera_of(process, protocol)) is None
    for series, (stream, count) in enumerate(
        [("darks", 2), ("flats", 3), ("projections", PROJECTIONS)], 1
    ):
        bench.check(stream, series, list(range(count)))
    assert process.end()["state"] == "idle"


@each_way
def test_a_last_image_that_is_lost_is_named(bench: Bench, protocol: str, plan: Any) -> None:
    process = bench.detector(protocol, lose={"series": LAST, "image": -1})
    error = bench.run(plan, camera_of(process, protocol))
    assert isinstance(error, FramesLostError), error
    assert str(PROJECTIONS - 1) in str(error)
    bench.check("projections", LAST, list(range(PROJECTIONS - 1)))
    assert process.end()["lost"] == [[LAST, PROJECTIONS - 1]]
    assert bench.documents[-1][1]["exit_status"] == "fail"


@each_way
def test_a_detector_that_is_killed_ends_the_run(bench: Bench, protocol: str, plan: Any) -> None:
    process = bench.detector(protocol, die={"series": LAST, "image": 3})
    error = bench.run(plan, camera_of(process, protocol))
    assert isinstance(error, CameraError), error
    assert process.killed
    assert process.stream in str(error) or process.control in str(error)
    bench.check("projections", LAST, [0, 1, 2])
    assert bench.documents[-1][1]["exit_status"] == "fail"


@each_way
def test_a_full_disk_ends_the_run(
    tmp_path: Path, small_disk: Path, protocol: str, plan: Any
) -> None:
    with ExitStack() as stack:
        bench = Bench(small_disk, stack)
        process = bench.detector(protocol)
        camera = camera_of(process, protocol)
        with open_session(small_disk, progress=False, catalog=False) as session:
            session.subscribe(ImageWriter())
            session.subscribe(_FillsTheDisk(small_disk), "descriptor")
            error = bench._failure(session, scan(plan, camera, bench.beamline))
            (small_disk / "filler").unlink(missing_ok=True)
        assert isinstance(error, SubscriberFailedError | OSError), error
        assert "No space left on device" in str(error)
        said = process.end()
        if protocol in CONTROLLED:
            assert said["state"] == "idle"


class _FillsTheDisk:
    """Leaves no space from the projections on."""

    def __init__(self, disk: Path) -> None:
        self._disk = disk

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        if document["name"] == "projections":
            with (self._disk / "filler").open("wb", buffering=0) as file:
                try:
                    while file.write(b"\0" * 512):
                        pass
                except OSError:
                    return


def test_steps_need_a_control(bench: Bench) -> None:
    process = bench.detector("maxiv")
    error = bench.run(step_tomography, camera_of(process, "maxiv"))
    assert isinstance(error, CameraError)
    assert "by software triggers, and nothing controls it" in str(error)
    assert not (bench.directory / "scan_0001").exists()


def test_a_lost_image_in_the_middle_is_named_and_the_run_goes_on_when_told_so(bench: Bench) -> None:
    process = bench.detector("v2", lose={"series": LAST, "image": 2})
    beamline, camera = bench.beamline, camera_of(process, "v2")
    with open_session(bench.directory, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        session.RE(
            continuous_tomography(
                camera, beamline.rotation, beamline.beam, beamline.sample_stage,
                radio_position="0 mm", flat_position="10 mm", num_darks=2, num_flats=3, num_projections=PROJECTIONS,
                on_lost="flag",
            )
        )  # fmt: skip
    bench.check("projections", LAST, [0, 1, 3, 4, 5])
    assert process.end()["lost"] == [[LAST, 2]]
