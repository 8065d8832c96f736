"""When axes that were told to move are at speed, and the first of them is where its first frame is due."""

import asyncio
import math
import time
from collections.abc import Sequence

from bluesky.utils import maybe_await

from concertino import DeviceError
from concertino._clocks import ClockCalibration, EncoderTimes
from concertino.plans.core._readback import Readback, TimedPosition

from ._projection_angles import encoder_of
from ._sweep_move import SweepMove

_WINDOW_S = 0.02
_LOOK_S = 0.002
#: Places of which the times are less exact than this, in s, are compared over so many times what they leave open.
_EXACT_S = 2e-4
_SPANS = 50
_TOLERANCE = 0.01
_PATIENCE_S = 3.0
#: The last hundredth of the speed comes late in a smooth ramp: wait this part of the time so far.
SMOOTH = 0.1
#: What a sweep sets out earlier, in s, so that there is time to see that it is at speed.
SETTLE_S = 0.06
#: A read-back that shows the same so often while its axis moves is one that is polled.
_REPEATS = 3
#: Part of the way to gain speed after which an axis surely moves.
_MOVES = 0.02
#: Over this time at least it is seen whether an axis was at speed, in s.
_CONFIRMS_S = 0.15
#: A read-back comes so long after the axis was there, in s, at most.
_REST_S = 0.3
#: By how much its readings may differ in when it set out, in s beyond `SMOOTH` of its ramp.
_AGREE_S = 0.01


class SpeedWatch:
    """Watches axes gain speed.

    The positions that the axes tell decide, not what they say of their acceleration. Where a read-back comes too
    seldom for that, one of them tells when the axis set out; when the first frame is due follows from the run-up and
    the acceleration, and the next ones show whether the axis was at speed.

    Parameters
    ----------
    sweeps : sequence of SweepMove
        Moves that are about to begin.
    """

    def __init__(self, sweeps: Sequence[SweepMove]) -> None:
        self._axes = [_Axis(sweep) for sweep in sweeps]
        self._unseen: list[_Axis] = []

    async def reach(self, set_out_s: float) -> None:
        """Wait until all axes are at speed, and the first of them is where its first frame is due.

        Parameters
        ----------
        set_out_s : float
            When they were told to move, by the computer's clock, in s since the epoch.

        Raises
        ------
        DeviceError
            If an axis does not reach its speed, or so late that there is not enough way left.
        """
        for axis in self._axes:
            axis.set_out_s = set_out_s
        while unseen := [axis for axis in self._axes if not axis.settled]:
            due_s = self._axes[0].due_s
            if due_s - time.time() < _LOOK_S and all(axis.as_told for axis in unseen):
                await asyncio.sleep(due_s - time.time())
                for axis in unseen:
                    axis.trust()
                self._unseen = unseen
                return
            for axis in unseen:
                await axis.look()
            await asyncio.sleep(_LOOK_S)
        ramps = [axis.measured_ramp_s for axis in self._axes]
        await asyncio.sleep(SMOOTH * max(ramps))
        for axis, ramp_s in zip(self._axes, ramps, strict=True):
            axis.check_way(ramp_s)
        if not self._axes[0].jumped and 0 < (left_s := self._axes[0].left_s) < _PATIENCE_S:
            await asyncio.sleep(left_s)

    async def confirm(self) -> None:
        """Check by the next read-backs that the axes were at speed, if it was not seen before.

        Raises
        ------
        DeviceError
            If one was not.
        """
        while self._unseen:
            self._unseen = [axis for axis in self._unseen if not axis.confirmed()]
            for axis in self._unseen:
                await axis.look()
            await asyncio.sleep(_LOOK_S)

    @property
    def anchor(self) -> TimedPosition | None:
        """Where the first axis was at speed, if its read-back comes too seldom to be asked again; or was at its end."""
        first = self._axes[0]
        return first.anchor if first.polled or first.jumped else None


