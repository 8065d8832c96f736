"""Wait until axes move at the speed that was asked for, and the first of them is where it is due."""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from concertino import DeviceError

from ._clocks import answered
from ._projection_angles import encoder_of, read_position

if TYPE_CHECKING:
    from ._sweep import Sweep

_WINDOW_S = 0.02
_LOOK_S = 0.004
_TOLERANCE = 0.01
_PATIENCE_S = 3.0
#: The last hundredth of the speed comes late in a smooth ramp: wait this part of the time so far.
SMOOTH = 0.1
#: What a sweep sets out earlier, in s, so that there is time to see that it is at speed.
SETTLE_S = 0.06


@dataclass(frozen=True)
class _Seen:
    """Where an axis is, how fast, and when it was so."""

    when_s: float
    position: float
    velocity: float


async def reach_speed(sweeps: Sequence["Sweep"], set_out_s: float) -> None:
    """Wait until all axes are at speed, and the first of them is where its first frame is due.

    The positions that the axes tell decide, not what they say of their acceleration.

    Parameters
    ----------
    sweeps : sequence of Sweep
        Moves that are under way.
    set_out_s : float
        When they set out, by the computer's clock, in s since the epoch.

    Raises
    ------
    DeviceError
        If an axis does not reach its speed, or so late that there is not enough way left.
    """
    seen = [await _at_speed(sweep, set_out_s) for sweep in sweeps]
    ramps = [
        0.0 if found is None else _ramp_s(sweep, found, set_out_s)
        for sweep, found in zip(sweeps, seen, strict=True)
    ]
    await asyncio.sleep(SMOOTH * max(ramps))
    for sweep, found, ramp_s in zip(sweeps, seen, ramps, strict=True):
        if found is not None:
            _check_way(sweep, found, ramp_s)
    first = seen[0]
    if first is not None:
        here = first.position + first.velocity * (time.time() - first.when_s)
        left_s = (sweeps[0].start - here) / first.velocity
        if 0 < left_s < _PATIENCE_S:
            await asyncio.sleep(left_s)


async def _at_speed(sweep: "Sweep", set_out_s: float) -> _Seen | None:
    """Wait until an axis is at speed; None if it is at its end already: it jumped."""
    wanted, fastest = sweep.velocity, 0.0
    deadline = set_out_s + 3 * sweep.lead_s + _PATIENCE_S
    read: list[tuple[float, float]] = []
    while time.time() < deadline:
        read += [
            point for point in await _positions(sweep.axis) if not read or point[0] > read[-1][0]
        ]
        # Over a window of the axis' readings; wider with time, should they be few or noisy.
        window_s = max(_WINDOW_S, 0.3 * (time.time() - set_out_s - sweep.lead_s))
        early = [point for point in read[:-1] if read[-1][0] - point[0] >= window_s]
        if early:
            (begin_s, begin), (end_s, end) = early[-1], read[-1]
            seen = _Seen(end_s, end, (end - begin) / (end_s - begin_s))
            if abs(seen.velocity - wanted) <= _TOLERANCE * abs(wanted):
                return seen
            fastest = max(fastest, seen.velocity / wanted)
        if read and math.isclose(read[-1][1], sweep.last, rel_tol=1e-9, abs_tol=1e-9):
            if read[0][1] == read[-1][1]:
                return None
            break  # It is at its end.
        await asyncio.sleep(_LOOK_S)
    raise DeviceError(
        f"{sweep.axis.name} was to move at {wanted:g} per s and reached {fastest * wanted:.3g} per s within "
        f"{time.time() - set_out_s:.1f} s; its acceleration_time says {sweep.ramp_s:.3g} s. Check that it "
        "can go so fast with its load, or set a longer acceleration_time."
    )


async def _positions(axis: Any) -> list[tuple[float, float]]:
    """Return new (time by the computer's clock in s, position) of an axis."""
    encoder = encoder_of(axis)
    if encoder is None:
        when_s, position, _ = await read_position(axis)
        return [(when_s, position)]
    before = time.time()
    shown = float(await answered(encoder.clock()))
    times, positions = await answered(encoder.recorded(0))
    recent = np.flatnonzero(times > shown - 3 * _WINDOW_S)
    return [(before + times[i] - shown, float(positions[i])) for i in recent]


def _ramp_s(sweep: "Sweep", seen: _Seen, set_out_s: float) -> float:
    """Return how long an axis took to reach its speed: by twice the time that it is behind."""
    at_speed_s = abs(seen.position - sweep.first) / abs(sweep.velocity)
    return max(0.0, 2 * (seen.when_s - set_out_s - at_speed_s))


def _check_way(sweep: "Sweep", seen: _Seen, ramp_s: float) -> None:
    """Raise if an axis that needed long to gain speed would lose it before the last frame."""
    left = abs(sweep.last - seen.position) / abs(sweep.velocity)
    needed = max(0.0, (sweep.start - seen.position) / sweep.velocity) + sweep.frames_s + ramp_s / 2
    if left < needed:
        raise DeviceError(
            f"{sweep.axis.name} took {ramp_s:.2f} s to reach {abs(sweep.velocity):g} per s, where its "
            f"acceleration_time says {sweep.ramp_s:.2f} s: it would lose speed before the last frame. Set "
            f"acceleration_time to {ramp_s:.2f} s or more."
        )
