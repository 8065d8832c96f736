"""What more subscribers cost the publisher: a writer alone, with a reconstruction and viewers, and with eight who look.

The writer stores multi-page TIFF on the disk, not synced; the reconstruction makes one slice; the viewers take ten frames a
second, and eight lookers the newest frame as often as they get it. They live in processes of their own (``memory``) or in threads of the publisher's (``direct``). The cases alternate; the
publisher's frames/s until the last acknowledgement are compared, and in ``memory`` the processor time that a frame costs the
publisher's process; medians of all rounds. ``--rate`` publishes at a camera's pace instead of as fast as can be.

Run ``python benchmarks/frame_fanout.py``; as root on a busy computer with ``--nice -15``.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from concertino.frames import FrameStream, subscribe

HERE = Path(__file__).parent
CASES = {
    "writer": ["writer"],
    "writer and two viewers": ["writer", "viewer 1", "viewer 2"],
    "writer, reconstruction and two viewers": ["writer", "reconstruction", "viewer 1", "viewer 2"],
    "writer and eight lookers": ["writer", *(f"looker {number}" for number in range(1, 9))],
}
ASKED_PERCENT = {"writer and eight lookers": 10}  # of the rate; 15 of the others
VIEWS_HZ = 10.0


def play(part: str, address: str, directory: str, count: int) -> None:
    """Be one subscriber to the end of the stream."""
    if part.startswith("viewer"):
        view(part, address)
    elif part.startswith("looker"):
        with subscribe(address, name=part, delivery="latest") as subscription:
            for _ in subscription:
                pass
    elif part == "writer":
        write(address, directory, count)
    else:
        reconstruct(address, count)


def view(part: str, address: str) -> None:
    """Take the newest frame ten times a second."""
    with subscribe(address, name=part, delivery="latest") as subscription:
        while subscription.read(timeout_s=60) is not None:
            time.sleep(1 / VIEWS_HZ)


def write(address: str, directory: str, count: int) -> None:
    """Store every frame."""
    from concertino.storage import open_sink

    with subscribe(address, name="writer") as subscription:
        sink = open_sink(
            directory,
            shape=subscription.shape,
            dtype=subscription.dtype,
            bytes_per_file=2**30,
            num_frames=count,
        )
        for batch in subscription:
            sink.write(batch.frames, batch.start, batch.checksums)
            subscription.acknowledge(batch.stop)
        sink.close()
        subscription.finish()


def reconstruct(address: str, count: int) -> None:
    """Reconstruct the middle row."""
    from concertino.reconstruction import ReconstructionSettings, Reconstructor

    with subscribe(address, name="reconstruction") as subscription:
        height, width = subscription.shape
        settings = ReconstructionSettings(
            center=(width - 1) / 2, region=(height // 2, height // 2 + 1, 1)
        )
        reconstructor = Reconstructor(settings, num_projections=count, frame_shape=(height, width))
        reconstructor.add_darks(np.zeros((1, height, width), np.uint16))
        reconstructor.add_flats(np.full((1, height, width), 5000, np.uint16))
        for batch in subscription:
            reconstructor.add_projections(batch.frames, batch.start)
            subscription.acknowledge(batch.stop)
        subscription.finish()


def measure(way: str, parts: list[str], arguments: Any) -> tuple[float, float]:
    """Publish a scan to some subscribers; return frames/s, and µs of processor time a frame."""
    size = arguments.size
    frames = np.random.default_rng(1).integers(1000, 4096, (16, size, size), np.uint16)
    directory = Path(tempfile.mkdtemp(prefix="fanout_", dir=arguments.directory))
    with FrameStream(shape=(size, size), dtype="u2", timeout_s=60) as stream:
        stream.ring.frames[...] = 1
        players: list[Any] = []
        for part in parts:
            settings = (part, stream.address, str(directory / "frames"), arguments.frames)
            if way == "memory":
                command = [sys.executable, __file__, "--play", json.dumps(settings)]
                players.append(
                    subprocess.Popen(command, preexec_fn=lambda: os.nice(arguments.nice))
                )
            else:
                players.append(threading.Thread(target=play, args=settings))
                players[-1].start()
        while len(stream.ledger().subscribers) < len(parts):
            time.sleep(0.01)
        time.sleep(1.0)
        begin_s, cpu_s = time.perf_counter(), time.process_time()
        for index in range(arguments.frames):
            if arguments.rate:
                time.sleep(max(0.0, begin_s + index / arguments.rate - time.perf_counter()))
            stream.publish(frames[index % len(frames)])
        while stream.acknowledged < arguments.frames:
            time.sleep(0.001)
        rate = arguments.frames / (time.perf_counter() - begin_s)
        cpu_us = 1e6 * (time.process_time() - cpu_s) / arguments.frames
        stream.end().check()
    for player in players:
        player.wait() if way == "memory" else player.join()
    shutil.rmtree(directory)
    return rate, cpu_us


def main() -> None:
    """Measure, print, and write the figures to a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=1024, help="of a frame in pixels")
    parser.add_argument("--frames", type=int, default=1000, help="a scan")
    parser.add_argument("--rate", type=float, default=0.0, help="frames/s; as fast as can be")
    parser.add_argument("--nice", type=int, default=0, help="niceness of what is measured")
    parser.add_argument("--directory", help="where to write (default: the system's temporary one)")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "frame_fanout.json")
    parser.add_argument("--play", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.play:
        play(*json.loads(arguments.play))
        return
    os.nice(arguments.nice)
    rates: dict[str, list[tuple[float, float]]] = {}
    for _ in range(arguments.rounds):
        for way in ("memory", "direct"):
            for case, parts in CASES.items():
                rates.setdefault(f"{way:7}{case}", []).append(measure(way, parts, arguments))
    medians = {
        case: tuple(statistics.median(column) for column in zip(*found, strict=True))
        for case, found in rates.items()
    }
    for case, (rate, cpu_us) in medians.items():
        alone, alone_us = medians[f"{case[:7]}writer"]
        line = f"{case:48}{rate:8.0f} frames/s   costs {100 * (1 - rate / alone):5.1f} %"
        if case.startswith("memory"):
            line += f"   publisher's CPU {cpu_us:5.0f} µs a frame, {100 * (cpu_us / alone_us - 1):+.1f} %"
        print(f"{line}   asked ≤ {ASKED_PERCENT.get(case[7:], 15)} %")
    arguments.json.parent.mkdir(exist_ok=True)
    arguments.json.write_text(json.dumps(rates, indent=1))


if __name__ == "__main__":
    main()
