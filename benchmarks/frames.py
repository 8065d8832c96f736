"""Frames from a publisher to a subscriber in another process, beside what could carry them otherwise.

``memory``, ``wire`` and ``wire in place`` are frame streams, with a checksum of each frame: to a subscriber of this computer,
and with the pixels on the way as to another one, which checks them too. In place means that the camera writes into the ring. Their peers carry the same
frames without checksums, acknowledgements or anything else: ``bare ring``, two counters and slots in shared
memory; ``zmq``, PUSH and PULL with ``copy=False`` over TCP; ``concert``, the sender and receiver of concert 0.33.0.
Where frames lie in shared memory the subscriber copies each one out. Ways alternate; medians are compared.

Run ``python benchmarks/frames.py``; as root on a busy computer with ``--nice -15``.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FRAMES = {256: 20_000, 1024: 2_500, 2048: 700}
AT_ONCE_BYTES = 2**20

#: Name, way, way to compare with, size in pixels, least ratio.
BARS = [
    ("memory", "bare ring", 256, 0.4),
    ("memory", "bare ring", 1024, 0.8),
    ("memory", "bare ring", 2048, 0.8),
    ("wire", "zmq", 256, 1.5),
    ("wire", "zmq", 1024, 0.9),
    ("wire", "zmq", 2048, 0.9),
    ("memory", "concert", 256, 10.0),
    ("memory", "concert", 1024, 3.0),
    ("wire", "concert", 256, 6.0),
    ("wire", "concert", 1024, 1.8),
]

#: PUSH with ``copy=False`` does not copy a frame before it sends it; neither does a camera that writes into the ring.
ALSO = [("wire in place", "zmq", size) for size in (256, 1024, 2048)]

#: Of the publisher at full speed, in microseconds a frame of 256².
MOST_CPU_US = 50.0


class End:
    """One end of a way, in a process of its own."""

    def __init__(self, way: str, part: str, settings: dict[str, Any], arguments: Any) -> None:
        python, script = sys.executable, "frame_way.py"
        if way == "concert":
            python, script = str(arguments.peer_venv / "bin" / "python"), "concert_frames.py"
        self._process = subprocess.Popen(
            [python, HERE / "peers" / script, way, part, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: os.nice(arguments.nice),
        )

    def hear(self) -> dict[str, Any]:
        """Return what it says next."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("one end of a way died")
        heard: dict[str, Any] = json.loads(line)
        return heard

    def go(self) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def wait(self) -> None:
        """Wait until it has ended."""
        self._process.wait(60)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def carry(way: str, settings: dict[str, Any], arguments: Any) -> dict[str, Any]:
    """Carry frames once; return what the sender and the taker said at the end."""
    settings = settings | ({"port": free_port()} if way == "concert" else {})
    sender = End(way, "send", settings, arguments)
    taker = End(way, "take", settings | {"address": sender.hear()["address"]}, arguments)
    taker.hear()
    sender.go()
    results = sender.hear() | taker.hear()
    sender.wait()
    taker.wait()
    return results


def throughput(arguments: Any) -> list[dict[str, Any]]:
    """Measure frames/s of each way at each size."""
    ways = ["bare ring", "memory", "zmq", "wire", "wire in place"]
    if arguments.checksums:
        ways += ["bare ring with sums", "memory verified", "wire unverified"]
    if arguments.peer_venv:
        ways.append("concert")
    rows = []
    for size in arguments.sizes:
        at_once = max(1, AT_ONCE_BYTES // (size * size * 2))
        count = int(FRAMES[size] * arguments.scale)
        found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
        for _ in range(arguments.rounds):
            for way in ways:
                settings = {
                    "size": size,
                    "count": count if way != "concert" else count // 4,
                    "warm_up": 4 * at_once,
                    "at_once": at_once,
                    "copies": way.startswith("memory"),
                    "verify": {"memory verified": True, "wire unverified": False}.get(way),
                }
                found[way].append(carry(way, settings, arguments))
        for way, results in found.items():
            rates = [result["hz"] for result in results]
            rows.append(
                {
                    "way": way,
                    "size": size,
                    "hz": statistics.median(rates),
                    "lowest": min(rates),
                    "highest": max(rates),
                    "cpu_us": statistics.median(result["cpu_us"] for result in results),
                }
            )
            print(
                f"{size:5}²  {way:22}{rows[-1]['hz']:10.0f} frames/s  ({min(rates):.0f} … "
                f"{max(rates):.0f})   sender's CPU {rows[-1]['cpu_us']:7.1f} µs a frame",
                flush=True,
            )
    return rows


def latency(arguments: Any) -> list[dict[str, Any]]:
    """Measure how old frames are when the subscriber has them, at 100 frames/s."""
    rows = []
    for way, size, most_us in (("memory", 1024, 1000), ("wire", 1024, 3000), ("memory", 256, None)):
        settings = {"size": size, "count": int(300 * arguments.scale), "rate_hz": 100.0}
        results = [
            carry(way, settings | {"verify": None}, arguments) for _ in range(arguments.rounds)
        ]
        row = {
            "way": way,
            "size": size,
            **{key: statistics.median(r[key] for r in results) for key in results[0]},
        }
        rows.append(row)
        asked = (
            ""
            if most_us is None
            else f"   asked < {most_us} µs: {_met(row['median_us'] < most_us)}"
        )
        print(
            f"{size:5}²  {way:6} at 100 Hz: median {row['median_us']:.0f} µs, 99 % below "
            f"{row['p99_us']:.0f} µs, publisher's CPU {row['cpu_us']:.0f} µs a frame{asked}",
            flush=True,
        )
    return rows


def _met(met: bool) -> str:
    return "met" if met else "MISSED"


def bars(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Print and return the ratios that are asked for, as far as both ways were measured."""
    rates = {(row["way"], row["size"]): row["hz"] for row in rows}
    checks = []
    for way, other, size, least in BARS:
        if (way, size) in rates and (other, size) in rates:
            ratio = rates[way, size] / rates[other, size]
            checks.append({"bar": f"{way} ÷ {other}, {size}²", "ratio": ratio, "asked": least})
            print(f"{checks[-1]['bar']:28}{ratio:8.2f}   asked ≥ {least:<5} {_met(ratio >= least)}")
    for way, other, size in ALSO:
        if (way, size) in rates and (other, size) in rates:
            print(f"{f'{way} ÷ {other}, {size}²':28}{rates[way, size] / rates[other, size]:8.2f}")
    for row in rows:
        if (row["way"], row["size"]) == ("memory", 256):
            met = _met(row["cpu_us"] < MOST_CPU_US)
            print(
                f"{'CPU, memory, 256²':28}{row['cpu_us']:5.1f} µs   asked < {MOST_CPU_US:g} µs {met}"
            )
    return checks


def main() -> None:
    """Measure, print, and write the figures to a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=sorted(FRAMES), help="in pixels")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of frames")
    parser.add_argument("--peer-venv", type=Path, help="environment with concert 0.33.0")
    parser.add_argument("--checksums", action="store_true", help="measure what checksums cost")
    parser.add_argument("--no-latency", action="store_true")
    parser.add_argument("--nice", type=int, default=0, help="niceness of what is measured")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "frames.json")
    arguments = parser.parse_args()
    rows = throughput(arguments)
    checks = bars(rows)
    ages = [] if arguments.no_latency else latency(arguments)
    arguments.json.parent.mkdir(exist_ok=True)
    arguments.json.write_text(
        json.dumps({"throughput": rows, "bars": checks, "latency": ages}, indent=1)
    )


if __name__ == "__main__":
    main()
