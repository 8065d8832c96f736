"""How near a preflight's estimate comes to the true duration of a run on the digital twin.

Each plan runs some times in a session with an image writer. Before each run its duration is estimated;
afterwards its documents tell how long it took. The first run of each plan teaches the overheads and
does not count. ``--bar PERCENT`` makes the program fail when a median is farther off.

Run ``python benchmarks/preflight.py``.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline
from concertino.plans import (
    continuous_spiral_tomography,
    continuous_tomography,
    grating_stepping,
    radiography,
    step_spiral_tomography,
    step_tomography,
)
from concertino.session import open_session


class Duration:
    """How long the last run took, by its documents."""

    seconds = 0.0
    _begin_s = 0.0

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document."""
        if name == "start":
            self._begin_s = document["time"]
        elif name == "stop":
            self.seconds = document["time"] - self._begin_s


def experiments() -> dict[str, Callable[[], Any]]:
    """Return plans of 2 to 5 s."""
    b = SimulatedBeamline(shape=(128, 128))
    b.twin.warm_up()
    buffered = SimulatedBeamline(
        shape=(128, 128), memory_bytes=200 * 128 * 128 * 2, readout_rate_hz=100.0
    )
    buffered.twin.warm_up()
    stages = (b.camera, b.rotation, b.beam, b.sample_stage)
    spiral = (b.camera, b.rotation, b.vertical_stage, b.beam, b.sample_stage)
    common: dict[str, Any] = {
        "radio_position": 0, "flat_position": "10 mm", "num_darks": 20,
    }  # fmt: skip
    flats = {**common, "num_flats": 20}
    heights: dict[str, Any] = {
        "start_position_vertical": 0, "vertical_shift_per_tomogram": 0.2, "sample_height": 0.3,
    }  # fmt: skip
    return {
        "radiography": lambda: radiography(
            b.camera, b.beam, b.sample_stage, num_projections=200, **flats
        ),
        "step_tomography": lambda: step_tomography(*stages, num_projections=40, **flats),
        "continuous_tomography": lambda: continuous_tomography(
            *stages, num_projections=250, **flats
        ),
        "continuous_tomography, read out later": lambda: continuous_tomography(
            buffered.camera, buffered.rotation, buffered.beam, buffered.sample_stage,
            num_projections=150, readout="later", **flats,
        ),
        "step_spiral_tomography": lambda: step_spiral_tomography(
            *spiral, num_projections=12, **heights, **flats
        ),
        "continuous_spiral_tomography": lambda: continuous_spiral_tomography(
            *spiral, num_projections=60, **heights, **flats
        ),
        "grating_stepping": lambda: grating_stepping(
            b.camera, b.grating_stage, b.beam, b.sample_stage, grating_period="2.4 um",
            stepping_start_position=0, num_periods=4, **common,
        ),
    }  # fmt: skip


def main() -> None:
    """Print estimates and true durations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="the first does not count")
    parser.add_argument("--bar", type=float, default=0.0, help="most percent that are allowed")
    arguments = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {}
    with (
        tempfile.TemporaryDirectory() as root,
        open_session(Path(root), progress=False, catalog=False) as session,
    ):
        session.subscribe(ImageWriter())
        duration = Duration()
        session.subscribe(duration)
        for _ in range(arguments.rounds):
            for name, plan in experiments().items():
                figures = session.preflight(plan())
                expected_s = figures.duration_s - figures.parts.get("moves after a run", 0.0)
                session.RE(plan())
                found.setdefault(name, []).append((expected_s, duration.seconds))
    print(f"{'plan':30} {'expected s':>10} {'true s':>8} {'off by':>8}  (medians; each run)")
    worst = 0.0
    for name, pairs in found.items():
        off = [100 * (expected / true - 1) for expected, true in pairs[1:]]
        middle = statistics.median(off)
        worst = max(worst, abs(middle))
        expected, true = (statistics.median(column) for column in zip(*pairs[1:], strict=True))
        each = " ".join(f"{value:+.1f}" for value in off)
        print(f"{name:30} {expected:10.2f} {true:8.2f} {middle:+7.1f}%  ({each})")
    if arguments.bar and worst > arguments.bar:
        sys.exit(f"An estimate is off by {worst:.1f} %; {arguments.bar:g} % is the bar.")


if __name__ == "__main__":
    main()
