"""Give each wait of a plan a deadline, by what is waited for."""

import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from bluesky import Msg
from bluesky.utils import FailedStatus, MsgGenerator

from concertino import OverdueError
from concertino.frames import FrameRequest
from concertino.guard import address_of, named_with_address
from concertino.plans.core._answering import answer_of
from concertino.plans.core._deadlines import CameraOverdueError, Deadlines, deadlines
from concertino.plans.core._device_facts import AxisFacts, CameraFacts, axis_facts, camera_facts
from concertino.plans.core._device_queries import number
from concertino.plans.core._offers import (
    CountsExposed,
    CountsSafe,
    HasFrameRate,
    HasVelocity,
    MovesAxis,
    Reads,
    TellsDone,
    TellsTimeout,
    name_of,
)
from concertino.plans.core._passed_on import passed_on
from concertino.plans.core._refusals import failed, note_what_was_asked, told

from ._glances import glance
from ._stopping import StopsInTime

_BEGINS = ("set", "trigger", "prepare", "kickoff", "complete", "stage", "unstage")
_LOOK_S = 1.0
#: How long one question is waited for at least, in s.
_LEAST_S = 0.1
#: An axis that makes less than this of its way in a time, at its speed, stands still.
_CREEP = 0.05


@dataclass
class _Pending:
    """Something that was begun and is waited for."""

    command: str
    device: Any
    value: Any
    request: Any  # What the device was prepared for.
    since_s: float
    progress_s: float  # When it came nearer to its end the last time.
    facts: Any = None
    reached: float | None = None
    looked_s: float = 0.0
    answered_s: float = 0.0  # When its control system answered the last time.
    confirmed: bool = False  # Its control system has answered after it had said that it was done.
    status: Any = None  # What the RunEngine answers; None when only somebody looks at the messages.

    @property
    def name(self) -> str:
        return name_of(self.device)

    @property
    def axis(self) -> Any:
        """What moves, if it is told to."""
        return self.device.axis if isinstance(self.device, MovesAxis) else self.device

    @property
    def addressed(self) -> str:
        """Its name, and where its control system has it."""
        return named_with_address(self.name, self.axis)

    @property
    def moves(self) -> bool:
        return self.command == "set" and not self.switches

    @property
    def tells(self) -> bool:
        """Whether a control system can be asked for it."""
        return isinstance(self.axis, Reads) and bool(address_of(self.axis))

    @property
    def not_done(self) -> bool:
        """Whether its status says that it is not done."""
        return isinstance(self.status, TellsDone) and not self.status.done

    @property
    def switches(self) -> bool:
        return self.command == "set" and isinstance(self.value, bool)

    def least_s(self, limits: Deadlines) -> float:
        """Return how long it is waited for before anybody is asked about it."""
        if self.command == "set":
            if self.switches:
                return limits.on_s if self.value else limits.off_s
            # Then it is seen whether it moves.
            return min(limits.still_s / 3, limits.silent_s / 3, limits.other_s)
        if self.command == "trigger":
            return min(limits.frame_s, limits.other_s)
        # A quarter: what is safe must have been looked at before it can be said that nothing was added.
        return limits.safe_s / 4 if self.command in ("complete", "unstage") else limits.ready_s


def bounded(plan: MsgGenerator[Any], watched: "Watched | None" = None) -> MsgGenerator[Any]:
    """Pass a plan's messages on; a wait that does not end fails the plan, and says what did not come.

    Parameters
    ----------
    plan : generator of messages
        A plan; what it has stopped must have stopped within a deadline, too.
    watched : Watched, optional
        Learns what the plan has begun.

    Raises
    ------
    DeviceError
        If a device does not do within its deadline what it was told.
    """
    watched = watched or Watched()

    def do(message: Msg) -> MsgGenerator[Any]:
        try:
            if message.command == "wait":
                return (yield from watched.wait(message))
            if message.command == "stop":
                return (yield message._replace(obj=StopsInTime(message.obj)))
            pending = watched.note(message)
            response = yield message
            if pending is not None:
                pending.status = response
            return response
        except GeneratorExit:
            raise
        except BaseException as thrown:
            note_what_was_asked(thrown, message, _BEGINS)
            better = watched.named(thrown)
            if better is thrown:
                raise
            raise better from better.__cause__

    return (yield from passed_on(plan, do))