class _Axis:
    """One axis that gains speed."""

    def __init__(self, sweep: SweepMove) -> None:
        self.sweep = sweep
        self.set_out_s = 0.0
        self.jumped = False  # It was at its end at the first look.
        self._track = Readback(sweep.axis)
        self._clock: ClockCalibration[EncoderTimes] | None = None
        self._places: list[TimedPosition] = []
        self._velocity = 0.0
        self._fastest = 0.0
        self._at_speed: TimedPosition | None = None
        self._trusted_s: float | None = None  # When it set out, as the start was computed from.

    @property
    def settled(self) -> bool:
        """Whether it was seen at speed, or jumped."""
        return self.jumped or self._at_speed is not None

    async def look(self) -> None:
        """Read where it is, and judge; raise if it does not reach its speed."""
        sweep = self.sweep
        known = len(self._places)
        self._places += await self._new_places()
        if len(self._places) > known and self._trusted_s is None:
            self._judge()
        here = self._places[-1].position if self._places else self._track.value
        at_end = here is not None and math.isclose(here, sweep.last, rel_tol=1e-9, abs_tol=1e-9)
        if at_end and not self.settled and self._trusted_s is None:
            self.jumped = len({place.position for place in self._places}) < 2
        patience_s = 3 * sweep.lead_s + _PATIENCE_S
        late = time.time() - self.set_out_s > patience_s
        if not self.settled and self._trusted_s is None and (late or at_end):
            raise DeviceError(
                f"{sweep.axis.name} was to move at {sweep.velocity:g} per s and reached "
                f"{self._fastest * sweep.velocity:.3g} per s within {time.time() - self.set_out_s:.1f} s; its "
                f"acceleration_time says {sweep.ramp_s:.3g} s. Check that it can go so fast with its load, or set a "
                "longer acceleration_time."
            )

    async def _new_places(self) -> list[TimedPosition]:
        encoder = encoder_of(self.sweep.axis)
        if encoder is None:
            return [self._track.changes[-1]] if await self._track.look() else []
        if self._clock is None:
            # Looked at once: a speed is a difference of the encoder's own times, which a busy computer delays none of.
            self._clock = ClockCalibration(EncoderTimes, encoder.clock)
            await self._clock.look()
        times, positions = await maybe_await(encoder.recorded(0))
        if not len(times):
            return []
        recent = times > times[-1] - 3 * _WINDOW_S
        when, _ = self._clock.to_host(EncoderTimes.of_seconds(times[recent]))
        last_s = self._places[-1].when_s if self._places else -math.inf
        return [
            TimedPosition(float(when_s), float(position), 0.0)
            for when_s, position in zip(when.seconds, positions[recent], strict=True)
            if when_s > last_s
        ]

    def _judge(self) -> None:
        """See whether the newest place and an earlier one are at the speed that is wanted."""
        sweep, newest = self.sweep, self._places[-1]
        # Over a window of the axis' readings; wider with time, should they be few or noisy.
        window_s = max(_WINDOW_S, 0.3 * (time.time() - self.set_out_s - sweep.lead_s))
        early = [
            place
            for place in self._places[:-1]
            if newest.when_s - place.when_s
            >= max(window_s, _SPANS * (newest.half_s + place.half_s))
        ]
        if not early:
            return
        velocity = _velocity(early[-1], newest)
        tolerance = _TOLERANCE + 1 / _SPANS if newest.half_s > _EXACT_S else _TOLERANCE
        if abs(velocity - sweep.velocity) <= tolerance * abs(sweep.velocity):
            self._at_speed, self._velocity = newest, velocity
        else:
            self._fastest = max(self._fastest, velocity / sweep.velocity)

    @property
    def polled(self) -> bool:
        """Whether its read-back repeats itself while it moves."""
        began_s = self._began_s
        if not began_s:
            return False
        moves_s = min(began_s) + max(_WINDOW_S, 0.3 * self.sweep.ramp_s)
        return sum(when_s > moves_s for when_s in self._track.repeats) >= _REPEATS

    @property
    def as_told(self) -> bool:
        """Whether the few places that are known are those of the acceleration that it tells."""
        began_s = self._began_s
        agree_s = SMOOTH * self.sweep.ramp_s + _AGREE_S
        agree_s += 2 * max((place.half_s for place in self._places), default=0.0)
        return self.polled and max(began_s) - min(began_s) <= agree_s

    @property
    def due_s(self) -> float:
        """When it is where its first frame is due, by the last place that it told."""
        began_s = self._began_s
        if self._trusted_s is not None:
            began_s = [self._trusted_s]
        return (began_s[-1] if began_s else self.set_out_s) + self.sweep.lead_s

    @property
    def _began_s(self) -> list[float]:
        """When it set out, by each place that it was seen at on its way."""
        sweep = self.sweep
        gain = abs(sweep.velocity) * sweep.ramp_s / 2
        found = []
        for place in self._places:
            way = (place.position - sweep.first) / math.copysign(1, sweep.velocity)
            if way < max(_MOVES * gain, 1e-3 * abs(sweep.velocity) * _WINDOW_S):
                continue
            took_s = way / abs(sweep.velocity) + sweep.ramp_s / 2
            if way < gain:
                took_s = math.sqrt(2 * way * sweep.ramp_s / abs(sweep.velocity))
            found.append(place.when_s - took_s)
        return found

    @property
    def measured_ramp_s(self) -> float:
        """How long it took to reach its speed: by twice the time that it is behind."""
        seen = self._at_speed
        if seen is None:
            return 0.0
        at_speed_s = abs(seen.position - self.sweep.first) / abs(self.sweep.velocity)
        return max(0.0, 2 * (seen.when_s - self.set_out_s - at_speed_s))

    @property
    def left_s(self) -> float:
        """How long until it is where its first frame is due, in s."""
        assert self._at_speed is not None
        here = self._at_speed.position + self._velocity * (time.time() - self._at_speed.when_s)
        return (self.sweep.start - here) / self._velocity

    def check_way(self, ramp_s: float) -> None:
        """Raise if an axis that needed long to gain speed would lose it before the last frame."""
        sweep, seen = self.sweep, self._at_speed
        if seen is None:
            return
        left = abs(sweep.last - seen.position) / abs(sweep.velocity)
        needed = max(0.0, (sweep.start - seen.position) / sweep.velocity)
        if left < needed + sweep.frames_s + ramp_s / 2:
            raise DeviceError(
                f"{sweep.axis.name} took {ramp_s:.2f} s to reach {abs(sweep.velocity):g} per s, where its "
                f"acceleration_time says {sweep.ramp_s:.2f} s: it would lose speed before the last frame. Set "
                f"acceleration_time to {ramp_s:.2f} s or more."
            )

    def trust(self) -> None:
        """Take what it told of its setting out for true, until the next read-backs."""
        self._trusted_s = self._began_s[-1]

    def confirmed(self) -> bool:
        """Whether two read-backs show that it was at speed, or there will be none; raise if it was not."""
        sweep, steady = self.sweep, self._steady
        if len(steady) < 2 or steady[-1].when_s - steady[0].when_s < _CONFIRMS_S:
            if time.time() > self.due_s + _PATIENCE_S:
                raise DeviceError(
                    f"{sweep.axis.name} was to move at {sweep.velocity:g} per s, and its read-back did not change twice "
                    f"within {_PATIENCE_S:g} s from the first frame. Check that it moves, and is read often enough."
                )
            return time.time() > self._brakes_s + _REST_S
        first, last = steady[0], steady[-1]
        spread = (first.half_s + last.half_s + _AGREE_S) / (last.when_s - first.when_s)
        velocity = _velocity(first, last)
        if abs(velocity / sweep.velocity - 1) > 2 * _TOLERANCE + spread:
            raise DeviceError(
                f"{sweep.axis.name} was to move at {sweep.velocity:g} per s when the frames began, "
                f"{sweep.lead_s:.2f} s after it set out, and moved at {velocity:.4g} per s; its acceleration_time "
                f"says {sweep.ramp_s:.3g} s. Set it as long as it takes, or check that it can go so fast."
            )
        return True

    @property
    def anchor(self) -> TimedPosition:
        """Where it was at speed, as exactly as it is known; where it is, if it jumped."""
        if self.jumped:
            return self._track.here()
        computed = TimedPosition(self.due_s, self.sweep.start, _AGREE_S)
        return min(self._steady, key=lambda place: place.half_s, default=computed)

    @property
    def _steady(self) -> list[TimedPosition]:
        """The places that it was seen at while it moved at speed."""
        if self._at_speed is not None:
            ready_s = self._at_speed.when_s
        else:
            ready_s = self.due_s - self.sweep.lead_s + self.sweep.ramp_s * (1 + SMOOTH / 2)
        return [place for place in self._places if ready_s <= place.when_s <= self._brakes_s]

    @property
    def _brakes_s(self) -> float:
        way = abs(self.sweep.last - self.sweep.start) / abs(self.sweep.velocity)
        return self.due_s + way - self.sweep.ramp_s / 2


def _velocity(one: TimedPosition, other: TimedPosition) -> float:
    return (other.position - one.position) / (other.when_s - one.when_s)
