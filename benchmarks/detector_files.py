"""A detector that writes its own HDF5 file: how far live reconstruction is behind it, and whether its rate is its own.

The detector is an areaDetector-like IOC in a process of its own, which writes frames of ``--size`` squared at ``--rate``
into a file that is open for readers (SWMR). It takes the same radiographs and continuous tomographies alternately without
and with Concertino: *alone*, driven by ophyd-async's own calls; *read*, as the camera of a continuous tomography with a live
reconstruction. Told are the writer's rate by the times of its counter, their ratio, how long after the last frame was
counted the last frame was acknowledged by the reconstruction, and how much processor time this process took a frame: other
programs on the computer change the rates, but not that. The files are in memory where there is such a directory: the rate of
a disk is nobody's here.

Run ``python benchmarks/detector_files.py --size 2048 --rate 200 --frames 300 --rounds 3``: about half a minute.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.devices.detectors.detectors import WRITERS, Iocs, Scans  # noqa: E402


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="UInt16")
    parser.add_argument("--directory", default="/dev/shm" if Path("/dev/shm").is_dir() else None)
    asked = parser.parse_args()
    iocs = Iocs()
    os.environ.update(iocs.environment)
    found: dict[str, list[float]] = {
        "alone": [], "read": [], "behind": [], "ms alone": [], "ms read": [],
    }  # fmt: skip
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory(dir=asked.directory) as directory:
            scans = Scans(Path(directory))
            shape = {"shape": [asked.size, asked.size], "direct": True, "dtype": asked.dtype}
            with iocs.detector(WRITERS["hdf"], scans.files, **shape) as detector:
                loop = scans.session.RE.loop
                watched = Counts()
                watching = asyncio.run_coroutine_threadsafe(watched.watch(detector), loop)
                alone = asyncio.run_coroutine_threadsafe(take_alone(detector, asked), loop)
                alone.result(600)
                found["alone"].append(watched.rate(asked.frames))
                found["ms alone"].append(watched.ms_a_frame(asked.frames))
                found["behind"].append(read(scans, detector, asked, watched))
                found["read"].append(watched.rate(asked.frames))
                found["ms read"].append(watched.ms_a_frame(asked.frames))
                watching.cancel()
            scans.close()
        shown = ", ".join(f"{name} {values[-1]:.4g}" for name, values in found.items())
        print(f"{shown}; load {os.getloadavg()[0]:.3g} on {os.cpu_count()} cores", flush=True)
    ratio = statistics.median(r / a for r, a in zip(found["read"], found["alone"], strict=True))
    print(
        f"{asked.size}² {asked.dtype} at {asked.rate:g} frames/s: written {statistics.median(found['alone']):.4g} "
        f"frames/s alone, {statistics.median(found['read']):.4g} with live reconstruction (ratio {ratio:.4f}); the "
        f"reconstruction had the last frame {statistics.median(found['behind']):.3g} s after it was counted; this process took "
        f"{statistics.median(found['ms alone']):.3g} ms a frame alone, {statistics.median(found['ms read']):.3g} ms with it"
    )


class Counts:
    """When the writer had counted how many frames."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, int]] = []
        self.spent_s: list[float] = []

    async def watch(self, detector: Any) -> None:
        """Note each change of the counter of written frames, until cancelled."""
        from ophyd_async.core import observe_value

        async for value in observe_value(detector.hdf.num_captured):
            self.seen.append((time.monotonic(), int(value)))
            self.spent_s.append(time.process_time())

    def rate(self, frames: int) -> float:
        """Return the frames/s from a tenth of the last capture to its end."""
        begin, end = self._last(frames)
        (begin_s, first), (end_s, last) = self.seen[begin], self.seen[end]
        return (last - first) / (end_s - begin_s)

    def ms_a_frame(self, frames: int) -> float:
        """Return the processor time of this process, in ms a frame, between the same."""
        begin, end = self._last(frames)
        spent_s = self.spent_s[end] - self.spent_s[begin]
        return 1000 * spent_s / (self.seen[end][1] - self.seen[begin][1])

    def _last(self, frames: int) -> tuple[int, int]:
        end = max(i for i, (_, count) in enumerate(self.seen) if count == frames)
        begin = max(i for i, (_, count) in enumerate(self.seen[:end]) if count <= frames // 10)
        return begin + 1, end


async def take_alone(detector: Any, asked: argparse.Namespace) -> None:
    """Take as many frames as a scan has, and let nobody look."""
    from ophyd_async.core import TriggerInfo

    await detector.stage()
    await detector.prepare(
        TriggerInfo(number_of_events=asked.frames, livetime=0.001, deadtime=1 / asked.rate - 0.001)
    )
    await detector.kickoff()
    await detector.complete()
    await detector.unstage()


def read(scans: Scans, detector: Any, asked: argparse.Namespace, watched: Counts) -> float:
    """Take a tomography with a live reconstruction; return how long it had its last frame after the writer, in s."""
    from concertino.callbacks import OnlineReconstruction
    from concertino.devices import DetectorCamera
    from concertino.reconstruction import ReconstructionSettings

    row = asked.size // 2
    live = OnlineReconstruction(
        ReconstructionSettings(slices=(row,), center=asked.size / 2), necessary=True
    )
    scans.session.subscribe(live)
    camera = DetectorCamera(detector, exposure=0.001, frame_rate=asked.rate)
    taken: list[float] = []

    def look() -> None:
        stream = camera._acquisition.stream if camera._acquisition is not None else None
        if stream is not None and stream.published == asked.frames == stream.acknowledged:
            taken.append(time.monotonic())
        scans.session.RE.loop.call_later(0.02, look)

    scans.session.RE.loop.call_soon_threadsafe(look)
    scans.run(
        "continuous_tomography",
        camera,
        num_projections=asked.frames,
        angular_range="180 deg",
        on_lost="flag",
    )
    last_s = max(when_s for when_s, count in watched.seen if count == asked.frames)
    live.wait(600)
    return taken[0] - last_s


if __name__ == "__main__":
    main()
