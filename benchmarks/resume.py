"""What a ``kill -9`` costs a scan: nothing, once it is resumed.

Twenty times, stepped and continuous in turn, a session takes a scan in a process of its own and is killed: when a random
frame is on disk, and up to a frame's time later. A new process continues the run with `concertino.plans.resume`.
Then the two runs, read as one scan by `StoredScan`, must have

frames
    every one once, with the pixels of that frame of an unbroken scan, darks and flats included;
angles
    those of an unbroken scan, within half the step from one projection to the next: a frame that is counted at the
    wrong place is off by a whole one;
slices
    those of an unbroken scan, within float error: 10⁻⁵ of the largest value. The unbroken scan's frames are
    reconstructed at the angles that the broken one measured, because no two continuous scans start their
    camera at the same angle to a microsecond. What that makes, with both as `reconstruct_run` has them, is
    ``measured``: asked of stepped scans, told of continuous ones.

A file camera serves the frames, which were stored once, with noise: so each is unlike every other, and the same whoever
takes it. ``kept`` is what the new run did not take, ``again`` what it took although a file of it was there.

Run ``python benchmarks/resume.py``; it fails when anything is missed.
"""

import argparse
import asyncio
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino.batch import reconstruct_run
from concertino.callbacks import ImageWriter
from concertino.devices import FileCamera, SimulatedBeamline, SimulatedMotor
from concertino.documents import AngleRecord
from concertino.plans import continuous_tomography, resume, step_tomography
from concertino.reconstruction import ReconstructionSettings, Reconstructor
from concertino.session import open_session
from concertino.storage import StoredScan, open_run

FRAMES = {"darks": 12, "flats": 12, "projections": 90}
SHAPE = (16, 64)
RATE_HZ = 40.0
STEP_DEG = 180.0 / FRAMES["projections"]
SETTINGS = ReconstructionSettings(slices=(4, 8, 12), center=32.0)
PLANS: dict[str, Any] = {"stepped": step_tomography, "continuous": continuous_tomography}

# Each process has its own session; that all have imported the same modules before saves minutes.
NEW = multiprocessing.get_context("forkserver")
MODULES = ["callbacks", "devices", "plans", "session", "storage"]


