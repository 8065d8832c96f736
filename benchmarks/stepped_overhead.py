"""What a stepped scan costs per point, above what its devices take, beside a bare ``count``.

The rotation does not move, the exposure is zero and the frames are tiny. Three things are timed in the
same process, one after the other, several rounds:

count
    ``bluesky.plans.count`` of a device that answers at once: what the RunEngine costs by itself.
devices
    The camera triggered, and the rotation set and read, one after the other without a RunEngine.
scan
    ``step_tomography``, whose events' times are used; without callbacks, and with the recorder and
    the image writer of a session.

The scan's cost is its time per point less that of the devices. ``--bar MS`` makes the program fail when that is more.

Run ``python benchmarks/stepped_overhead.py``.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bluesky.plans as bp
from bluesky import RunEngine

from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline
from concertino.frames import FrameRequest
from concertino.plans import step_tomography
from concertino.session import open_session


class Prompt:
    """A readable that answers at once."""

    name = "prompt"
    parent = None

    def read(self) -> dict[str, Any]:
        """Return a number."""
        return {"prompt": {"value": 0.0, "timestamp": time.time()}}

    def describe(self) -> dict[str, Any]:
        """Describe the number."""
        return {"prompt": {"source": "here", "dtype": "number", "shape": []}}


class Pace:
    """Notes when the events of one stream came."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.times: list[float] = []
        self._descriptors: set[str] = set()

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document."""
        if name == "descriptor" and document["name"] == self.stream:
            self._descriptors.add(document["uid"])
        elif name == "event" and document["descriptor"] in self._descriptors:
            self.times.append(time.perf_counter())

    def ms(self) -> float:
        """Return the time from event to event."""
        return (self.times[-1] - self.times[0]) / (len(self.times) - 1) * 1000


def run_for_pace(RE: Any, plan: Any, stream: str) -> float:
    pace = Pace(stream)
    token = RE.subscribe(pace)
    try:
        RE(plan)
    finally:
        RE.unsubscribe(token)
    return pace.ms()


def devices_ms(RE: Any, beamline: SimulatedBeamline, points: int) -> float:
    """Return the time of one point's devices."""

    async def point_by_point() -> float:
        camera, rotation = beamline.camera, beamline.rotation
        await camera.stage()
        await camera.prepare(FrameRequest(points, "projections", trigger="software"))
        await camera.trigger()
        begin = time.perf_counter()
        for _ in range(points - 1):
            await rotation.set(0.0)
            await camera.trigger()
            await rotation.read()
        spent = time.perf_counter() - begin
        await camera.unstage()
        return spent / (points - 1) * 1000

    return asyncio.run_coroutine_threadsafe(point_by_point(), RE.loop).result()


def scan_ms(RE: Any, beamline: SimulatedBeamline, points: int) -> float:
    plan = step_tomography(
        beamline.camera,
        beamline.rotation,
        beamline.beam,
        beamline.sample_stage,
        radio_position=0,
        flat_position=1,
        num_projections=points,
        scheme=[0.0] * points,
        order=("projections",),
    )
    return run_for_pace(RE, plan, "projections")


def main() -> None:
    """Print the times per point and their differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bar", type=float, default=0.0, help="most ms that are allowed")
    arguments = parser.parse_args()
    beamline = SimulatedBeamline(shape=(16, 16), exposure=0.0)
    bare = RunEngine({})
    points = arguments.points
    found: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory() as root,
        open_session(Path(root), progress=False, catalog=False) as session,
    ):
        session.subscribe(ImageWriter())
        scan_ms(bare, beamline, 20)  # compiles
        for _ in range(arguments.rounds):
            for name, measured in (
                ("count", lambda: run_for_pace(bare, bp.count([Prompt()], points), "primary")),
                ("devices", lambda: devices_ms(bare, beamline, points)),
                ("scan", lambda: scan_ms(bare, beamline, points)),
                ("scan, stored", lambda: scan_ms(session.RE, beamline, points)),
            ):
                found.setdefault(name, []).append(measured())
    middle = {name: statistics.median(values) for name, values in found.items()}
    print(f"{'ms per point':>16} {'median':>8} {'least':>8} {'most':>8} {'above devices':>14}")
    for name, values in found.items():
        above = f"{middle[name] - middle['devices']:14.2f}" if name.startswith("scan") else ""
        print(f"{name:>16} {middle[name]:8.2f} {min(values):8.2f} {max(values):8.2f} {above}")
    worst = max(middle["scan"], middle["scan, stored"]) - middle["devices"]
    if arguments.bar and worst > arguments.bar:
        sys.exit(
            f"A point costs {worst:.2f} ms above its devices; {arguments.bar:g} ms is the bar."
        )


if __name__ == "__main__":
    main()
