"""A tiny beamline whose scans take a fraction of a second."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bluesky import Msg, RunEngine
from bluesky.utils import MsgGenerator

from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline, SimulatedMotor
from concertino.plans import (
    Deadlines,
    continuous_spiral_tomography,
    continuous_tomography,
    radiography,
    set_deadlines,
    step_spiral_tomography,
    step_tomography,
)
from concertino.storage import Recorder, RunDirectories
from concertino.testing import PlanBench

COUNTS: dict[str, Any] = {"num_darks": 2, "num_flats": 2, "num_projections": 3}
POSITIONS: dict[str, Any] = {"radio_position": "0 mm", "flat_position": "1 mm"}
SPIRAL: dict[str, Any] = {
    "start_position_vertical": "0 mm",
    "vertical_shift_per_tomogram": "0.02 mm",
    "sample_height": "0.03 mm",
}
PLANS = ("radiography", "step_tomography", "continuous_tomography")


class Laboratory:
    """A beamline, a RunEngine with recorder and writer, and a data directory."""

    def __init__(self, root: Path, source: str = "synchrotron", **beamline: Any) -> None:
        self.beamline = SimulatedBeamline(
            source=source,
            **{
                "shape": (16, 16),
                "exposure": 0.0,
                "frame_rate": 200.0,
                "ring_bytes": 2**16,
                **beamline,
            },
        )
        #: Devices of a test's own, by name.
        self.more: dict[str, Any] = {}
        b = self.beamline
        self.motors: tuple[SimulatedMotor, ...] = (b.rotation, b.sample_stage, b.vertical_stage)
        for motor in self.motors:
            asyncio.run(quicken(motor))
        self.directories = RunDirectories(root)
        self.recorder = Recorder(self.directories)
        self.RE = RunEngine({})
        self.documents: list[tuple[str, Any]] = []
        self.RE.subscribe(self.recorder)
        self.RE.subscribe(ImageWriter())
        self.RE.subscribe(self._note)

    def _note(self, name: str, document: Any) -> None:
        self.documents.append((name, document))

    def plan(self, name: str, *, beam: Any = None, **parameters: Any) -> MsgGenerator[Any]:
        b = self.beamline
        beam = beam or b.beam
        given = {**COUNTS, **POSITIONS, **parameters}
        rotation = given.pop("rotation", b.rotation)
        stage = given.pop("sample_stage", b.sample_stage)
        given["md"] = {**self.directories.new().metadata(), **given.get("md", {})}
        if name == "radiography":
            return radiography(b.camera, beam, stage, **given)
        given.setdefault("angular_range", "3 deg")
        if "spiral" in name:
            spiral = step_spiral_tomography if "step" in name else continuous_spiral_tomography
            return spiral(b.camera, rotation, b.vertical_stage, beam, stage, **(SPIRAL | given))
        plan = step_tomography if name == "step_tomography" else continuous_tomography
        return plan(b.camera, rotation, beam, stage, **given)

    def run(self, name: str, **parameters: Any) -> list[tuple[str, Any]]:
        """Run a plan and return its documents."""
        self.documents.clear()
        self.RE(self.plan(name, **parameters))
        return list(self.documents)

    def beam_is_on(self) -> bool:
        return self.beamline.shutter.is_open or self.beamline.tube.is_on

    def moving(self) -> list[str]:
        now = time.time()
        return [m.name for m in self.motors if m.position_at(now) != m.position_at(now + 10)]

    def settings(self) -> dict[str, Any]:
        return {
            "velocity"
            if motor is self.beamline.rotation
            else motor.name: asyncio.run_coroutine_threadsafe(
                motor.velocity.get_value(), self.RE.loop
            ).result()
            for motor in self.motors
        }

    def bench(self, plan: Callable[[], MsgGenerator[Any]]) -> PlanBench:
        return PlanBench(self.RE, plan, self.beam_is_on, self.moving, self.settings)

    def close(self) -> None:
        self.recorder.close()


@contextmanager
def patience(**deadlines: float) -> Iterator[None]:
    """Have deadlines of less than a second hold, so that a test sees them pass."""
    before = set_deadlines(Deadlines(**deadlines))
    try:
        yield
    finally:
        set_deadlines(before)


def actions(messages: Sequence[Msg]) -> list[str]:
    """Return what devices were told to do, in order: moves, streams that begin, exposures."""
    said = []
    for message in messages:
        if message.command == "set":
            value = message.args[0]
            shown = f"{value:g}" if isinstance(value, float) else f"{value}"
            said.append(f"{message.obj.name} {shown}")
        elif message.command == "prepare":
            request = message.args[0]
            said.append(f"take {request.count} {request.kind} ({request.trigger})")
        elif message.command in ("trigger", "kickoff"):
            said.append(message.command)
    return said


async def quicken(motor: SimulatedMotor) -> None:
    """Have a motor gain speed at once, nearly."""
    await motor.acceleration_time.set(0.005)
