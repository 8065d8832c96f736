"""How fast the digital twin makes frames, and how well it keeps to what it promises.

Run ``python benchmarks/simulation.py``. Rates are frames/s of one core (processor time, so that other
programs don't count), the best of the repetitions; the first frame, which compiles, is left out.
"""

import argparse
import math
import time

import numpy as np

from concertino.simulation import (
    Beam,
    BeamlineState,
    Detector,
    Phantom,
    Twin,
    ellipsoid_foam,
    shepp_logan_3d,
)

#: A frame of a continuous scan of 500 projections that is exposed all the time turns by this much.
STEP = math.pi / 500

STATES = {
    "beam off": BeamlineState(beam_on=0.0),
    "flat": BeamlineState(sample_offset_mm=(100.0, 0.0)),
    "at rest": BeamlineState(angle_start_rad=0.3),
    "turning": BeamlineState(angle_start_rad=0.3, angle_end_rad=0.3 + STEP),
}


def rate(twin: Twin, state: BeamlineState, repeat: int) -> float:
    """Return frames per second of processor time."""
    out = np.empty(twin.shape, np.uint16)
    twin.expose(state, 0.01, out, 0)
    best = math.inf
    for _ in range(repeat):
        count, begin = 0, time.process_time()
        while time.process_time() - begin < 0.3:
            twin.expose(state, 0.01, out, count)
            count += 1
        best = min(best, (time.process_time() - begin) / count)
    return 1 / best


def phantoms(size: int) -> dict[str, Phantom]:
    """Return the samples, each filling most of the field of view."""
    radius = 0.45 * size * 0.005
    return {
        "Shepp-Logan (10 ellipsoids)": shepp_logan_3d(radius),
        "foam (61 ellipsoids)": ellipsoid_foam(0, 60, radius_mm=radius, height_mm=3 * radius),
    }


def main() -> None:
    """Print the rates for each phantom, size and state of the beamline."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024, 2048])
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{'frames/s':>32}", *(f"{name:>10}" for name in STATES))
    for size in arguments.sizes:
        for name, phantom in phantoms(size).items():
            twin = Twin(phantom, Beam(), Detector((size, size)))
            rates = [rate(twin, state, arguments.repeat) for state in STATES.values()]
            print(f"{name:>27} {size:>4}", *(f"{value:>10.0f}" for value in rates))


if __name__ == "__main__":
    main()
