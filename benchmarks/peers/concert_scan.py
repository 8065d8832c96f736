"""One local radiography with concert 0.33.0; run by ``benchmarks/local_scan.py`` in concert's own environment.

The experiment, camera, walker, writer and viewer are concert's. The camera is its dummy one, told not to
simulate; it serves frames made beforehand in turn and notes when it is started. Prints one line of JSON.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("XDG_RUNTIME_DIR", "/tmp")

import concert.config
import numpy as np
from concert.devices.cameras.dummy import Camera
from concert.devices.motors.dummy import LinearMotor
from concert.devices.shutters.dummy import Shutter
from concert.experiments.addons.local import ImageWriter, LiveView
from concert.experiments.synchrotron import LocalRadiography
from concert.ext.viewers import PyQtGraphViewer
from concert.quantities import q
from concert.storage import DirectoryWalker


class PreparedCamera(Camera):
    """Serves frames made beforehand, without a copy."""

    async def __ainit__(self, frames):
        self._prepared = list(frames)
        self._next = 0
        self.started_ns = 0
        self.touch_bytes = 0
        await super().__ainit__(background=frames[0], simulate=False)

    async def _record_real(self):
        touch = os.path.join(os.path.dirname(__file__), "touch.py")
        subprocess.run([sys.executable, "-S", touch, str(self.touch_bytes)], check=True)
        os.sync()  # what the warm-up wrote is not this scan's
        self.started_ns = time.time_ns()
        await super()._record_real()

    async def _grab_real(self):
        self._next += 1
        return self._prepared[self._next % len(self._prepared)]


def prepared_frames(arguments):
    """Return frames for the camera to serve."""
    shape = (arguments.distinct, arguments.size, arguments.size)
    return np.random.default_rng(1).integers(0, 4096, shape, np.uint16)


async def radiography(kind, walker, camera, arguments):
    """Return an experiment that takes as many projections as the warm-up has."""
    return await kind(
        walker=walker,
        flat_motor=await LinearMotor(),
        radio_position=0 * q.mm,
        flat_position=10 * q.mm,
        camera=camera,
        shutter=await Shutter(),
        num_darks=arguments.references,
        num_flats=arguments.references,
        num_projections=arguments.warm_up,
    )


async def scan(arguments):
    """Run a small scan and the one that counts; return what is known of the latter."""
    camera = await PreparedCamera(prepared_frames(arguments))
    walker = await DirectoryWalker(
        root=arguments.directory, bytes_per_file=arguments.bytes_per_file
    )
    experiment = await radiography(LocalRadiography, walker, camera, arguments)
    await ImageWriter(experiment)
    if arguments.live != "none":
        viewer = await PyQtGraphViewer()
        await LiveView(viewer, experiment)
    await experiment.run()
    await experiment.set_num_projections(arguments.frames)
    camera.touch_bytes = arguments.touch
    began_s = time.process_time()
    await experiment.run()
    returned_ns = time.time_ns()
    cpu_s = time.process_time() - began_s
    return {
        "directory": os.path.join(arguments.directory, "scan_0001", "radios"),
        "started_ns": camera.started_ns,
        "returned_ns": returned_ns,
        "cpu_s": cpu_s,
    }


def asked(description):
    """Return a parser of what each radiography is told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--directory", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--warm-up", type=int, required=True)
    parser.add_argument("--references", type=int, required=True)
    parser.add_argument("--distinct", type=int, required=True)
    parser.add_argument("--touch", type=int, default=0)
    return parser


def show(scan, arguments):
    """Run a scan and print what is known of it."""
    concert.config.PROGRESS_BAR = False
    asyncio.set_event_loop(loop := asyncio.new_event_loop())
    print(json.dumps(loop.run_until_complete(scan(arguments))))


def main():
    """Run it."""
    parser = asked(__doc__)
    parser.add_argument("--bytes-per-file", type=int, default=0)
    parser.add_argument("--live", choices=["none", "open"], default="none")
    show(scan, parser.parse_args())


if __name__ == "__main__":
    main()
