"""Take frames while one or more axes move steadily."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bluesky.plan_stubs as bps
from bluesky import Msg
from bluesky.utils import MsgGenerator, short_uid

from ._frames import OnLost, move_together, take_frames
from ._parameters import check_limits, check_velocity, read_number
from ._protocols import FrameCamera
from ._safety import Cleanup, beam_off, beam_on

_MARGIN_S = 0.5


@dataclass(frozen=True)
class Sweep:
    """The steady move of one axis, in the axis' unit.

    Parameters
    ----------
    axis : device
        Has a ``velocity``.
    start : float
        Where the first frame is due.
    velocity : float
        With its sign, per second.
    before : float
        The axis' velocity before the plan, per second.
    ramp_s : float
        Time that the axis takes to reach its velocity, in seconds.
    lead_s : float
        Time from the beginning of the move to the first frame, in seconds: the longest ramp of all
        axes that move together.
    frames_s : float
        Time of all frames, in seconds.
    """

    axis: Any
    start: float
    velocity: float
    before: float
    ramp_s: float
    lead_s: float
    frames_s: float

    @property
    def first(self) -> float:
        """Where it begins, so that the speed is reached at the start."""
        return self.start - self.velocity * (self.lead_s - self.ramp_s / 2)

    @property
    def last(self) -> float:
        """Where it ends: a camera that starts late has its last frame at full speed, too."""
        return self.start + self.velocity * (self.frames_s + _MARGIN_S + self.ramp_s / 2)

    def restore(self) -> Cleanup:
        """Return what gives the axis its velocity back."""
        return lambda: bps.mv(self.axis.velocity, self.before)


def plan_sweeps(
    moves: Sequence[tuple[Any, float, float]], frames_s: float
) -> MsgGenerator[list[Sweep]]:
    """Return the sweeps of axes that move together.

    Parameters
    ----------
    moves : sequence of (device, float, float)
        Each axis, where the first frame is due, and the velocity with its sign.
    frames_s : float
        Time of all frames, in seconds.
    """
    ramps, before = [], []
    for axis, _, _ in moves:
        ramp_s = 0.0
        if hasattr(axis, "acceleration_time"):
            ramp_s = yield from read_number(axis.acceleration_time)
        ramps.append(ramp_s)
        before.append((yield from read_number(axis.velocity)))
    return [
        Sweep(axis, start, velocity, previous, ramp_s, max(ramps), frames_s)
        for (axis, start, velocity), previous, ramp_s in zip(moves, before, ramps, strict=True)
    ]


def check_sweep(sweep: Sweep, start: str, way: str, speed: str) -> MsgGenerator[None]:
    """Ask an axis whether it accepts a sweep.

    Parameters
    ----------
    sweep : Sweep
        The move.
    start, way, speed : str
        Parameters of the plan that decide on where it begins, how far it goes and how fast.

    Raises
    ------
    ParameterError
        If it does not.
    """
    yield from check_limits(sweep.axis, sweep.start, start)
    yield from check_limits(sweep.axis, sweep.first, f"{start}, less the way to gain speed")
    yield from check_limits(sweep.axis, sweep.last, f"{way}, with the way to lose speed")
    check_velocity(sweep.axis, abs(sweep.velocity), speed)


def sweep_and_take(
    camera: FrameCamera,
    beam: Any,
    radio: tuple[Any, float],
    sweeps: Sequence[Sweep],
    number: int,
    on_lost: OnLost,
) -> MsgGenerator[None]:
    """Take projections while axes move steadily, then bring the axes back to where they started.

    The stream ``motion`` says where the axes were when, and when the camera started.

    Parameters
    ----------
    camera, beam : device
        The devices.
    radio : (device, float)
        The sample stage and its radio position.
    sweeps : sequence of Sweep
        From `plan_sweeps`.
    number : int
        Of frames.
    on_lost : {"fail", "flag"}
        What lost frames do.
    """
    yield from move_together(radio, *((sweep.axis, sweep.first) for sweep in sweeps))
    for sweep in sweeps:
        yield from bps.mv(sweep.axis.velocity, abs(sweep.velocity))
    yield from beam_on(beam)
    moving = short_uid("moving")

    def move_steadily() -> MsgGenerator[None]:
        for sweep in sweeps:
            yield Msg("set", sweep.axis, sweep.last, group=moving)
        yield from bps.sleep(sweeps[0].lead_s)

    def note_motion() -> MsgGenerator[None]:
        yield Msg("create", None, name="motion")
        for sweep in sweeps:
            yield Msg("read", sweep.axis)
        yield Msg("read", camera.start_time)
        yield Msg("save")

    yield from take_frames(
        camera,
        number,
        "projections",
        on_lost=on_lost,
        starting=move_steadily,
        started=note_motion,
    )
    yield from beam_off(beam)
    yield Msg("wait", None, group=moving)
    for sweep in sweeps:
        yield from bps.mv(sweep.axis.velocity, sweep.before)
    yield from move_together(*((sweep.axis, sweep.start) for sweep in sweeps))
