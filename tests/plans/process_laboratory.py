"""A beamline to align: a ball or needle beside a tilted axis, or a foam out of focus."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
from bluesky.utils import MsgGenerator

from concertino.devices import SimulatedMotor
from concertino.simulation import Beam, Detector, Focus, Phantom, Twin, ellipsoid_foam

from .laboratory import Laboratory, quicken

P: dict[str, Any] = {"radio_position": "0 mm", "flat_position": "3 mm"}


def foam(shape: tuple[int, int]) -> Phantom:
    radius = 0.4 * shape[1] * 0.005
    return ellipsoid_foam(
        5, 12, radius_mm=radius, height_mm=2.5 * radius, attenuation_per_mm=0.5 / radius
    )


def twin(
    phantom: Phantom,
    shape: tuple[int, int],
    *,
    tilt_deg: tuple[float, float] = (0.0, 0.0),
    axis_offset_px: float = 0.0,
    focus: Focus | None = None,
    **more: Any,
) -> Twin:
    return Twin(
        phantom,
        Beam(flux=6e6),
        Detector(shape),
        axis_tilt_rad=(float(np.deg2rad(tilt_deg[0])), float(np.deg2rad(tilt_deg[1]))),
        axis_offset_px=axis_offset_px,
        focus=focus,
        **more,
    )


class ProcessLaboratory(Laboratory):
    """A beamline whose tilt stages and camera stage are looked after, too."""

    def __init__(self, root: Path, made: Twin, **beamline: Any) -> None:
        given = {"exposure": 0.005, "ring_bytes": 2**22, **beamline}
        super().__init__(root, twin=made, **given)
        b = self.beamline
        more = (b.axis_roll, b.axis_pitch, b.focus_stage)
        self.motors = (*self.motors, *more)
        for motor in more:
            asyncio.run(quicken(motor))
        asyncio.run(_speed_up(b.rotation, 1440.0))
        asyncio.run(_speed_up(b.focus_stage, 50.0))

    def result(self, plan: MsgGenerator[Any]) -> Any:
        """Run a plan and return what it returns."""
        self.documents.clear()
        kept: list[Any] = []

        def keeping() -> MsgGenerator[None]:
            kept.append((yield from plan))

        self.RE(keeping(), **self.directories.new().metadata())
        return kept[0]

    def events(self, stream: str) -> list[dict[str, Any]]:
        """Return the data of the events of a stream of the last run."""
        descriptors = {
            d["uid"] for n, d in self.documents if n == "descriptor" and d["name"] == stream
        }
        found: list[dict[str, Any]] = []
        for name, document in self.documents:
            if name == "event" and document["descriptor"] in descriptors:
                found.append(document["data"])
            elif name == "event_page" and document["descriptor"] in descriptors:
                keys = list(document["data"])
                columns = zip(*(document["data"][key] for key in keys), strict=True)
                found.extend(dict(zip(keys, values, strict=True)) for values in columns)
        return found


async def _speed_up(motor: SimulatedMotor, velocity: float) -> None:
    await motor.velocity.set(velocity)
