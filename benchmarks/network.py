"""A remote run on three hosts: camera, writer and session in network namespaces around a switch.

The same radiography of prepared frames as in ``remote.py``, from the camera's host to the writer's over TCP, by the plain
line and, where the kernel has netem, with 20 ms delay and 1 % loss on the camera's line. Frames/s are counted from
the modification time of the first file to that of the last. Linux and root are needed.

Run ``python benchmarks/network.py [--sizes 256 1024] [--rounds 3]``.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
SERVERS = HERE.parent / "tests" / "servers"
sys.path.insert(0, str(SERVERS))

DELAY_MS, LOSS_PERCENT = 20.0, 1.0
DISTINCT_BYTES = 64 * 10**6


@contextlib.contextmanager
def running(command: list[str]) -> Iterator["subprocess.Popen[str]"]:
    """Run a program as long as the block lasts."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def measure(size: int, frames: int, poor: bool, root: Path) -> float | None:
    """Return frames/s of one run; None when the kernel cannot make the line poor."""
    from hosts import hosts

    directory = Path(tempfile.mkdtemp(dir=root))
    with hosts("camera", "writer", "session") as made, contextlib.ExitStack() as stack:
        if poor and not made.delay("camera", DELAY_MS, LOSS_PERCENT):
            return None
        camera, writer = made.address("camera"), made.address("writer")
        distinct = str(max(2, DISTINCT_BYTES // (size * size * 2)))
        program = str(HERE / "peers" / "remote_camera.py")
        begin = "from concertino.cli import main; main()"
        stored = directory / "writer"
        for host, command in (
            ("camera", [program, "7001", f"tcp://{camera}:0", str(size), distinct, camera]),
            ("writer", ["-c", begin, "tango", "writer", "--port", "7001", "--host", writer,
                        "-d", str(stored)]),
        ):  # fmt: skip
            stack.enter_context(running(made.command(host, sys.executable, *command)))
        session = [str(SERVERS / "network_session.py"), f"{camera}:7001", f"{writer}:7001",
                   str(directory / "session"), str(frames), "0"]  # fmt: skip
        process = stack.enter_context(running(made.command("session", sys.executable, *session)))
        out, _ = process.communicate(timeout=240)
        found = json.loads(out.splitlines()[-1])
    if found["status"] != "success":
        raise SystemExit(f"the run failed: {found['reason']}")
    files = list((stored / "scan_0001" / "projections").glob("*.tif"))
    if len(files) != frames:
        raise SystemExit(f"{len(files)} of {frames} frames were written")
    times = sorted(file.stat().st_mtime_ns for file in files)
    for file in files:
        os.truncate(file, 0)
    return (frames - 1) / ((times[-1] - times[0]) / 1e9)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1024], help="in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=600, help="a run, at most")
    parser.add_argument("--max-frames", type=int, default=3000, help="a run, at most")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="network_") as root:
        for size in arguments.sizes:
            frames = min(arguments.max_frames, arguments.megabytes * 10**6 // (size * size * 2))
            for poor in (False, True):
                rates = [measure(size, frames, poor, Path(root)) for _ in range(arguments.rounds)]
                found = [rate for rate in rates if rate is not None]
                line = f"{DELAY_MS:g} ms, {LOSS_PERCENT:g} % loss" if poor else "plain line"
                if not found:
                    print(f"{size:4}² {line:18} not measured: this kernel has no netem")
                    continue
                print(
                    f"{size:4}² {line:18} {statistics.median(found):7.0f} frames/s "
                    f"({min(found):.0f} … {max(found):.0f})",
                    flush=True,
                )


if __name__ == "__main__":
    main()
