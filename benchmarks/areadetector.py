"""An areaDetector's frames by PV Access into TIFF files: how many a second without a loss, and whether losses are counted right.

The detector is `SimulatedAreaDetector`, a process of its own on this computer with prepared frames of ``--size`` squared,
uint16. After a small scan that fills the ring it exposes at each of ``--rates`` in turn; the camera of a radiography takes
the frames by a PV Access monitor, and `ImageWriter` writes them, one file each. Told are the files/s from the first file's
modification time to the last one's, how many frames were lost, and the processor time of a frame here and there, the scan's
begin and end included. Then the same with compressed frames, at the first rate.

Last, the monitor's queue has room for two frames only: the frames that the detector counted must be those that were
stored and those that the ledger has as lost, and each stored frame must have the pixels of its number.

Run ``python benchmarks/areadetector.py`` on a quiet machine; it takes about a minute. Use another ``--directory`` for the next
five minutes where the disk is ext4: see ``tiff.py``.
"""

import argparse
import os
import shutil
import statistics
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from bluesky.utils import MsgGenerator
from p4p.client.thread import Context

from concertino.callbacks import ImageWriter
from concertino.devices import (
    AreaDetectorCamera,
    AreaDetectorOptions,
    SimulatedAreaDetector,
    SimulatedBeamline,
)
from concertino.plans import radiography
from concertino.session import open_session
from concertino.storage import Run, open_run

_EXPOSURE_S = 0.0005
_SPARE_BYTES = 5 * 10**8
_REFERENCES = 20
_RING_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Taken:
    """What came of one scan.

    Parameters
    ----------
    hz : float
        Files/s.
    sent, stored, lost : int
        Projections that the detector counted, that are in files, and that the ledger has as lost.
    right : bool
        Whether all these agree, and each stored frame is the one of its number.
    here_ms, there_ms : float
        Processor time a frame, in ms: of this process, and of the detector's.
    """

    hz: float
    sent: int
    stored: int
    lost: int
    right: bool
    here_ms: float
    there_ms: float


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--rates", type=float, nargs="+", default=[300.0, 400.0, 500.0])
    parser.add_argument("--frames", type=int, default=750)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--codecs", nargs="*", default=["bslz4"], help="compressed ones, too")
    parser.add_argument("--directory", help="where to write (default: the system's temporary one)")
    asked = parser.parse_args()
    root = Path(tempfile.mkdtemp(dir=asked.directory))
    with ExitStack() as running:  # until the end: their clients would look for them, and say so
        for codec in ["", *asked.codecs]:
            detector = running.enter_context(
                SimulatedAreaDetector((asked.size, asked.size), codec=codec, prefix=f"{codec}SIM:")
            )
            for rate in asked.rates if not codec else asked.rates[:1]:
                found = [take(root, detector, rate, asked.frames) for _ in range(asked.rounds)]
                tell(f"{asked.size}² {codec or 'plain'} at {rate:g} frames/s", found)
            if not codec:
                short = take(root, detector, asked.rates[-1], asked.frames, queue_size=2)
                tell("the same, two frames' room in the queue", [short])
    shutil.rmtree(root)


def tell(what: str, found: list[Taken]) -> None:
    """Print what was found, and whether the computer was quiet."""
    lost = ", ".join(str(taken.lost) for taken in found)
    here, there = (
        statistics.median(times)
        for times in zip(*((taken.here_ms, taken.there_ms) for taken in found), strict=True)
    )
    print(
        f"{what}: {statistics.median(taken.hz for taken in found):.0f} files/s; of {found[-1].sent} sent {lost} lost, "
        f"numbers {'right' if all(taken.right for taken in found) else 'WRONG'}; {here:.2f} ms of processor a frame here, "
        f"{there:.2f} ms there; load {os.getloadavg()[0]:.2g} on {os.cpu_count()} cores",
        flush=True,
    )


def take(
    root: Path,
    detector: SimulatedAreaDetector,
    rate_hz: float,
    frames: int,
    queue_size: int | None = None,
) -> Taken:
    """Take a radiography, and look at what is stored."""
    directory = Path(tempfile.mkdtemp(dir=root))
    options = AreaDetectorOptions(queue_size=queue_size)
    camera = AreaDetectorCamera(
        detector.prefix, control="pva", exposure=_EXPOSURE_S, frame_rate=rate_hz, options=options
    )
    beamline = SimulatedBeamline(shape=(8, 8))

    def scan(count: int) -> MsgGenerator[str]:
        return radiography(
            camera, beamline.beam, beamline.sample_stage, radio_position="0 mm",
            flat_position="1 mm", num_darks=_REFERENCES, num_flats=_REFERENCES,
            num_projections=count, on_lost="flag",
        )  # fmt: skip

    with (
        Context("pva") as records,
        open_session(directory, progress=False, catalog=False) as session,
    ):
        session.subscribe(ImageWriter())
        session.RE(scan(_RING_BYTES // camera.frame_bytes))  # all of the ring is memory then
        os.sync()
        # A virtual machine gets memory slowly; what was in use a moment ago is there.
        np.ones(frames * camera.frame_bytes + _SPARE_BYTES, np.uint8)
        counter = f"{detector.prefix}cam1:ArrayCounter_RBV"
        before = int(records.get(counter))
        processes = psutil.Process(), psutil.Process(detector.pid)
        before_s = [cpu_s(process) for process in processes]
        session.RE(scan(frames))
        spent_s = [cpu_s(process) for process in processes]
        sent = int(records.get(counter)) - before
    camera.source.stop()
    taken = looked_at(open_run(2, directory), detector, sent, before)
    for file in directory.rglob("*.tif"):
        os.truncate(file, 0)
    cost = [1e3 * (end - begin) / sent for begin, end in zip(before_s, spent_s, strict=True)]
    return Taken(*taken, *cost)


def looked_at(
    run: Run, detector: SimulatedAreaDetector, sent: int, before: int
) -> tuple[float, int, int, int, bool]:
    """Return files/s, frames sent, stored and lost of the projections, and whether all is right."""
    rows = [row for row in run.ledger() if row["party"] == "camera"]
    lost = {row["stream"]: row["dropped"] for row in rows}
    stored = run.frames("projections")
    numbers = stored.index["number"]
    others = sum(row["exposed"] for row in rows if row["stream"] != "projections")
    sent, first = sent - others, before + others + 1
    right = sent == len(stored) + lost["projections"]
    if not detector.codec:
        shown = [int(stored.read(place, place + 1)[0, -1, -1]) for place in range(len(stored))]
        right &= shown == [(first + int(number)) % 2**16 for number in numbers]
    written_ns = [file.stat().st_mtime_ns for file in files_of(run)]
    hz = (len(written_ns) - 1) / (max(written_ns) - min(written_ns)) * 1e9
    return hz, sent, len(stored), lost["projections"], bool(right)


def files_of(run: Run) -> list[Path]:
    """Return the files of the projections."""
    return sorted(run.directory.rglob("projections/**/*.tif"))


def cpu_s(process: psutil.Process) -> float:
    """Return the processor time of a process so far, in s."""
    used = process.cpu_times()
    return float(used.user + used.system)


if __name__ == "__main__":
    main()
