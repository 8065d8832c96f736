"""What gets later, larger or slower as the work grows: each curve, and whether it is flat or linear.

Each curve is of one thing that grows, in a process of its own. All have the same figures:

memory_mb
    Peak of the process above what it held before the first point (MB): what one point leaves behind counts in the next.
wall_ms, cpu_ms
    Time of each frame, run, slice or tomogram, on the clock and of the processor in all threads of the process (ms).
late_ms
    99 % of the callbacks that the RunEngine's loop is asked for every 5 ms are at most so late (ms); where there is no RunEngine, of
    a loop in the same process.

Some have more: 99 % of the times that the loop's thread is busy at a stretch, in processor time (``busy_ms``; at most, for ``devices``),
and the same of the last third of a scan over the first; the memory of the whole process over the limit that it was given; of a session's
runs what closing takes (s), the memory that each of the second half leaves (kB), how many the catalogue lacks yet, and the processor
time that cataloguing one takes (ms); what checking the descriptor of ``devices`` takes (ms); frames that a subscriber did not get; the
processor time of a value over that of a batch's slice; processor time over N² log N (ns).

Whether a figure is flat or linear: {criterion}

Run ``python benchmarks/growth.py``; ``--large`` for the sizes of a beamtime, ``--only rate parts`` for some curves, ``--plot FILE`` for a
picture, ``--table FILE`` for the table of the documentation.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from curves import verdicts
from curves.verdicts import Verdict, Wanted, verdict_of

_PATIENCE_S = 600.0
FLAT, LINEAR = Wanted("flat"), Wanted("linear")
Points = list[tuple[float, dict[str, float]]]


@dataclass(frozen=True)
class Curve:
    """What grows, how far, and what is wanted of its figures."""

    grows: str
    each: str
    small: Sequence[float]
    large: Sequence[float]
    wanted: Mapping[str, Wanted] = field(default_factory=dict)


_LATE = Wanted("flat", 20.0)
_OVER = Wanted("flat", 1.1)
_STEADY = {"memory_mb": FLAT, "cpu_ms": FLAT}
SCANS = {
    "frames": Curve(
        "frames of a scan, 4,000/s", "frame", (8_000, 16_000, 32_000), (15_000, 30_000, 60_000, 120_000),
        {"memory_mb": Wanted("linear", 64.0), "cpu_ms": FLAT, "late_ms": _LATE, "busy_ms": FLAT,
         "last_over_first": Wanted("", 1.5)},
    ),
    "rate": Curve(
        "frames/s", "frame", (500, 1000, 2000, 4000), (500, 1000, 2000, 4000),
        _STEADY | {"late_ms": _LATE, "busy_ms": FLAT},
    ),
    "runs": Curve(
        "runs of a session", "run", (5, 10, 20), (10, 100, 300),
        _STEADY | {"last_over_first": Wanted("", 1.25), "close_s": Wanted("", 2.0), "kept_kb": Wanted("", 100.0),
                   "catalogue_ms": Wanted("", 20.0)},
    ),
    "devices": Curve(
        "devices in the baseline", "run", (50, 100, 200), (50, 100, 200, 400),
        {"memory_mb": LINEAR, "cpu_ms": LINEAR, "busy_ms": Wanted("linear", 30.0), "check_ms": LINEAR},
    ),
    "subscribers": Curve(
        "subscribers to 500 frames/s", "frame", (1, 2, 4, 8), (1, 2, 4, 8, 16),
        {"memory_mb": FLAT, "wall_ms": FLAT, "cpu_ms": LINEAR, "late_ms": _LATE, "lost": Wanted("", 0.0)},
    ),
    "series": Curve(
        "tomograms of a time series", "tomogram", (18, 27, 36), (20, 40, 60, 100),
        _STEADY | {"wall_ms": FLAT},
    ),
}  # fmt: skip
RECONSTRUCTIONS = {
    "slices": Curve(
        "slices of a batch", "slice", (64, 128, 256), (64, 128, 256, 512),
        {"memory_mb": LINEAR, "cpu_ms": FLAT},
    ),
    "parts": Curve(
        "parts of a batch, for more slices", "slice", (128, 256, 512), (96, 256, 512, 1024),
        _STEADY | {"peak_over_limit": _OVER},
    ),
    "limits": Curve(
        "parts of a batch, for less memory", "slice", (1.0, 0.6, 0.5), (4.0, 2.0, 1.0),
        {"memory_mb": FLAT, "peak_over_limit": Wanted("", 1.1)},
    ),
    "tomograms": Curve(
        "reconstructions in one process", "reconstruction", (1, 2, 3), (1, 2, 4, 8),
        _STEADY | {"peak_over_limit": _OVER},
    ),
    "values": Curve(
        "values of a sweep", "value", (16, 32, 64), (16, 32, 64, 128),
        {"memory_mb": LINEAR, "cpu_ms": FLAT, "cpu_over_batch": Wanted("", 1.5)},
    ),
    "columns": Curve(
        "columns of one slice", "slice", (512, 1024, 2048), (1024, 2048, 4096, 8192, 16384),
        {"cpu_ns": FLAT},
    ),
}  # fmt: skip
CURVES = SCANS | RECONSTRUCTIONS


def measured(name: str, large: bool) -> Points:
    """Measure a curve in this process."""
    if name in SCANS:
        from curves import scans as measuring
    else:
        from curves import reconstructions as measuring  # type: ignore[no-redef]
    curve = CURVES[name]
    with tempfile.TemporaryDirectory() as directory:
        sizes = curve.large if large else curve.small
        points: Points = getattr(measuring, name)(sizes, large, Path(directory))
    return points


def in_a_process(name: str, large: bool) -> Points | str:
    """Measure a curve in a process of its own; return its points, or why there are none."""
    command = [sys.executable, __file__, "--curve", name, *(["--large"] * large)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        return f"not done in {_PATIENCE_S:g} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no word"])[-1]
    return [(size, figures) for size, figures in json.loads(done.stdout.splitlines()[-1])]


def told(name: str, points: Points, verdicts_of: Mapping[str, Verdict]) -> list[list[str]]:
    """Return the rows of the table for a curve."""
    curve, rows = CURVES[name], []
    for figure, verdict in verdicts_of.items():
        rows.append([
            name,
            figure,
            ", ".join(f"{figures[figure]:.3g}" for _, figures in points),
            f"{verdict.kind}, N^{verdict.power:.2f}",
            f"{curve.wanted.get(figure, Wanted())}{' (missed)' if verdict.missed else ''}",
        ])  # fmt: skip
    return rows


def table(
    rows: Sequence[Sequence[str]], all_points: Mapping[str, Points], options: str, loads: str
) -> str:
    """Return the table as Markdown, with what it was measured on."""
    day = datetime.datetime.now(datetime.UTC).date()
    command = f"python benchmarks/growth.py{options}"
    lines = [
        f"`{command}`, {day:%Y-%m-%d}, {os.cpu_count()} cores, {machine()}; load {loads}.",
        "",
        "| Curve | Figure | Found | Growth | Wanted |",
        "| --- | --- | --- | --- | --- |",
    ]
    before = ""
    for name, *cells in rows:
        if name != before:
            sizes = ", ".join(f"{size:,g}" for size, _ in all_points[name])
            lines.append(
                f"| **{name}** | {CURVES[name].grows}; each {CURVES[name].each} | {sizes} | | |"
            )
            before = name
        lines.append(f"| | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def machine() -> str:
    """Return the name of the processor."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    return next(line.split(": ")[1] for line in text.splitlines() if line.startswith("model name"))


