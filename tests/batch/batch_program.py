"""Store a scan, reconstruct it in parts within a limit, twice, and print what memory that took."""

import gc
import json
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino.batch import reconstruct_run
from concertino.callbacks import ImageWriter
from concertino.devices import Camera, CameraSettings, Grab, SimulatedBeamline
from concertino.frames import FrameRequest
from concertino.plans import continuous_tomography
from concertino.processing._scan_frames import ScanFrames
from concertino.reconstruction import ReconstructionSettings, Reconstructor
from concertino.session import open_session
from concertino.storage import open_run

SIZE, PROJECTIONS, LIMIT_GIB, RATE_HZ = 768, 128, 1.0, 200.0
# what computes is compiled once on each computer, in a process of its own here: the compiler keeps 0.1 GiB
COMPILE = """
import numpy as np
from concertino.reconstruction import ReconstructionSettings, reconstruct
light = np.ones((4, 8, 8), np.uint16)
reconstruct(light, np.arange(4) * np.pi / 4, flats=light,
            settings=ReconstructionSettings(center=3.5, threads=1))
"""


class Noise:
    """A camera's source with frames of noise."""

    pixel_size_um = 1.0
    shape = (SIZE, SIZE)
    dtype = np.dtype(np.uint16)

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        self._frames = random.integers(0, 50, (8, *self.shape), np.uint16)
        self._light = 0

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        """Know what is imaged."""
        self._light = {"darks": 100, "flats": 4000}.get(request.kind, 3000)
        self._sent = 0

    def start(self) -> None:
        """Begin."""
        self._began_s = time.monotonic()

    def grab(self, out: NDArray[Any]) -> Grab:
        """Fill some frames, at the rate that the camera is set to."""
        due_s = self._began_s + (self._sent + len(out)) / RATE_HZ
        time.sleep(max(0.0, due_s - time.monotonic()))
        numbers = self._sent + np.arange(len(out))
        for slot, number in zip(out, numbers, strict=True):
            np.add(self._frames[number % 8], self._light, out=slot, dtype=np.uint16)
        self._sent += len(out)
        return Grab(np.full(len(out), time.time_ns()), numbers)

    def trigger(self) -> None:
        """Never called."""

    def stop(self) -> None:
        """End."""


def status(name: str) -> int:
    """Return a figure of the process in bytes; `ru_maxrss` is handed down from the one that started it."""
    with open("/proc/self/status") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith(name))


def main() -> None:
    """Print the peak of each reconstruction over the limit, parts, and reconstructors alive at a time."""
    subprocess.run([sys.executable, "-c", COMPILE], check=True)
    directory = Path(sys.argv[1])
    beamline = SimulatedBeamline(shape=(16, 16))
    camera = Camera(Noise(), exposure=0.0, frame_rate=RATE_HZ)
    with open_session(directory, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter(bytes_per_file=2**28))
        session.RE(
            continuous_tomography(
                camera, beamline.rotation, beamline.beam, beamline.sample_stage, radio_position=0,
                flat_position=20, num_darks=2, num_flats=2, num_projections=PROJECTIONS,
                angular_range="180 deg", on_lost="flag",
            )
        )  # fmt: skip
    run = open_run("scan_0001", directory)
    del session, camera, beamline
    gc.collect()
    alive: list[weakref.ref[Reconstructor]] = []
    most = 0
    make = ScanFrames.reconstructor

    def counted(*args: Any, **kwargs: Any) -> Reconstructor:
        nonlocal most
        made = make(*args, **kwargs)
        alive.append(weakref.ref(made))
        most = max(most, sum(each() is not None for each in alive))
        return made

    ScanFrames.reconstructor = counted  # type: ignore[method-assign]
    gc.disable()
    peaks, parts = [], 0
    for center in ((SIZE - 1) / 2, None):
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
        settings = ReconstructionSettings(center=center, memory_gib=LIMIT_GIB, threads=2)
        parts = reconstruct_run(run, settings, output="hdf5", directory=directory / "out").parts
        peaks.append(status("VmHWM") / (LIMIT_GIB * 2**30))
    print(json.dumps({"peaks": peaks, "parts": parts, "alive": most}))


if __name__ == "__main__":
    main()
