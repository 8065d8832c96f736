"""A local scan onto the disk, beside concert 0.33.0: frames/s, the live page's influence, the loop's delays.

Both take the same radiography of prepared frames and write them as TIFF, one image a file, without waiting for
the disk. Frames/s are counted from the camera's start to the modification time of the last file. Scans of the two
alternate, each in a process of its own; what is compared are medians. ``docs/reference/benchmarks.md`` says more.

Run ``python benchmarks/local_scan.py``; concert gets a virtual environment of its own at the first run.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PEER_PACKAGES = ("concert==0.33.0", "pytango<10.1", "PyQt5==5.15.11")
SETTLE_S = 2.0
DISTINCT_BYTES = 64 * 10**6
SPARE_BYTES = 2 * 10**9
RING_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Way:
    """One way of taking the scan.

    Parameters
    ----------
    who : {"concertino", "concert"}
        The program.
    live : {"none", "open", "closed", "stalled"}
        Its live view: none at all; one that shows the frames; a page that was open once; a page in a
        browser that is stopped.
    size : int
        Height and width of a frame in pixels.
    pace : float
        Frames/s of the camera; 0 for all that it can.
    """

    who: str
    live: str
    size: int
    pace: float = 0.0

    def __str__(self) -> str:
        view = "" if self.live == "none" else f", live view {self.live}"
        return f"{self.who}{view}" + (f", {self.pace:g} frames/s asked" if self.pace else "")


@dataclass(frozen=True)
class Bar:
    """What a ratio of two ways' medians has to be."""

    name: str
    above: Way
    below: Way
    least: float
    most: float = float("inf")


PAGES = ("open", "closed", "stalled")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def ways(sizes: list[int], live_sizes: list[int], peer: bool, pace: float) -> list[Way]:
    """Return all ways in an order in which those that are compared follow one another."""
    found = []
    for size in sizes:
        found.append(Way("concertino", "none", size))
        if peer:
            found.append(Way("concert", "none", size))
        if size in live_sizes:
            found.append(Way("concertino", "open", size))
            if peer:
                found.append(Way("concert", "open", size))
            found += [Way("concertino", live, size) for live in ("closed", "stalled")]
            if pace:
                found += [Way("concertino", live, size, pace) for live in PAGES]
    return found


def bars(measured: list[Way], pace: float) -> Iterator[Bar]:
    """Yield what is asked for, as far as it was measured."""
    ours, theirs = (lambda *way: Way("concertino", *way)), (lambda *way: Way("concert", *way))
    wanted = [
        Bar("256²: concertino ÷ concert", ours("none", 256), theirs("none", 256), 2.5),
        Bar("1024²: concertino ÷ concert", ours("none", 1024), theirs("none", 1024), 1.3),
        Bar(
            "1024², live views: concertino ÷ concert", ours("open", 1024), theirs("open", 1024), 2.5
        ),
        *(
            Bar(
                f"1024², {f'{asked:g} frames/s' if asked else 'unpaced'}: page {live} ÷ open",
                ours(live, 1024, asked),
                ours("open", 1024, asked),
                0.95,
                1.05,
            )
            for asked in (0.0, pace)
            for live in ("closed", "stalled")
        ),
    ]
    yield from (bar for bar in wanted if bar.above in measured and bar.below in measured)


def peer_python(directory: Path) -> Path:
    """Return the interpreter of the environment with concert; make it when it is not there."""
    python = directory / "bin" / "python"
    if not python.exists():
        print(f"making {directory} with {', '.join(PEER_PACKAGES)}", flush=True)
        venv.create(directory, with_pip=True)
    found = subprocess.run([python, "-c", "import concert, pyqtgraph.Qt"], capture_output=True)
    if found.returncode:
        install = [python, "-m", "pip", "install", "--quiet", *PEER_PACKAGES]
        subprocess.run(install, check=True)
    return python


