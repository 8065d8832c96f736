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
from concertino.plans.core._arrival import Arrival
from concertino.plans.core._awaited import names_of
from concertino.plans.core._cameras import camera_set
from concertino.plans.core._deadlines import deadlines
from concertino.plans.core._device_queries import query, run_in_loop
from concertino.plans.core._motor_facts import backlash, ramp_s
from concertino.plans.core._parameters import check_limits, check_velocity, read_number
from concertino.plans.run._pause_request import PauseRequest
from concertino.plans.run._segments import AcquisitionSegment
from concertino.plans.safety._safety import Cleanup, motor_off
from concertino.plans.safety._steady_move import InterruptibleMove

from ._asked_angles import STREAM, AnglesCompared, AskedAngles
from ._frames import move_together
from ._projection_angles import SweepAngles, tells_exposures
from ._scan_setup import ScanSetup
from ._speed import SETTLE_S, SMOOTH, SpeedWatch
from ._sweep_move import SweepMove
from ._taking import Taking
from ._triggers import CAMERA_PACE, PulseAngles, SweepTrigger
from ._velocity import set_velocity


def plan_sweeps(
    moves: Sequence[tuple[Any, float, float]], frames_s: float
) -> MsgGenerator[list[SweepMove]]:
    """Return the sweeps of axes that move together.

    Parameters
    ----------
    moves : sequence of (device, float, float)
        Each axis, where the first frame is due, and the velocity with its sign.
    frames_s : float
        Time of all frames, in seconds.
    """
    ramps, before, plays_s, beyond = [], [], [], []
    for axis, _, velocity in moves:
        ramps.append(
            (
                yield from query(
                    partial(ramp_s, axis, velocity), f"{axis.name} was asked for its acceleration"
                )
            )
        )
        before.append((yield from read_number(axis.velocity)))
        play = yield from query(partial(backlash, axis), f"{axis.name} was asked for its backlash")
        # It must have been taken up by the first frame, however short the way to gain speed is.
        plays_s.append(ramps[-1] / 2 + abs(play / velocity))
        beyond.append(abs(play) if play * velocity < 0 else 0.0)
    lead_s = max(max(ramps) * (1 + SMOOTH), *plays_s) + SETTLE_S
    return [
        SweepMove(axis, start, velocity, previous, ramp, lead_s, frames_s, more)
        for (axis, start, velocity), previous, ramp, more in zip(
            moves, before, ramps, beyond, strict=True
        )
    ]


