"""A camera that records into a memory of its own and is read out later."""

from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky.utils import FailedStatus, MsgGenerator

from concertino import CameraError
from concertino.devices import Camera
from concertino.frames import FrameRequest
from concertino.simulation import Faults

from .scanning import Reader, Scans, fly, in_run, make_camera, read_all

MEMORY: dict[str, Any] = {"memory_bytes": 40 * 16 * 16 * 2}


@pytest.fixture
def scans() -> Scans:
    found = Scans()
    found.RE.subscribe(Reader(read_all))
    return found


def later(count: int | None, **given: Any) -> FrameRequest:
    return FrameRequest(count, "frames", readout="later", **given)


def recorded_first(camera: Camera, noted: list[tuple[int, int]]) -> MsgGenerator[None]:
    """Take 40 frames, and note what is exposed and published when the last one is exposed."""

    def inner() -> MsgGenerator[None]:
        yield from bps.prepare(camera, later(40), wait=True)
        yield from bps.declare_stream(camera, name="frames")
        yield from bps.kickoff(camera, wait=True)
        (task,) = yield from bps.wait_for([camera.wait_exposed])
        task.result()
        acquisition: Any = camera._acquisition
        noted.append((acquisition.exposed, acquisition.stream.published))
        assert camera.exposed
        yield from bps.collect_while_completing([camera], [camera], stream_name="frames")

    yield from in_run(inner(), camera)


def test_frames_are_recorded_and_then_read_out(scans: Scans) -> None:
    camera, noted = make_camera(readout_rate_hz=100.0, **MEMORY), list[tuple[int, int]]()
    scans.RE(recorded_first(camera, noted))
    ((exposed, published),) = noted
    assert exposed == 40
    assert published < 20  # It takes 0.4 s to read all of them out.
    assert scans.described() == list(range(40))
    acquisition: Any = camera._acquisition
    ledger = acquisition.ledger
    assert (ledger.recorded, ledger.exposed, ledger.published, ledger.acknowledged) == (40,) * 4
    ledger.check()


def test_frames_are_those_of_a_direct_read_out() -> None:
    digests = []
    for readout in ("direct", "later"):
        scans = Scans()
        scans.RE.subscribe(Reader(read_all))
        camera = make_camera(noise=False, **MEMORY)
        scans.RE(fly(camera, FrameRequest(5, "frames", readout=readout)))
        acquisition: Any = camera._acquisition
        digests.append(acquisition.ledger.digest)
    assert digests[0] == digests[1]


def test_software_triggers_are_done_when_the_frame_is_recorded(scans: Scans) -> None:
    camera = make_camera(readout_rate_hz=100.0, **MEMORY)

    def inner() -> MsgGenerator[None]:
        yield from bps.prepare(camera, later(5, trigger="software"), wait=True)
        yield from bps.declare_stream(camera, name="frames")
        for index in range(5):
            yield from bps.trigger(camera, wait=True)
            acquisition: Any = camera._acquisition
            assert acquisition.exposed == index + 1
        yield from bps.collect_while_completing([camera], [camera], stream_name="frames")

    scans.RE(in_run(inner(), camera))
    assert scans.described() == list(range(5))


@pytest.mark.parametrize(
    ("memory", "request_", "message"),
    [
        (
            {"memory_bytes": 20_600},
            later(41),
            "Camera camera was asked to record 41 frames of frames, 0.021 MB; its memory of 0.0206 MB "
            "holds 40. Ask for at most so many, or use readout='direct'.",
        ),
        (
            MEMORY,
            later(None),
            "Camera camera was asked to record frames without end of frames; its memory of "
            "0.0205 MB holds 40. Ask for at most so many, or use readout='direct'.",
        ),
        (
            {},
            later(3),
            "Camera camera was asked to record frames and read them out later; it has no memory of "
            "its own. Use readout='direct'.",
        ),
    ],
)
def test_what_does_not_fit_is_refused_beforehand(
    scans: Scans, memory: dict[str, Any], request_: FrameRequest, message: str
) -> None:
    with pytest.raises(FailedStatus) as caught:
        scans.RE(fly(make_camera(**memory), request_))
    assert str(caught.value.__cause__) == message
    assert not scans.find("descriptor")