def take(way: Way, frames: int, root: Path, python: Path, arguments: argparse.Namespace) -> Any:
    """Run one scan in a process of its own and return what is known of it."""
    frame_bytes = way.size**2 * 2
    directory = Path(tempfile.mkdtemp(prefix=f"{way.who}_{way.live}_{way.size}_", dir=root))
    os.sync()
    time.sleep(SETTLE_S)
    settings = {
        "directory": directory,
        "size": way.size,
        "frames": frames,
        # Once around the ring, so that all of it is memory before the scan that counts.
        "warm-up": 1 + RING_BYTES // frame_bytes,
        "references": 10,
        "distinct": max(2, DISTINCT_BYTES // frame_bytes),
        # A virtual machine gets memory slowly; what was in use a moment ago is there.
        "touch": frames * frame_bytes + SPARE_BYTES,
        "bytes-per-file": arguments.bytes_per_file,
        "live": way.live,
    }
    if way.pace:
        settings["pace"] = way.pace
    command = [str(python), str(HERE / "peers" / f"{way.who}_scan.py")]
    for name, value in settings.items():
        command += [f"--{name}", str(value)]
    waited_s = cpu_wait_s()
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=arguments.timeout,
        start_new_session=True,
        preexec_fn=lambda: prefer(arguments.nice),
    )
    waited_s = cpu_wait_s() - waited_s
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{done.stderr}")
    result = json.loads(done.stdout.splitlines()[-1])
    files = sorted(Path(result["directory"]).glob("*.tif"))
    if not arguments.bytes_per_file and len(files) != frames:
        raise SystemExit(f"{way} wrote {len(files)} files of {frames} frames:\n{done.stderr}")
    written_ns = max(file.stat().st_mtime_ns for file in files)
    for file in directory.rglob("*.tif"):
        os.truncate(file, 0)
    return {
        "frames": frames,
        "written_hz": frames / (written_ns - result["started_ns"]) * 1e9,
        "returned_hz": frames / (result["returned_ns"] - result["started_ns"]) * 1e9,
        "loop_blocked_ms": 1e3 * result.get("loop_blocked_s", 0.0),
        "first_blocked_ms": 1e3 * result.get("first_blocked_s", 0.0),
        "idle_blocked_ms": 1e3 * result.get("idle_blocked_s", 0.0),
        "cpu_s": result["cpu_s"],
        "waited_for_cpu_s": waited_s,
    }


def prefer(niceness: int) -> None:
    """Give this process, and its session among the others, a niceness."""
    if niceness:
        os.nice(niceness)
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(niceness))


def spread(directory: Path) -> None:
    """Have ext4 put each folder in a part of the disk of its own, where nothing was deleted lately."""
    with contextlib.suppress(OSError):
        subprocess.run(["chattr", "+T", directory], capture_output=True)


def cpu_wait_s() -> float:
    """Return for how long anything in this computer has waited for a processor, in seconds."""
    try:
        text = Path("/proc/pressure/cpu").read_text()
    except OSError:
        return float("nan")
    return int(text.split()[4].partition("=")[2]) / 1e6


def report(results: dict[Way, list[Any]], pace: float) -> dict[str, Any]:
    """Print the tables; return them for the JSON file."""
    medians: dict[Way, float] = {}
    rows = []
    print(
        f"\n{'frames/s, median (lowest … highest)':46}{'written':>24}{'returned':>10}{'loop':>9}{'idle':>9}"
    )
    for way, scans in results.items():
        rates = [scan["written_hz"] for scan in scans]
        medians[way] = statistics.median(rates)
        returned = statistics.median(scan["returned_hz"] for scan in scans)
        blocked = max(scan["loop_blocked_ms"] for scan in scans)
        spread = f"{medians[way]:.0f} ({min(rates):.0f} … {max(rates):.0f})"
        idle = max(scan["idle_blocked_ms"] for scan in scans)
        loop = f"{blocked:>6.0f} ms{idle:>6.0f} ms" if way.who == "concertino" else ""
        print(f"{way.size:4}²  {way!s:40}{spread:>24}{returned:>10.0f}{loop}")
        rows.append(
            {
                "who": way.who,
                "live": way.live,
                "size": way.size,
                "pace_hz": way.pace,
                "median_hz": medians[way],
                "scans": scans,
            }
        )
    print(f"\n{'':46}{'ratio':>24}{'bar':>16}")
    checks = []
    for bar in bars(list(results), pace):
        ratio = medians[bar.above] / medians[bar.below]
        met = bar.least <= ratio <= bar.most
        asked = f"≥ {bar.least:g}" if bar.most == float("inf") else f"{bar.least:g} … {bar.most:g}"
        print(f"{bar.name:46}{ratio:>24.2f}{asked:>16}  {'met' if met else 'MISSED'}")
        checks.append({"name": bar.name, "ratio": ratio, "asked": asked, "met": met})
    worst = max(s["loop_blocked_ms"] for scans in results.values() for s in scans)
    print(
        f"{'longest time the loop was blocked':46}{worst:>21.0f} ms{'≤ 50 ms':>16}  {'met' if worst <= 50 else 'MISSED'}"
    )
    checks.append(
        {
            "name": "longest time the loop was blocked",
            "ms": worst,
            "asked": "≤ 50 ms",
            "met": worst <= 50,
        }
    )
    return {"ways": rows, "bars": checks}