class Watched:
    """What a plan has begun, by the group with which it will wait for it."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, list[_Pending]] = {}
        self._waited_for: list[_Pending] = []
        self._requests: dict[int, Any] = {}

    def explaining(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """Pass a plan's messages on; an error that something is overdue says what else is not done."""
        try:
            return (yield from plan)
        except OverdueError as error:
            pending = [one for group in self._groups.values() for one in group]
            others = [
                f"{one.name}, which was told to {one.command}"
                for one in pending
                if one.not_done and one.name not in str(error)
            ]
            if others:
                error.add_note(f"Not done either: {'; '.join(dict.fromkeys(others))}.")
            raise

    def named(self, error: BaseException) -> BaseException:
        """Return an error that says which device failed at what, where bluesky's shows a status only."""
        if type(error) is not FailedStatus:
            return error
        status = error.args[0] if error.args else None
        begun = [*self._waited_for, *(one for group in self._groups.values() for one in group)]
        for one in begun:
            if one.status is status and status is not None:
                value = one.request if one.command == "complete" else one.value
                return failed(error, one.addressed, told(one.command, value))
        return failed(error, "", "did not do what it was told")

    def note(self, message: Msg) -> "_Pending | None":
        if message.command not in _BEGINS:
            return None
        value = message.args[0] if message.args else None
        if message.command == "prepare":
            self._requests[id(message.obj)] = value
        now_s = time.monotonic()
        request = self._requests.get(id(message.obj))
        pending = _Pending(message.command, message.obj, value, request, now_s, now_s)
        self._groups.setdefault(message.kwargs.get("group"), []).append(pending)
        return pending

    def wait(self, message: Msg) -> MsgGenerator[Any]:
        group = message.args[0] if message.args else message.kwargs.get("group")
        # Kept until the next wait: the RunEngine may tell of a failure a message later.
        self._waited_for = pending = self._groups.pop(group, [])
        if message.kwargs.get("timeout") is not None:
            done = yield message
            if done is False:
                self._groups[group] = pending
                yield from _check([*pending, *self._moving()])
            return done
        limits = deadlines()
        began_s = time.monotonic()
        slice_s = min((one.least_s(limits) for one in pending), default=limits.other_s)
        while True:
            timed = {**message.kwargs, "timeout": slice_s}
            try:
                return (yield message._replace(kwargs=timed))
            except TimeoutError:  # Of the RunEngine; a device's own stands behind a FailedStatus.
                yield from _check([*pending, *self._moving()])
            if not pending and time.monotonic() - began_s > limits.other_s:
                raise OverdueError(
                    f"What was begun before has not ended within {limits.other_s:g} s of waiting for it. "
                    "Check the devices that move."
                )
            slice_s = min(slice_s, _LOOK_S, limits.still_s / 4)

    def _moving(self) -> list[_Pending]:
        """Return what moves while something else is waited for, as a rotation while frames are taken."""
        begun = [one for group in self._groups.values() for one in group if one.moves]
        return [one for one in begun if one.not_done or not one.confirmed]


def _check(pending: list[_Pending]) -> MsgGenerator[None]:
    """Raise if something is overdue, as far as can be told."""
    limits, now_s = deadlines(), time.monotonic()
    for one in pending:
        if isinstance(one.status, TellsDone) and one.status.done:
            yield from _confirm(one, limits)
            continue
        least_s = one.least_s(limits)
        if now_s - one.since_s < least_s or now_s - one.looked_s < min(_LOOK_S, least_s / 4):
            continue
        one.looked_s = now_s
        status_of = _switch if one.switches else _JUDGES[one.command]
        yield from status_of(one, limits)


def _confirm(one: _Pending, limits: Deadlines) -> MsgGenerator[None]:
    """See whether the control system of a move that is done is there: to some clients a lost one has done all."""
    now_s = time.monotonic()
    if one.confirmed or not one.moves or now_s - one.looked_s < min(_LOOK_S, limits.silent_s / 4):
        return
    one.looked_s = now_s
    one.confirmed = not one.tells or (yield from _must_answer(one, limits)) is not None


def _switch(one: _Pending, limits: Deadlines) -> MsgGenerator[None]:
    if one.facts is None:
        one.facts = yield from glance(lambda: one.device.set_duration_s(one.value), 0.0)
    within_s = one.least_s(limits) + 2 * float(one.facts)
    if isinstance(one.device, TellsTimeout):
        within_s = max(within_s, one.device.timeout_s + _LOOK_S)
    if time.monotonic() - one.since_s < within_s:
        return
    if one.value:
        raise OverdueError(
            f"{one.addressed} was to switch on and has not said within {within_s:.3g} s that it is. It may still "
            "come on: THE BEAM MAY BE ON then if that is what it switches. Check it, or give it a method "
            "set_duration_s(value) if it takes so long."
        )
    raise OverdueError(
        f"{one.addressed} was to switch off and has not said within {within_s:.3g} s that it is: THE BEAM MAY "
        "BE ON if that is what it switches. Look, and switch it off by hand."
    )


