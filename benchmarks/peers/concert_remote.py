"""One remote radiography with concert 0.33.0; run by ``benchmarks/remote.py`` in concert's own environment.

As concert's user guide has it: the camera is in the session's process and sends its frames by ZMQ, a
walker in a Tango server of its own writes them. Frames are made beforehand and nothing is simulated. Prints
one line of JSON.
"""

import asyncio

import zmq
from concert.experiments.addons.tango import ImageWriter
from concert.experiments.synchrotron import RemoteRadiography
from concert.helpers import CommData
from concert.networking.base import get_tango_device
from concert.quantities import q
from concert.storage import RemoteDirectoryWalker
from concert_scan import PreparedCamera, asked, prepared_frames, radiography, show

START_S = 60


async def walker_at(port, root):
    """Return the walker in a server, once that has started."""
    for attempt in range(START_S):
        try:
            device = get_tango_device(
                f"127.0.0.1:{port}/concert/tango/walker#dbase=no", timeout=1000 * q.s
            )
            return await RemoteDirectoryWalker(device=device, root=root, bytes_per_file=0)
        except Exception:
            if attempt == START_S - 1:
                raise
            await asyncio.sleep(1)


async def scan(arguments):
    """Run a small scan and the one that counts; return what is known of the latter."""
    camera = await PreparedCamera(prepared_frames(arguments))
    walker = await walker_at(arguments.walker_port, arguments.directory)
    experiment = await radiography(RemoteRadiography, walker, camera, arguments)
    await ImageWriter(experiment, CommData("127.0.0.1", port=arguments.port, socket_type=zmq.PUSH))
    await experiment.run()
    await experiment.set_num_projections(arguments.frames)
    camera.touch_bytes = arguments.touch
    await experiment.run()
    return {"started_s": camera.started_ns / 1e9}


def main():
    """Run it."""
    parser = asked(__doc__)
    parser.add_argument("--walker-port", type=int, required=True)
    parser.add_argument("--port", type=int, required=True, help="for frames")
    show(scan, parser.parse_args())


if __name__ == "__main__":
    main()