def main() -> None:
    """Measure, print, and write the figures to a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peer-venv",
        type=Path,
        default=HERE / ".venv-concert",
        help="concert's environment (made when absent)",
    )
    parser.add_argument("--no-peer", action="store_true", help="measure concertino alone")
    parser.add_argument("--directory", help="where to write (default: the system's temporary one)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1024], help="in pixels")
    parser.add_argument(
        "--live-sizes",
        type=int,
        nargs="*",
        default=[1024],
        help="those also measured with live views",
    )
    parser.add_argument(
        "--live-pace",
        type=float,
        default=500.0,
        help="frames/s of a camera for which the page is measured too; 0: none",
    )
    parser.add_argument("--megabytes", type=int, default=1600, help="a scan, at most")
    parser.add_argument("--max-frames", type=int, default=8000, help="a scan, at most")
    parser.add_argument("--bytes-per-file", type=int, default=0, help="0: one image a file")
    parser.add_argument("--timeout", type=float, default=180.0, help="of one scan, in seconds")
    parser.add_argument(
        "--nice",
        type=int,
        default=0,
        help="of all that is measured: -15 on a busy computer, as root",
    )
    parser.add_argument("--json", type=Path, default=HERE / "results" / "local_scan.json")
    arguments = parser.parse_args()
    pythons = {"concertino": Path(sys.executable)}
    if not arguments.no_peer:
        pythons["concert"] = peer_python(arguments.peer_venv)
    if not any(map(shutil.which, BROWSERS)):
        print(f"without live views: there is none of the browsers {', '.join(BROWSERS)}")
        arguments.live_sizes = []
    chosen = ways(arguments.sizes, arguments.live_sizes, not arguments.no_peer, arguments.live_pace)
    results: dict[Way, list[Any]] = {way: [] for way in chosen}
    root = Path(tempfile.mkdtemp(prefix="local_scan_", dir=arguments.directory))
    spread(root)
    try:
        for number in range(arguments.rounds):
            for way in chosen if number % 2 == 0 else chosen[::-1]:
                frames = min(arguments.max_frames, arguments.megabytes * 10**6 // (way.size**2 * 2))
                scan = take(way, frames, root, pythons[way.who], arguments)
                results[way].append(scan)
                print(
                    f"round {number + 1}: {way.size}² {way}: {scan['written_hz']:.0f} frames/s, "
                    f"{scan['waited_for_cpu_s']:.1f} s of waiting for a processor",
                    flush=True,
                )
    finally:
        # Only now: ext4 steps over inodes deleted in the last minutes, one by one.
        shutil.rmtree(root)
    table = report(results, arguments.live_pace)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    settings = {name: str(value) for name, value in vars(arguments).items()}
    machine = {
        "cpus": os.cpu_count(),
        "kernel": os.uname().release,
        "python": sys.version.split()[0],
    }
    arguments.json.write_text(
        json.dumps({"settings": settings, "machine": machine, **table}, indent=1)
    )
    print(f"\nAll figures: {arguments.json}")


if __name__ == "__main__":
    main()
