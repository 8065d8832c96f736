"""A remote run end to end beside a local one, and beside concert's: camera server, writer server and session.

All take the same radiography of prepared frames and write them as TIFF, one image a file, without waiting for the disk.
concert 0.33.0 has its camera in the session and its walker in a Tango server, as its user guide shows.
Frames/s are counted from the camera's start to the modification time of the last file. Ways alternate; medians.

Run ``python benchmarks/remote.py [--sizes 256 1024] [--rounds 3] [--peer-venv benchmarks/.venv-concert]``, where
`local_scan.py` makes that environment.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "peers"))

WAYS = ("local", "remote")
DISTINCT_BYTES = 64 * 10**6
RING_BYTES = 256 * 2**20
SETTLE_S = 2.0
#: Least ratio: way, other way, size in pixels.
BARS = {
    ("remote", "local", 1024): 0.8,
    ("remote", "concert", 256): 3.0,
    ("remote", "concert", 1024): 1.5,
}


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextlib.contextmanager
def server(*command: str) -> Iterator[None]:
    """Run a program until the block ends."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def wait_for(kind: str, address: str) -> None:
    """Return when a server answers."""
    from concertino import ConcertinoError
    from concertino._tango_client import TangoClient

    deadline_s = time.monotonic() + 60
    while True:
        try:
            TangoClient(address, kind)
        except ConcertinoError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(1.1)
        else:
            return


def once_around(size: int) -> int:
    """Frames that use each slot of the ring, so that the scan that counts finds it in memory."""
    return 1 + RING_BYTES // (size * size * 2)


def distinct_frames(size: int) -> int:
    """Frames made beforehand, which a camera serves in turn."""
    return max(2, DISTINCT_BYTES // (size * size * 2))


def to_touch(size: int, frames: int) -> int:
    """Bytes of memory to use before a scan: a virtual machine gets it from its host slowly."""
    return frames * size * size * 2 + 2 * 10**9


def measure_concert(size: int, frames: int, root: Path, environment: Path) -> float:
    """Return frames/s of one remote scan with concert."""
    directory = Path(tempfile.mkdtemp(dir=root))
    programs, walker_port = environment / "bin", str(free_port())
    settings = {
        "directory": directory, "size": size, "frames": frames, "walker-port": walker_port,
        "warm-up": once_around(size), "distinct": distinct_frames(size), "port": free_port(),
        "references": 2, "touch": to_touch(size, frames),
    }  # fmt: skip
    options = [f"--{name}={value}" for name, value in settings.items()]
    walker = (str(programs / "concert"), "tango", "walker", "--port", walker_port)
    with server(*walker, "--loglevel", "warning"):
        done = subprocess.run(
            [programs / "python", HERE / "peers" / "concert_remote.py", *options],
            check=True, capture_output=True, text=True, timeout=600,
            env=os.environ | {"QT_QPA_PLATFORM": "offscreen"}, cwd=directory,
        )  # fmt: skip
    started_s = json.loads(done.stdout.splitlines()[-1])["started_s"]
    files = list((directory / "scan_0001" / "radios").glob("*.tif"))
    if len(files) != frames:
        raise SystemExit(f"concert wrote {len(files)} of {frames} frames")
    rate = frames / (max(file.stat().st_mtime_ns for file in files) / 1e9 - started_s)
    empty(directory)
    return rate


def empty(directory: Path) -> None:
    """Give back the disk that files took, and have it done before the next scan."""
    for file in directory.rglob("*.tif"):
        os.truncate(file, 0)
    os.sync()


def measure(way: str, size: int, frames: int, root: Path) -> float:
    """Return frames/s of one scan."""
    from concertino_scan import PreparedSource, touch

    from concertino.callbacks import ImageWriter
    from concertino.callbacks.remote import RemoteImageWriter
    from concertino.devices import Camera, SimulatedBeamline, TangoCamera
    from concertino.plans import radiography
    from concertino.session import open_session

    directory = Path(tempfile.mkdtemp(dir=root))
    distinct = distinct_frames(size)
    beamline = SimulatedBeamline(shape=(16, 16))
    with contextlib.ExitStack() as stack:
        session = stack.enter_context(
            open_session(directory / "session", catalog=False, progress=False)
        )
        camera: Any
        if way == "local":
            images = np.random.default_rng(1).integers(0, 4096, (distinct, size, size), np.uint16)
            camera = Camera(PreparedSource(images))
            session.subscribe(ImageWriter())
            stored = directory / "session"
        else:
            ports = free_port(), free_port()
            program = str(HERE / "peers" / "remote_camera.py")
            stored = directory / "writer"
            python, begin = sys.executable, "from concertino.cli import main; main()"
            serve = (python, program, str(ports[0]), "tcp://", str(size), str(distinct))
            write = ("tango", "writer", "--port", str(ports[1]), "-d", str(stored))
            stack.enter_context(server(*serve))
            stack.enter_context(server(python, "-c", begin, *write))
            wait_for("camera", f"127.0.0.1:{ports[0]}")
            wait_for("writer", f"127.0.0.1:{ports[1]}")
            camera = TangoCamera(f"127.0.0.1:{ports[0]}")
            session.subscribe(RemoteImageWriter(f"127.0.0.1:{ports[1]}"))

        def run(count: int) -> None:
            session.RE(
                radiography(
                    camera, beamline.beam, beamline.sample_stage, radio_position=0,
                    flat_position=0, num_darks=2, num_flats=2, num_projections=count,
                )
            )  # fmt: skip

        run(once_around(size))
        os.sync()
        touch(to_touch(size, frames))
        time.sleep(SETTLE_S)
        run(frames)
        future = camera.start_time.read()
        import asyncio

        reading = asyncio.run_coroutine_threadsafe(future, session.RE.loop).result(5)
        (value,) = reading.values()
        files = list((stored / "scan_0002" / "projections").glob("*.tif"))
        if len(files) != frames:
            raise SystemExit(f"{way} wrote {len(files)} of {frames} frames")
        written_s = max(file.stat().st_mtime_ns for file in files) / 1e9
    empty(directory)
    return frames / (written_s - value["value"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1024], help="in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=1000, help="a scan, at most")
    parser.add_argument("--max-frames", type=int, default=8000, help="a scan, at most")
    parser.add_argument("--peer-venv", type=Path, help="environment with concert 0.33.0")
    arguments = parser.parse_args()
    ways = WAYS + (("concert",) if arguments.peer_venv else ())
    root = Path(tempfile.mkdtemp(prefix="remote_"))
    try:
        for size in arguments.sizes:
            frames = min(arguments.max_frames, arguments.megabytes * 10**6 // (size * size * 2))
            rates: dict[str, list[float]] = {way: [] for way in ways}
            for number in range(arguments.rounds):
                for way in ways if number % 2 == 0 else ways[::-1]:
                    if way == "concert":
                        rate = measure_concert(size, frames, root, arguments.peer_venv.absolute())
                    else:
                        rate = measure(way, size, frames, root)
                    rates[way].append(rate)
            medians = {way: statistics.median(found) for way, found in rates.items()}
            for way, found in rates.items():
                print(
                    f"{size:4}² {way:16} {medians[way]:7.0f} frames/s ({min(found):.0f} … "
                    f"{max(found):.0f})  {medians[way] / medians['local']:5.2f} of local",
                    flush=True,
                )
            for (way, other, at), least in BARS.items():
                if at == size and other in medians:
                    ratio = medians[way] / medians[other]
                    met = "met" if ratio >= least else "MISSED"
                    print(f"{size:4}² {way} ÷ {other}: {ratio:.2f}   asked ≥ {least} {met}")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