def test_a_memory_cannot_be_negative() -> None:
    with pytest.raises(CameraError, match="a memory of -1 bytes and a read-out of 0 frames/s"):
        make_camera(memory_bytes=-1)


def dies_while(faults: Faults, scans: Scans) -> tuple[Camera, str]:
    camera = make_camera(faults, **MEMORY)
    with pytest.raises(FailedStatus) as caught:
        scans.RE(fly(camera, later(40)))
    assert isinstance(caught.value.__cause__, CameraError)
    return camera, str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("faults", "message", "safe"),
    [
        (
            Faults(die_in_readout_at=25),
            "Camera camera died: it stopped answering while frame 25 of frames was read out of its "
            "memory. Of 40 frames of frames, 40 were recorded into its memory and 25 read out; the "
            "others are lost. Take them again.",
            25,
        ),
        (
            Faults(die_at=30),
            "Camera camera died: it stopped answering at frame 30 of frames. Of 40 frames of "
            "frames, 30 were recorded into its memory and 0 read out; the others are lost. Take them again.",
            0,
        ),
    ],
)
def test_death(scans: Scans, faults: Faults, message: str, safe: int) -> None:
    camera, said = dies_while(faults, scans)
    assert said == message
    assert scans.described() == list(range(safe))
    acquisition: Any = camera._acquisition
    (row,) = [row for row in _rows(camera) if row["role"] == "publisher"]
    assert row["recorded"] == acquisition.stream.recorded >= 30
    assert (row["frames"], row["acknowledged"]) == (safe, safe)


def test_frames_lost_while_recording(scans: Scans) -> None:
    camera = make_camera(Faults(drop_frames=[3, 7]), **MEMORY)
    scans.RE(fly(camera, later(10, on_lost="flag")))
    assert scans.described() == list(range(8))
    acquisition: Any = camera._acquisition
    ledger = acquisition.ledger
    assert (ledger.recorded, ledger.exposed, ledger.published) == (10, 10, 8)
    assert ledger.dropped == (3, 7)
    assert ledger.differences() == ["the camera dropped 2 frames (numbers 3, 7)"]


def _rows(camera: Camera) -> list[dict[str, Any]]:
    prefix = f"{camera.ledger.name}-"
    return [
        {key.removeprefix(prefix): value for key, value in event["data"].items()}
        for event in camera.ledger.collect()
    ]


def test_a_failed_wait_says_why(scans: Scans) -> None:
    camera, noted = make_camera(Faults(die_at=30), **MEMORY), list[tuple[int, int]]()
    with pytest.raises(CameraError, match="died: it stopped answering at frame 30"):
        scans.RE(recorded_first(camera, noted))
    assert not noted


def test_stopping_while_it_is_read_out_tells_what_is_lost(scans: Scans) -> None:
    camera = make_camera(readout_rate_hz=50.0, **MEMORY)

    def inner() -> MsgGenerator[None]:
        yield from bps.prepare(camera, later(40), wait=True)
        yield from bps.declare_stream(camera, name="frames")
        yield from bps.kickoff(camera, wait=True)
        yield from bps.wait_for([camera.wait_exposed])
        yield from bps.sleep(0.1)
        yield from bps.unstage(camera, wait=True)
        yield from bps.collect(camera, name="frames")

    scans.RE(in_run(inner(), camera))
    acquisition: Any = camera._acquisition
    ledger = acquisition.ledger
    assert 0 < ledger.published < 40
    assert scans.described() == list(range(ledger.published))
    assert ledger.differences()[0] == (
        f"40 frames were recorded into the camera's memory but {ledger.published} read out"
    )
    assert f"40 were recorded into its memory and {ledger.published} read out" in str(
        acquisition.error
    )
