"""Take frames while one or more axes move steadily."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import bluesky.plan_stubs as bps
from bluesky import Msg
from bluesky.utils import MsgGenerator, short_uid

from concertino.documents import PROJECTION_ANGLES

from ._awaited import names_of
from ._cameras import CameraSet, OnLost, camera_set
from ._deadlines import deadlines
from ._frames import move_together, take_frames
from ._hold import Hold
from ._motor_facts import ramp_s
from ._parameters import check_limits, check_velocity, read_number
from ._pieces import Piece
from ._projection_angles import SweepAngles, tells_exposures
from ._protocols import FrameCamera
from ._questions import asked, awaited
from ._safety import Cleanup, motor_off
from ._speed import SETTLE_S, SMOOTH, SpeedWatch
from ._steady_move import SteadyMove
from ._triggers import CAMERA_PACE, PulseAngles, SweepTrigger

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
        axes that move together, and what it takes to see that it is over.
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

    def part(self, first: int, count: int, number: int) -> "Sweep":
        """Return the move for some of the frames.

        Parameters
        ----------
        first, count : int
            Index of the first of them, and how many.
        number : int
            Frames of the whole move.
        """
        period_s = self.frames_s / number
        start = self.start + self.velocity * first * period_s
        return replace(self, start=start, frames_s=count * period_s)

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
    for axis, _, velocity in moves:
        ramps.append(
            (
                yield from asked(
                    partial(ramp_s, axis, velocity), f"{axis.name} was asked for its acceleration"
                )
            )
        )
        before.append((yield from read_number(axis.velocity)))
    lead_s = max(ramps) * (1 + SMOOTH) + SETTLE_S
    return [
        Sweep(axis, start, velocity, previous, ramp, lead_s, frames_s)
        for (axis, start, velocity), previous, ramp in zip(moves, before, ramps, strict=True)
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
    yield from check_velocity(sweep.axis, abs(sweep.velocity), speed)


def sweep_and_take(
    camera: FrameCamera | CameraSet,
    beam: Any,
    radio: tuple[Any, float],
    sweeps: Sequence[Sweep],
    piece: Piece,
    number: int,
    on_lost: OnLost,
    angles: SweepAngles | None = None,
    hold: Hold | None = None,
    trigger: SweepTrigger = CAMERA_PACE,
    unwind: bool = True,
) -> MsgGenerator[bool]:
    """Take projections while axes move steadily, and leave the axes where they stop.

    The camera starts when all axes are at speed and the first is where its first frame is due. The
    stream ``motion`` says where the axes were when the camera started; ``projection_angles`` where the
    rotation was in the middle of each exposure.

    Parameters
    ----------
    camera, beam : device
        The devices.
    radio : (device, float)
        The sample stage and its radio position.
    sweeps : sequence of Sweep
        From `plan_sweeps`, for all projections.
    piece : Piece
        Which of them are taken; the axes gain speed before the first.
    number : int
        Of all.
    on_lost : {"fail", "flag"}
        What lost frames do.
    angles : SweepAngles, optional
        Collects the angles of the projections; the camera tells its exposures then.
    hold : Hold, optional
        Ends the sweep early when it asks for a pause.
    trigger : SweepTrigger
        Who starts the exposures. When positions do, the axes set out when the camera is ready.
    unwind : bool
        Bring the axes back while the frames are read out, if that is done later.

    Returns
    -------
    bool
        False if it was ended early.
    """
    sweeps = [sweep.part(piece.first, piece.count, number) for sweep in sweeps]
    trigger = trigger.part(piece.first, piece.count)
    if trigger.by_position:
        start, frames_s = trigger.way(sweeps[0].velocity)
        sweeps[0] = replace(sweeps[0], start=start, frames_s=frames_s)
    yield from move_together(radio, *((sweep.axis, sweep.first) for sweep in sweeps))
    for sweep in sweeps:
        yield from bps.mv(sweep.axis.velocity, abs(sweep.velocity))
    speed = SpeedWatch(sweeps)
    moving, moves = short_uid("moving"), [SteadyMove(sweep.axis) for sweep in sweeps]
    if angles is not None:
        angles = angles.of_piece(piece.first, trigger)
        if not trigger.by_position and trigger.request == "internal":
            step = sweeps[0].velocity * sweeps[0].frames_s / piece.count
            angles.expect(step, piece.count, sweeps[0].last)
        yield from bps.declare_stream(angles, name=PROJECTION_ANGLES, collect=True)
    cameras = camera_set(camera)
    motion = [*(sweep.axis for sweep in sweeps), *(each.start_time for each in cameras.cameras)]
    # Now, not when the event comes: a callback that takes its time over it must not do so with beam.
    yield from bps.declare_stream(*motion, name="motion")

    def move_steadily() -> MsgGenerator[None]:
        set_out_s = time.time()
        for sweep, move in zip(sweeps, moves, strict=True):
            yield Msg("set", sweep.axis if hold is None else move, sweep.last, group=moving)
        if not trigger.by_position:
            yield from awaited(
                partial(speed.reach, set_out_s),
                f"{names_of(sweep.axis for sweep in sweeps)} were waited for, which were to reach their speed",
                sweeps[0].lead_s,
            )

    def arm() -> MsgGenerator[None]:
        if angles is not None:
            yield from awaited(angles.begin, f"{angles.name} was told to begin")
        yield from trigger.arm()

    def get_ready() -> MsgGenerator[None]:
        if not trigger.by_position:
            yield from move_steadily()

    def note_motion() -> MsgGenerator[None]:
        yield from trigger.start()
        if trigger.by_position:
            yield from move_steadily()
        yield from awaited(
            speed.confirm, f"{names_of(sweep.axis for sweep in sweeps)} were asked for their speed"
        )
        if angles is not None:
            yield from awaited(
                partial(angles.started, speed.anchor),
                f"{angles.name} was asked for the first angle",
            )
        yield Msg("create", None, name="motion")
        for device in motion:
            yield Msg("read", device)
        yield Msg("save")

    def collect_angles() -> MsgGenerator[None]:
        if angles is not None:
            yield Msg("collect", angles, name=PROJECTION_ANGLES, return_payload=False)

    def end_sweep() -> MsgGenerator[None]:
        for move in moves:
            move.pardon()
            yield from motor_off(move.axis)
        for end in trigger.restore():
            yield from end()

    def settle() -> MsgGenerator[None]:
        if angles is not None:
            yield from awaited(angles.end, f"{angles.name} was told to end")
        yield Msg("wait", None, group=moving)
        for sweep in sweeps:
            yield from bps.mv(sweep.axis.velocity, sweep.before)
        if unwind and cameras.readout == "later":
            yield from move_together(*((sweep.axis, sweep.start) for sweep in sweeps))

    limits = deadlines()
    whole = yield from take_frames(
        camera,
        piece.count,
        piece.stream,
        on_lost=on_lost,
        trigger=trigger.request,
        within_s=None if trigger.request == "internal" else 2 * sweeps[0].frames_s + limits.frame_s,
        beam=beam,
        arming=arm,
        starting=get_ready,
        started=note_motion,
        collected=collect_angles,
        hold=hold,
        interrupted=end_sweep,
        exposed=settle,
    )
    if whole and angles is not None and angles.asked is not None:
        slowest = str(getattr(cameras.first.account, "slowest", ""))
        angles.asked.check(cameras.first.name, slowest, fail=on_lost == "fail")
    return whole


def sweep_angles(
    camera: Any, sweep: Sweep, per_degree: float, trigger: SweepTrigger = CAMERA_PACE
) -> SweepAngles | None:
    """Return what collects the angles of a rotation's sweep; None if the camera tells no exposures.

    Those of several cameras are told by the first.
    """
    first = camera_set(camera).first
    if not tells_exposures(first):
        return None
    if trigger.by_position:
        return PulseAngles(trigger, first, sweep.axis, sweep.velocity, per_degree)
    return SweepAngles(first, sweep.axis, sweep.velocity, per_degree)


def restored(
    sweeps: Sequence[Sweep], angles: SweepAngles | None, trigger: SweepTrigger = CAMERA_PACE
) -> list[Cleanup]:
    """Return what brings back the axes' velocities, and ends pulses and the encoder's recording."""

    def end() -> MsgGenerator[None]:
        if angles is not None and angles.encoder is not None:
            yield from awaited(angles.end, f"{angles.name} was told to end")

    return [*trigger.restore(), *(sweep.restore() for sweep in sweeps), end]