def check_sweep(sweep: SweepMove, start: str, way: str, speed: str) -> MsgGenerator[None]:
    """Ask an axis whether it accepts a sweep.

    Parameters
    ----------
    sweep : SweepMove
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
    yield from check_limits(sweep.axis, sweep.farthest, f"{way}, with the way to lose speed")
    yield from check_velocity(sweep.axis, abs(sweep.velocity), speed)


@dataclass(frozen=True)
class SteadyScan:
    """Projections that are taken while axes move steadily.

    Parameters
    ----------
    sweeps : sequence of SweepMove
        From `plan_sweeps`, for all projections.
    number : int
        Of all.
    angles : SweepAngles, optional
        Collects the angles of the projections; the camera tells its exposures then.
    trigger : SweepTrigger
        Who starts the exposures. When positions do, the axes set out when the camera is ready.
    unwind : bool
        Bring the axes back while the frames are read out, if that is done later.
    """

    sweeps: Sequence[SweepMove]
    number: int
    angles: SweepAngles | None = None
    trigger: SweepTrigger = CAMERA_PACE
    unwind: bool = True

    def part(self, piece: AcquisitionSegment) -> "SteadyScan":
        """Return the same for some of the projections; the axes gain speed before the first."""
        sweeps = [sweep.part(piece.first, piece.count, self.number) for sweep in self.sweeps]
        trigger, angles = self.trigger.part(piece.first, piece.count), self.angles
        if trigger.by_position:
            start, frames_s = trigger.way(sweeps[0].velocity)
            sweeps[0] = replace(sweeps[0], start=start, frames_s=frames_s)
        if angles is not None:
            comparison = angles.comparison  # one device a stream
            angles = angles.of_piece(piece.first, trigger)
            angles.comparison = comparison
            if not trigger.by_position and trigger.request == "internal":
                step = sweeps[0].velocity * sweeps[0].frames_s / piece.count
                angles.expect(step, piece.count, sweeps[0].last)
        return replace(self, sweeps=sweeps, number=piece.count, angles=angles, trigger=trigger)

    @property
    def axes(self) -> str:
        """Names of the axes, for messages."""
        return names_of(sweep.axis for sweep in self.sweeps)

    def restored(self) -> list[Cleanup]:
        """Return what brings back the axes' velocities, and ends pulses and the encoder's recording."""

        def end() -> MsgGenerator[None]:
            if self.angles is not None and self.angles.encoder is not None:
                yield from run_in_loop(self.angles.end, f"{self.angles.name} was told to end")

        return [*self.trigger.restore(), *(sweep.restore() for sweep in self.sweeps), end]


class _Motion:
    """The move of all axes of a steady scan, begun once."""

    def __init__(self, scan: SteadyScan, may_stop: bool) -> None:
        self._scan, self._may_stop = scan, may_stop
        self.speed = SpeedWatch(scan.sweeps)
        self._moves = [InterruptibleMove(sweep.axis) for sweep in scan.sweeps]
        self._group = short_uid("moving")
        self._stopped = False

    def begin(self) -> MsgGenerator[None]:
        """Set out; wait until all are at speed, unless it is their positions that start the exposures."""
        scan, set_out_s = self._scan, time.time()
        for sweep, move in zip(scan.sweeps, self._moves, strict=True):
            axis = move if self._may_stop else sweep.axis
            yield Msg("set", axis, sweep.last, group=self._group)
        if not scan.trigger.by_position:
            yield from run_in_loop(
                partial(self.speed.reach, set_out_s),
                f"{scan.axes} were waited for, which were to reach their speed",
                scan.sweeps[0].lead_s,
            )

    def stop(self) -> MsgGenerator[None]:
        """Stop where they are, and the pulses that follow them."""
        self._stopped = True
        for move in self._moves:
            move.accept_early_stop()
            yield from motor_off(move.axis)
        for end in self._scan.trigger.restore():
            yield from end()

    def end(self, back: bool) -> MsgGenerator[None]:
        """Wait until all are at rest, with the velocities that they had; bring them back, if that is wanted."""
        yield Msg("wait", None, group=self._group)
        if (
            not self._stopped
        ):  # One that came to rest before its end has frames at other places than is said.
            sweeps = self._scan.sweeps
            arrival = Arrival(
                [(sweep.axis, sweep.last) for sweep in sweeps], [sweep.first for sweep in sweeps]
            )
            yield from run_in_loop(
                arrival.check, f"{self._scan.axes} were asked where they stopped"
            )
        for sweep in self._scan.sweeps:
            yield from set_velocity(sweep.axis, sweep.before)
        if back:
            yield from move_together(*((sweep.axis, sweep.start) for sweep in self._scan.sweeps))


def sweep_and_take(
    whole: SteadyScan, setup: ScanSetup, piece: AcquisitionSegment, hold: PauseRequest | None
) -> MsgGenerator[bool]:
    """Take projections while axes move steadily, and leave the axes where they stop.

    The camera starts when all axes are at speed and the first is where its first frame is due. The
    stream ``motion`` says where the axes were when the camera started; ``projection_angles`` where the
    rotation was in the middle of each exposure; ``angles_compared`` how that compares to what was asked.

    Parameters
    ----------
    whole : SteadyScan
        All projections.
    setup : ScanSetup
        The devices.
    piece : AcquisitionSegment
        Which of them are taken.
    hold : PauseRequest or None
        Ends the sweep early when it asks for a pause.

    Returns
    -------
    bool
        False if it was ended early.
    """
    cameras, scan = setup.cameras, whole.part(piece)
    sweeps, angles, trigger = scan.sweeps, scan.angles, scan.trigger
    yield from move_together(
        (setup.sample_stage, setup.radio), *((sweep.axis, sweep.first) for sweep in sweeps)
    )
    for sweep in sweeps:
        yield from set_velocity(sweep.axis, abs(sweep.velocity))
    motion = _Motion(scan, may_stop=hold is not None)
    if angles is not None:
        yield from bps.declare_stream(angles, name=PROJECTION_ANGLES, collect=True)
    places = [*(sweep.axis for sweep in sweeps), *(each.start_time for each in cameras.cameras)]
    # Now, not when the event comes: a callback that takes its time over it must not do so with beam.
    yield from bps.declare_stream(*places, name="motion")
    taking = Taking(
        cameras, piece.count, piece.stream, setup.on_lost, trigger.request, setup.beam, hold,
        within_s=None if trigger.request == "internal" else 2 * sweeps[0].frames_s + deadlines().frame_s,
        others={} if angles is None else {PROJECTION_ANGLES: angles},
        moving=True,
    )  # fmt: skip
    yield from taking.open()
    if angles is not None:
        yield from run_in_loop(angles.begin, f"{angles.name} was told to begin")
    yield from trigger.arm()
    yield from taking.light()
    if not trigger.by_position:
        yield from motion.begin()
    yield from taking.start()
    yield from trigger.start()
    if trigger.by_position:
        yield from motion.begin()
    yield from _note_start(scan, motion.speed, places)
    yield from taking.expose()
    later = cameras.readout == "later"
    if later:
        yield from _end(scan, motion, back=scan.unwind)
    while (yield from taking.flush()):
        if taking.held:
            yield from taking.end_early()
            yield from motion.stop()
    complete = yield from taking.finish()
    if not later:
        yield from _end(scan, motion, back=False)
    if complete and angles is not None and angles.asked is not None:
        yield from _compare(angles.comparison, angles.asked, setup)
    return complete


def _compare(
    comparison: AnglesCompared, asked: AskedAngles, setup: ScanSetup
) -> MsgGenerator[None]:
    """Say how the angles of the projections compare to those that were asked for; fail if it is another scan."""
    comparison.of = asked
    yield Msg("create", None, name=STREAM)
    yield Msg("read", comparison)
    yield Msg("save")
    first = setup.cameras.first
    slowest = str(getattr(first.ledger, "slowest", ""))
    asked.check(first.name, slowest, fail=setup.on_lost == "fail")


def _note_start(scan: SteadyScan, speed: SpeedWatch, places: Sequence[Any]) -> MsgGenerator[None]:
    """Say where all is, now that the cameras expose."""
    yield from run_in_loop(speed.confirm, f"{scan.axes} were asked for their speed")
    if scan.angles is not None:
        yield from run_in_loop(
            partial(scan.angles.started, speed.anchor),
            f"{scan.angles.name} was asked for the first angle",
        )
    yield Msg("create", None, name="motion")
    for device in places:
        yield Msg("read", device)
    yield Msg("save")


def _end(scan: SteadyScan, motion: _Motion, back: bool) -> MsgGenerator[None]:
    if scan.angles is not None:
        yield from run_in_loop(scan.angles.end, f"{scan.angles.name} was told to end")
    yield from motion.end(back)


def sweep_angles(
    camera: Any, sweep: SweepMove, per_degree: float, trigger: SweepTrigger = CAMERA_PACE
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
