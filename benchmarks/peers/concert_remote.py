"""One remote radiography with concert 0.33.0; run by ``benchmarks/remote.py`` in concert's own environment.

As concert's user guide has it: the camera is in the session's process and sends its frames by ZMQ, a
walker in a Tango server of its own writes them. Frames are made beforehand and nothing is simulated. Prints
one line of JSON.
"""

import argparse
import asyncio
import json

import concert.config
import numpy as np
import zmq
from concert.devices.motors.dummy import LinearMotor
from concert.devices.shutters.dummy import Shutter
from concert.experiments.addons.tango import ImageWriter
from concert.experiments.synchrotron import RemoteRadiography
from concert.helpers import CommData
from concert.networking.base import get_tango_device
from concert.quantities import q
from concert.storage import RemoteDirectoryWalker
from concert_scan import PreparedCamera

START_S = 60


async def walker_at(port, root):
    """Return the walker in a server, once that has started."""
    for attempt in range(START_S):
        try:
            device = get_tango_device(
                f"127.0.0.1:{port}/concert/tango/walker#dbase=no", timeout=1000 * q.s
            )
            if asyncio.iscoroutine(device) or isinstance(device, asyncio.Future):
                device = await device
            return await RemoteDirectoryWalker(device=device, root=root, bytes_per_file=0)
        except Exception:
            if attempt == START_S - 1:
                raise
            await asyncio.sleep(1)


async def scan(arguments):
    """Run a small scan and the one that counts; return what is known of the latter."""
    size = arguments.size
    frames = np.random.default_rng(1).integers(0, 4096, (arguments.distinct, size, size), np.uint16)
    camera = await PreparedCamera(frames)
    experiment = await RemoteRadiography(
        walker=await walker_at(arguments.walker_port, arguments.directory),
        flat_motor=await LinearMotor(),
        radio_position=0 * q.mm,
        flat_position=10 * q.mm,
        camera=camera,
        shutter=await Shutter(),
        num_darks=2,
        num_flats=2,
        num_projections=arguments.warm_up,
    )
    await ImageWriter(experiment, CommData("127.0.0.1", port=arguments.port, socket_type=zmq.PUSH))
    await experiment.run()
    await experiment.set_num_projections(arguments.frames)
    camera.touch_bytes = arguments.touch
    await experiment.run()
    return {"started_s": camera.started_ns / 1e9}


def main():
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--warm-up", type=int, required=True)
    parser.add_argument("--distinct", type=int, required=True)
    parser.add_argument("--touch", type=int, default=0)
    parser.add_argument("--walker-port", type=int, required=True)
    parser.add_argument("--port", type=int, required=True, help="for frames")
    arguments = parser.parse_args()
    concert.config.PROGRESS_BAR = False
    asyncio.set_event_loop(loop := asyncio.new_event_loop())
    print(json.dumps(loop.run_until_complete(scan(arguments))))


if __name__ == "__main__":
    main()
