"""Publishers and subscribers that are killed, stopped, cut off and restarted."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from concertino import FrameStreamError, SubscriberSilentError
from concertino.frames import FrameStream, Ring, subscribe
from tests.frames.contract.readers import drain, eventually, numbered_frames

pytestmark = pytest.mark.disturbed_by_load(
    "who gives no sign of life for a short time-out counts as dead, and gets no processor in time"
)

PLAYER = Path(__file__).parent / "player.py"
SHAPE = (32, 64)


class Player:
    """A process that runs `player.py`."""

    def __init__(self, part: str, **arguments: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, PLAYER, part, json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def hear(self) -> dict[str, Any]:
        """Return the next line that it prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "it died without a word"
        heard: dict[str, Any] = json.loads(line)
        return heard

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def send(self, sign: signal.Signals) -> None:
        self.process.send_signal(sign)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def play() -> Iterator[Callable[..., Player]]:
    players: list[Player] = []

    def play(part: str, **arguments: Any) -> Player:
        players.append(Player(part, **arguments))
        return players[-1]

    yield play
    for player in players:
        player.close()


@pytest.fixture(params=[False, True], ids=["memory", "wire"])
def wire(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """No socket or thread outlives a stream, however its processes ended."""
    before = left_over()
    yield
    eventually(lambda: left_over() <= before)


def left_over() -> set[str]:
    """What this process holds: what a dead one held is gone with it, as none of it has a name on a disk.

    The memory of the last ring is kept for the next stream.
    """
    entries = Path("/proc/self/fd").iterdir()
    held = {str(entry.readlink()) for entry in entries if entry.is_symlink()}
    return {entry for entry in held if entry.startswith("socket:")} | {
        thread.name for thread in threading.enumerate() if thread.name.startswith("frames ")
    }


def make(wire: bool, timeout_s: float, frames: int = 256) -> FrameStream:
    ring_bytes = frames * SHAPE[0] * SHAPE[1] * 2
    return FrameStream(
        shape=SHAPE,
        dtype="u2",
        ring_bytes=ring_bytes,
        ring=Ring(SHAPE, "u2", ring_bytes) if wire else None,
        timeout_s=timeout_s,
        name="played",
    )


def test_frames_reach_another_process(wire: bool, play: Callable[..., Player]) -> None:
    with make(wire, 20.0) as stream:
        player = play("subscribe", address=stream.address, verify=True)
        assert player.hear() == {"ready": True}
        for start in range(0, 1000, 10):
            stream.publish(numbered_frames(start, 10, SHAPE))
        stream.end().check()
        assert player.hear() == {"first": 0, "stop": 1000}


def test_a_killed_subscriber_is_noticed(wire: bool, play: Callable[..., Player]) -> None:
    with make(wire, 1.0) as stream:
        player = play("subscribe", address=stream.address, hang_after=20)
        player.hear()
        stream.publish(numbered_frames(0, 20, SHAPE))
        player.hear()
        player.send(signal.SIGKILL)
        begin = time.monotonic()
        eventually(lambda: stream.error is not None)
        assert time.monotonic() - begin < 3
        with pytest.raises(
            SubscriberSilentError, match="'player' of frame stream played is silent: no sign"
        ):
            stream.publish(numbered_frames(20, 1, SHAPE))


def test_a_killed_subscriber_resumes_when_it_is_started_again(
    wire: bool, play: Callable[..., Player]
) -> None:
    with make(wire, 20.0) as stream:
        player = play("subscribe", address=stream.address, hang_after=40)
        player.hear()
        stream.publish(numbered_frames(0, 20, SHAPE))
        eventually(lambda: stream.acknowledged == 20)
        stream.publish(numbered_frames(20, 30, SHAPE))
        player.hear()
        player.send(signal.SIGKILL)
        safe = stream.acknowledged
        assert 20 <= safe < 50
        again = play("subscribe", address=stream.address, resume=True)
        again.hear()
        stream.publish(numbered_frames(50, 50, SHAPE))
        stream.end().check()
        assert again.hear() == {"first": safe, "stop": 100}


def test_a_subscriber_that_stops_for_a_while_goes_on(
    wire: bool, play: Callable[..., Player]
) -> None:
    with make(wire, 20.0) as stream:
        player = play("subscribe", address=stream.address)
        player.hear()
        stream.publish(numbered_frames(0, 20, SHAPE))
        player.send(signal.SIGSTOP)
        stream.publish(numbered_frames(20, 100, SHAPE))
        time.sleep(0.3)
        player.send(signal.SIGCONT)
        stream.publish(numbered_frames(120, 300, SHAPE))
        stream.end().check()
        assert player.hear() == {"first": 0, "stop": 420}


def test_a_subscriber_that_stops_for_too_long_is_told(
    wire: bool, play: Callable[..., Player]
) -> None:
    with make(wire, 1.0, frames=8) as stream:
        player = play("subscribe", address=stream.address)
        player.hear()
        stream.publish(numbered_frames(0, 8, SHAPE))
        player.send(signal.SIGSTOP)
        with pytest.raises(SubscriberSilentError):
            stream.publish(numbered_frames(8, 20, SHAPE))
        player.send(signal.SIGCONT)
        heard = player.hear()
        assert heard["error"] == "FrameStreamError"
        assert "'player' of frame stream played was given up: no sign of it" in heard["message"]
        stream.end()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
def test_the_death_of_the_publisher_is_noticed(
    wire: bool, sign: signal.Signals, play: Callable[..., Player]
) -> None:
    player = play("publish", wire=wire, frames=10_000, timeout_s=1.0, pause_s=0.01)
    address = player.hear()["address"]
    with subscribe(address, name="reader") as reader:
        player.go()
        batch = reader.read(timeout_s=10)
        assert batch is not None
        reader.acknowledge(batch.stop)
        player.send(sign)
        begin = time.monotonic()
        with pytest.raises(
            FrameStreamError,
            match=r"The publisher of frame stream played (is gone|gave no sign of life for 1)",
        ):
            drain(reader)
        assert time.monotonic() - begin < 5


def test_a_viewer_notices_the_death_of_the_publisher(
    wire: bool, play: Callable[..., Player]
) -> None:
    player = play("publish", wire=wire, frames=10_000, timeout_s=0.5, pause_s=0.01)
    address = player.hear()["address"]
    viewer = subscribe(address, name="viewer", delivery="latest")
    player.go()
    assert viewer.read(timeout_s=10) is not None
    player.send(signal.SIGKILL)
    with pytest.raises(FrameStreamError, match="The publisher of frame stream played"):
        drain(viewer)
    viewer.close()


def test_publisher_and_subscribers_can_all_be_processes(
    wire: bool, play: Callable[..., Player]
) -> None:
    publisher = play("publish", wire=wire, frames=500, timeout_s=20.0)
    address = publisher.hear()["address"]
    one = play("subscribe", address=address)
    one.hear()
    publisher.go()
    assert publisher.hear() == {"published": 500}
    assert publisher.hear() == {"ended": True}
    assert one.hear() == {"first": 0, "stop": 500}
    assert (publisher.process.wait(15), one.process.wait(15)) == (0, 0)