def main() -> None:
    """Draw the curves, each in a process of its own."""
    parser = argparse.ArgumentParser(
        description=str(__doc__).format(criterion=str(verdicts.__doc__).partition("\n\n")[2]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--large", action="store_true", help="the sizes of a beamtime")
    parser.add_argument("--only", nargs="+", choices=list(CURVES), default=list(CURVES))
    parser.add_argument(
        "--strict", action="store_true", help="fail when a figure is worse than wanted"
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the curves, such as growth.png"
    )
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the table as Markdown")
    parser.add_argument("--curve", choices=list(CURVES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.curve:
        print(json.dumps(measured(arguments.curve, arguments.large)))
        return
    options = " --large" * arguments.large
    if list(arguments.only) != list(CURVES):
        options += f" --only {' '.join(arguments.only)}"
    found: dict[str, Points] = {}
    judged: dict[tuple[str, str], Verdict] = {}
    rows: list[list[str]] = []
    loads, good = [os.getloadavg()[0]], True
    for name in arguments.only:
        began_s = time.monotonic()
        points = in_a_process(name, arguments.large)
        loads.append(os.getloadavg()[0])
        if isinstance(points, str):
            print(f"{name} failed: {points}", flush=True)
            good = False
            continue
        found[name], sizes = points, [size for size, _ in points]
        of_curve = {
            figure: verdict_of(
                figure, sizes, [figures[figure] for _, figures in points],
                CURVES[name].wanted.get(figure, Wanted()),
            )
            for figure in points[0][1]
        }  # fmt: skip
        judged |= {(name, figure): verdict for figure, verdict in of_curve.items()}
        good &= not any(verdict.missed for verdict in of_curve.values())
        rows += told(name, points, of_curve)
        print(
            f"{name}: {CURVES[name].grows} {', '.join(f'{size:g}' for size in sizes)}; times of "
            f"each {CURVES[name].each}  ({time.monotonic() - began_s:.0f} s)"
        )
        for _, figure, curve, growth, wanted in rows[-len(of_curve) :]:
            print(f"    {figure:16} {growth:16} {curve:40} {wanted}", flush=True)
        if arguments.table is not None:  # what is there stays, when a later curve is interrupted
            load = f"{min(loads):.1f} to {max(loads):.1f}"
            arguments.table.write_text(table(rows, found, options, load), encoding="utf-8")
    if arguments.plot is not None and found:
        from curves.drawing import draw

        draw(found, {name: CURVES[name].grows for name in found}, judged, arguments.plot)
    if arguments.strict and not good:
        sys.exit(1)


if __name__ == "__main__":
    main()
