"""Whether the prompt answers while a scan runs in the background, and what that costs the scan.

One session takes the same radiography of prepared frames onto the disk, by turns

foreground
    ``RE(plan)``: the main thread waits, as in a script.
background
    ``session.start(plan)``: meanwhile the main thread is a prompt. A line is entered every 20 ms or so, compiled, evaluated and
    shown: arithmetics, attributes, the run's state and progress. None asks a device.

An answer's time goes from the moment at which the line is entered, though the main thread may then still wait for Python's
interpreter, until the text of the result is there. Frames/s are counted from the camera's start to the modification time of
the last file; what is compared are medians of alternating scans. ``idle`` is the longest delay of a process that does
nothing but sleep 5 ms at a time: the computer's own.

Run ``python benchmarks/prompt.py``; it fails when an answer takes over 100 ms, or the scan loses 5 %.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from concertino_scan import Heartbeat, PreparedSource, touch

from concertino.callbacks import ImageWriter
from concertino.devices import Camera, SimulatedBeamline
from concertino.plans import radiography
from concertino.session import Session, open_session
from concertino.storage import open_run

LINES = (
    "1 + 1", "2 ** 200 % 1001", "sum(range(1000))", "[n * n for n in range(100)]", "camera.name", "session.directory",
    "session.RE.state", "len(session.RE.md)", "run.state", "run.progress",
)  # fmt: skip
EVERY_S = 0.02
DISTINCT_BYTES = 64 * 10**6
SPARE_BYTES = 2 * 10**9
RING_BYTES = 256 * 2**20


@dataclass
class Found:
    """What was measured."""

    rates_hz: dict[str, list[float]] = field(
        default_factory=lambda: {"foreground": [], "background": []}
    )
    answers_s: list[float] = field(default_factory=list)
    idle_s: list[float] = field(default_factory=list)


class Bench:
    """A session with a camera of prepared frames.

    Parameters
    ----------
    session : Session
        Has the writer.
    size : int
        Height and width of a frame in px.
    pace_hz : float
        Frames/s of the camera.
    """

    def __init__(self, session: Session, size: int, pace_hz: float) -> None:
        distinct = max(2, DISTINCT_BYTES // (2 * size**2))
        images = np.random.default_rng(1).integers(0, 4096, (distinct, size, size), np.uint16)
        self.session = session
        self.frame_bytes = 2 * size**2
        self.source = PreparedSource(images, pace_hz)
        self.camera = Camera(self.source)
        self.beamline = SimulatedBeamline(shape=(16, 16))
        self.heartbeat = Heartbeat()

    def plan(self, frames: int) -> Any:
        """Return the scan."""
        line = self.beamline
        return radiography(
            self.camera, line.beam, line.sample_stage, radio_position=0, flat_position=0,
            num_darks=10, num_flats=10, num_projections=frames,
        )  # fmt: skip

    def take(self, frames: int, run: Callable[[Any], None]) -> tuple[float, float]:
        """Take a scan; return its frames/s, and how late a process was that sleeps, in seconds."""

        def settle() -> None:
            touch(frames * self.frame_bytes + SPARE_BYTES)
            os.sync()
            self.heartbeat.start()
            time.sleep(0.1)

        self.source.before_projections = settle
        run(self.plan(frames))
        idle_s = self.heartbeat.stop()
        stored = open_run(-1, self.session.directory)
        files = list((stored.directory / "projections").glob("*.tif"))
        if stored.exit_status != "success" or len(files) != frames:
            sys.exit(f"{stored.name}: {stored.exit_status}, {len(files)} files of {frames} frames")
        took_s = max(file.stat().st_mtime_ns for file in files) / 1e9 - self.source.started_ns / 1e9
        for file in stored.directory.rglob("*.tif"):
            os.truncate(file, 0)
        os.sync()
        return frames / took_s, idle_s


def prompt(bench: Bench, answers_s: list[float], chance: random.Random) -> Callable[[Any], None]:
    """Return what runs a plan in the background and answers lines of the main thread meanwhile."""

    def run(plan: Any) -> None:
        session = bench.session
        going = session.start(plan)
        known = {"session": session, "run": going, "camera": bench.camera}
        while going.state == "running":
            due_s = time.perf_counter() + EVERY_S * chance.uniform(0.5, 1.5)
            time.sleep(max(0.0, due_s - time.perf_counter()))
            repr(eval(compile(chance.choice(LINES), "<prompt>", "eval"), known))
            answer_s = time.perf_counter() - due_s
            if going.progress.stream == "projections":
                answers_s.append(answer_s)
        going.wait(60)

    return run


def measure(arguments: argparse.Namespace, directory: Path) -> Found:
    """Take all scans."""
    found, chance = Found(), random.Random(1)
    frames = arguments.megabytes * 10**6 // (2 * arguments.size**2)
    with open_session(directory, catalog=False, progress=False) as session:
        session.subscribe(ImageWriter())
        bench = Bench(session, arguments.size, arguments.pace)
        bench.take(1 + RING_BYTES // bench.frame_bytes, session.RE)
        for number in range(arguments.rounds):
            ways: dict[str, Callable[[Any], None]] = {
                "foreground": session.RE,
                "background": prompt(bench, found.answers_s, chance),
            }
            for way in list(ways)[:: 1 if number % 2 == 0 else -1]:
                rate_hz, idle_s = bench.take(frames, ways[way])
                found.rates_hz[way].append(rate_hz)
                found.idle_s.append(idle_s)
                print(f"round {number + 1}: {way}: {rate_hz:.1f} frames/s", flush=True)
    return found


def report(found: Found, arguments: argparse.Namespace) -> list[str]:
    """Print what was found; return what was missed."""
    medians = {way: statistics.median(rates) for way, rates in found.rates_hz.items()}
    for way, rates in found.rates_hz.items():
        print(f"{way}: {medians[way]:.1f} frames/s ({min(rates):.1f} … {max(rates):.1f})")
    answers_ms = sorted(1e3 * answer_s for answer_s in found.answers_s)
    print(
        f"{len(answers_ms)} answers: median {statistics.median(answers_ms):.1f} ms, "
        f"99 % within {answers_ms[int(0.99 * (len(answers_ms) - 1))]:.1f} ms, worst {answers_ms[-1]:.1f} ms; "
        f"idle: worst {1e3 * max(found.idle_s):.1f} ms"
    )
    lost = 1 - medians["background"] / medians["foreground"]
    bars = [
        (f"slowest answer ≤ {arguments.answer_ms:g} ms", answers_ms[-1] <= arguments.answer_ms),
        (f"lost to the prompt: {100 * lost:.1f} % < 5 %", lost < 0.05),
    ]
    for what, met in bars:
        print(f"{what}: {'met' if met else 'MISSED'}")
    return [what for what, met in bars if not met]


def main() -> None:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--directory", help="where to write (default: the system's temporary one)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=1024, help="height and width of a frame in px")
    parser.add_argument("--pace", type=float, default=500.0, help="frames/s of the camera")
    parser.add_argument("--megabytes", type=int, default=1600, help="of one scan")
    parser.add_argument("--answer-ms", type=float, default=100.0, help="the slowest answer")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="prompt_", dir=arguments.directory) as directory:
        missed = report(measure(arguments, Path(directory)), arguments)
    if missed:
        sys.exit(f"Missed: {'; '.join(missed)}.")


if __name__ == "__main__":
    main()