def take(root: Path, name: str, frames: Path | None, broken: str) -> None:
    """Take a scan, or what is missing of a broken one, in this process."""
    b = SimulatedBeamline(shape=SHAPE, exposure=0.002, frame_rate=RATE_HZ)
    camera: Any = b.camera
    if frames is not None:
        files: dict[str, Any] = {stream: frames / stream for stream in FRAMES}
        camera = FileCamera(**files, frame_rate=RATE_HZ)
    with open_session(root, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        for motor in (b.rotation, b.sample_stage):
            asyncio.run_coroutine_threadsafe(quicken(motor), session.RE.loop).result()
        if broken:
            plan = resume(broken, camera, b.beam, b.sample_stage, b.rotation, root=str(root))
        else:
            plan = PLANS[name](
                camera, b.rotation, b.beam, b.sample_stage, radio_position=0,
                flat_position="10 mm", angular_range="180 deg",
                **{f"num_{stream}": count for stream, count in FRAMES.items()},
            )  # fmt: skip
        session.RE(plan)


async def quicken(motor: SimulatedMotor) -> None:
    """Let a motor be at its speed at once, so that a stepped scan takes seconds."""
    await motor.acceleration_time.set(0.005)


def process(root: Path, name: str, frames: Path | None = None, broken: str = "") -> Any:
    """Start `take` in a process of its own."""
    started = NEW.Process(target=take, args=(root, name, frames, broken))
    started.start()
    return started


def finish(started: Any) -> None:
    """Wait for a process, which must succeed."""
    started.join()
    if started.exitcode:
        sys.exit(f"The scan failed with code {started.exitcode}.")


def files_of(run: Path) -> dict[str, int]:
    """Return how many files of each stream there are."""
    return {stream: len(list((run / stream).glob("*.tif"))) for stream in FRAMES}


def random_frame(chance: random.Random) -> tuple[str, int]:
    """Return any frame but the last ten: a scan that has ended cannot be killed."""
    frames = [(stream, index) for stream, count in FRAMES.items() for index in range(count)]
    return chance.choice(frames[:-10])


def kill(root: Path, name: str, frames: Path, stream: str, frame: int, later_s: float) -> None:
    """Start a scan and kill its process when a frame is on disk, and a little later."""
    scan = process(root, name, frames)
    awaited = root / "scan_0001" / stream / f"frame_{frame:06d}.tif"
    while not awaited.exists():
        if not scan.is_alive():
            finish(scan)
            sys.exit(f"The scan ended before it could be killed: there is no {awaited}.")
        time.sleep(0.001)
    time.sleep(later_s)
    scan.kill()  # SIGKILL
    scan.join()


def slices(run: Path) -> NDArray[Any]:
    """Return what `reconstruct_run` makes of a scan: float32, (3, 64, 64)."""
    made = reconstruct_run(open_run(run), SETTINGS)
    if made.missing:
        sys.exit(f"{run.name} was reconstructed without projections {made.missing}.")
    return open_run(made.directory).frames("slices").read()


def slices_at(scan: StoredScan, record: AngleRecord) -> NDArray[Any]:
    """Return the slices of a scan's frames, at the angles of another one: float32, (3, 64, 64)."""
    reconstructor = Reconstructor(
        SETTINGS,
        num_projections=FRAMES["projections"],
        frame_shape=SHAPE,
        angles=scan.tomo.angles_rad(),
    )
    reconstructor.set_angles(record.all_rad(), record.known)
    reconstructor.add_darks(scan.read("darks"))
    reconstructor.add_flats(scan.read("flats"))
    reconstructor.add_projections(scan.read("projections"), 0)
    return reconstructor.finish().volume


@dataclass
class Unbroken:
    """A scan that nothing interrupted."""

    scan: StoredScan
    slices: NDArray[Any]

    @property
    def angles_deg(self) -> NDArray[np.float64]:
        """Angle of each projection: float64, (90,)."""
        return self.scan.angles().angles().angles_deg


def unbroken(root: Path, name: str, frames: Path) -> Unbroken:
    """Take a whole scan."""
    finish(process(root, name, frames))
    run = root / "scan_0001"
    return Unbroken(StoredScan(open_run(run)), slices(run))


def difference(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the largest difference by the largest value."""
    return float(np.abs(one - other).max() / np.abs(other).max())


def wrong_frames(scan: StoredScan, whole: StoredScan) -> int:
    """Return how many frames are not there exactly once with the right pixels."""
    wrong = 0
    for stream, count in FRAMES.items():
        times = Counter(
            piece.first + shift
            for piece in scan.pieces
            if piece.stream == stream
            for shift in range(len(piece))
        )
        bad = {index for index in {*times, *range(count)} if times[index] != 1 or index >= count}
        if not bad:
            same = (scan.read(stream) == whole.read(stream)).all(axis=(1, 2))
            bad = set(np.flatnonzero(~same).tolist())
        wrong += len(bad)
    return wrong


def main() -> None:
    """Print a line for each kill, and what came of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--bar", type=float, default=1e-5, help="most difference at the same angles"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        missed = measure(Path(directory), arguments)
    if missed:
        sys.exit(f"Missed: {', '.join(missed)}.")


def measure(directory: Path, arguments: argparse.Namespace) -> list[str]:
    """Kill and resume; return what was missed."""
    chance = random.Random(arguments.seed)
    NEW.set_forkserver_preload([f"concertino.{module}" for module in MODULES])
    finish(process(directory / "stored", "stepped"))
    frames = directory / "stored" / "scan_0001"
    wholes = {name: unbroken(directory / name, name, frames) for name in PLANS}
    print(
        f"{'kill':>4} {'scan':>10} {'killed at':>15} {'kept':>5} {'taken':>5} {'again':>5} "
        f"{'wrong':>5} {'angle, deg':>10} {'difference':>10} {'measured':>9}"
    )
    found: dict[str, list[float]] = {
        "wrong": [], "angle": [], "difference": [], "measured": [], "again": [],
    }  # fmt: skip
    for number in range(arguments.kills):
        name = list(PLANS)[number % 2]
        whole = wholes[name]
        root = directory / f"kill_{number:02d}"
        stream, frame = random_frame(chance)
        kill(root, name, frames, stream, frame, chance.uniform(0, 1 / RATE_HZ))
        there = files_of(root / "scan_0001")
        finish(process(root, name, frames, "scan_0001"))
        second = open_run(root / "scan_0002")
        taken = sum(second.start["frames"].values())
        kept = sum(FRAMES.values()) - taken
        scan = StoredScan(second)
        wrong = wrong_frames(scan, whole.scan)
        record = scan.angles()
        angle = float(np.abs(record.angles().angles_deg - whole.angles_deg).max())
        made = slices(root / "scan_0002")
        measured = difference(made, whole.slices)
        same = difference(made, slices_at(whole.scan, record))
        again = sum(there.values()) - kept
        results = {
            "wrong": wrong, "angle": angle, "difference": same, "measured": measured, "again": again,
        }  # fmt: skip
        for key, value in results.items():
            found[key].append(value)
        print(
            f"{number + 1:4} {name:>10} {f'{stream} {frame}':>15} {kept:5} {taken:5} "
            f"{again:5} {wrong:5} {angle:10.4f} {same:10.1e} {measured:9.1e}",
            flush=True,
        )
    return summary(found, arguments)


def summary(found: dict[str, list[float]], arguments: argparse.Namespace) -> list[str]:
    """Print the worst of all kills beside what is asked; return what was missed."""
    stepped, continuous = found["measured"][::2], found["measured"][1::2]
    lines = [
        ("frames lost, twice or wrong", sum(found["wrong"]), 0.0),
        ("angle from the unbroken scan's, deg", max(found["angle"]), STEP_DEG / 2),
        ("slices at the same angles", max(found["difference"]), arguments.bar),
        ("slices as measured, stepped", max(stepped, default=0.0), arguments.bar),
        ("slices as measured, continuous", max(continuous, default=0.0), np.inf),
    ]
    print(f"{'worst of ' + str(arguments.kills) + ' kills':>36} {'found':>9} {'asked':>9}")
    for what, value, asked in lines:
        print(f"{what:>36} {value:9.2g} {'–' if asked == np.inf else f'≤ {asked:.2g}':>9}")
    print(f"{'frames on disk taken again, at most':>36} {max(found['again']):9.0f}")
    return [what for what, value, asked in lines if not value <= asked]


if __name__ == "__main__":
    main()