def _move(one: _Pending, limits: Deadlines) -> MsgGenerator[None]:
    axis, is_number = one.axis, isinstance(one.value, int | float)
    answer = None
    if one.tells:
        answer = yield from _must_answer(one, limits)
        if answer is None:
            return  # It has some time left.
    if one.facts is None:
        one.facts = yield from glance(lambda: axis_facts(axis), AxisFacts("", None, None, 0.0))
    facts: AxisFacts = one.facts
    position = (yield from glance(lambda: number(axis), None)) if is_number else None
    if is_number and isinstance(answer, int | float):
        position = float(answer)
    speed = facts.speed
    if speed is not None and is_number and isinstance(axis, HasVelocity):
        speed = (yield from glance(lambda: number(axis.velocity), None)) or speed
    tells = bool(position is not None and speed)
    patience_s = limits.still_s if tells else limits.other_s
    now_s = time.monotonic()
    if position is not None:
        left = abs(one.value - position)
        needed = _CREEP * (speed or 0.0) * (now_s - one.progress_s)
        if one.reached is None or one.reached - left > needed:
            one.reached, one.progress_s = left, now_s
    if now_s - one.progress_s < patience_s:
        return
    unit = f" {facts.unit}" if facts.unit else ""
    where = "" if position is None else f"; it is at {position:.6g}{unit}"
    asked_for = f"{one.value:.6g}{unit}" if is_number else repr(one.value)
    raise OverdueError(
        f"{one.addressed} was to move to {asked_for} and has not said that it is there, nor come nearer for "
        f"{now_s - one.progress_s:.3g} s{where}. Check the motor, its limit switches and its controller."
    )


def _must_answer(one: _Pending, limits: Deadlines) -> MsgGenerator[Any]:
    """Return what the control system of something that moves answers, or None; raise if it is silent too long."""
    now_s = time.monotonic()
    one.answered_s = one.answered_s or now_s
    left_s = max(one.answered_s + limits.silent_s - now_s, _LEAST_S)
    answer = yield from glance(lambda: answer_of(one.axis), None, left_s)
    now_s = time.monotonic()
    if answer is not None:
        one.answered_s = now_s
    elif now_s - one.answered_s >= limits.silent_s:
        raise OverdueError(
            f"{one.addressed} was to move to {_short(one.value)} and does not answer for "
            f"{now_s - one.answered_s:.3g} s when it is asked where it is. Check that its IOC or device server runs, "
            "the network, and where the motor is: it may still move."
        )
    return answer


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, int | float) else repr(value)


def _trigger(one: _Pending, limits: Deadlines) -> MsgGenerator[None]:
    if not isinstance(one.device, HasFrameRate):
        return _late(one, limits.other_s, "was triggered and has not said that it is done")
    if isinstance(
        one.device, CountsExposed
    ):  # It watches over its frames itself, and may be held up.
        return (yield from _frames(one, limits))
    facts: CameraFacts = yield from _camera(one)
    within_s = limits.frame_s + 2 * (facts.exposure_s + facts.readout_s)
    return _late(one, within_s, "was triggered and has given no frame", _CAMERA)


def _frames(one: _Pending, limits: Deadlines) -> MsgGenerator[None]:
    """Judge what lasts until frames are safe by the number of those that are."""
    device = one.device
    request = one.request if isinstance(one.request, FrameRequest) else None
    count = 0 if request is None else int(request.count or 0)
    due_s = one.since_s
    if one.command == "complete" and count:
        facts: CameraFacts = yield from _camera(one)
        due_s += 2 * count * facts.period_s
    safe = (yield from glance(device.get_index, 0)) if isinstance(device, CountsSafe) else 0
    reached = int(safe) + (int(device.num_exposed) if isinstance(device, CountsExposed) else 0)
    now_s = time.monotonic()
    if reached > (
        one.reached or 0
    ):  # At the first look nobody knows when they came: it may be now.
        one.reached, one.progress_s = reached, now_s
    silent_s = now_s - max(due_s, one.progress_s)
    if silent_s < limits.safe_s:
        return
    kind = "frames" if request is None else request.kind
    wanted = f" of {count}" if count else ""
    raise CameraOverdueError(
        f"{one.addressed} was told to {one.command} {kind} and has not done so: {safe}{wanted} frames are safe, "
        f"and none became so for {silent_s:.3g} s. {_CAMERA} Or the disk of those who store the frames."
    )


_CAMERA = "Check the camera: its triggers, cable, network, detector."


def _begin(one: _Pending, limits: Deadlines) -> MsgGenerator[None]:
    yield from ()
    _late(one, limits.ready_s, f"was told to {one.command} and has not done so", "Check it.")


def _end(one: _Pending, limits: Deadlines) -> MsgGenerator[None]:
    if isinstance(one.device, CountsSafe):
        return (yield from _frames(one, limits))
    return (yield from _begin(one, limits))


_JUDGES = {
    "set": _move,
    "trigger": _trigger,
    "complete": _frames,
    "unstage": _end,
    "stage": _begin,
    "prepare": _begin,
    "kickoff": _begin,
}


def _late(one: _Pending, within_s: float, what: str, advice: str = "Check it.") -> None:
    if time.monotonic() - one.since_s >= within_s:
        error = CameraOverdueError if isinstance(one.device, HasFrameRate) else OverdueError
        raise error(f"{one.addressed} {what} within {within_s:.3g} s. {advice}")


def _camera(one: _Pending) -> MsgGenerator[CameraFacts]:
    if one.facts is None:
        nothing = CameraFacts(0.0, 0.0, 0.0, (0, 0), 0, 0.0, 0, 0)
        one.facts = yield from glance(lambda: camera_facts(one.device), nothing)
    facts: CameraFacts = one.facts
    return facts
