"""Go through a plan's messages without doing them, and keep the time that they would take."""

import time
from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any

from bluesky import Msg
from bluesky.protocols import Checkable
from bluesky.utils import MsgGenerator

from concertino import ConcertinoError
from concertino.frames import FrameRequest, PulseTrain
from concertino.plans.core._device_facts import (
    AxisFacts,
    CameraFacts,
    axis_facts,
    camera_facts,
    move_s,
    settings_of,
)
from concertino.plans.core._device_queries import (
    AboutTheRun,
    AsSet,
    DeviceQuery,
    IsRehearsal,
    LoopTask,
    PresentNumber,
    UntilExposed,
    query,
)
from concertino.plans.core._offers import (
    CountsExposures,
    Gets,
    GetsValue,
    SetOtherwise,
    TellsAsSet,
    TellsDuration,
    TellsTrigger,
    name_of,
)
from concertino.plans.safety._safety import BeamGuard
from concertino.units import convert

from ._overheads import Overheads, Spans
from ._rehearsed_frames import AsItWouldBe, Motion, Taken

#: A plan that takes longer than this to go through is taken for endless, in seconds.
MOST_S = 20.0


class Rehearsal:
    """Devices as they would be, and a clock.

    Parameters
    ----------
    overheads : Overheads
        What to add for the RunEngine.
    most_messages : int
        A plan of more messages is taken for endless.
    """

    def __init__(self, overheads: Overheads, most_messages: int = 2_000_000) -> None:
        self.now_s = 0.0
        self.messages = 0
        self.parts: dict[str, float] = {}
        self.taken: list[Taken] = []
        self.starts: list[Mapping[str, Any]] = []
        self.untimed: dict[str, None] = {}
        self.stopped_by = ""
        self.max_blur_px: float | None = None
        self.spans = Spans(lambda: self.now_s)
        self._overheads = overheads
        self._most_messages = most_messages
        self._last = "nothing"
        self._open_runs = 0
        self._devices: dict[int, AsItWouldBe] = {}
        self._groups: dict[Hashable, list[tuple[float, str]]] = {}

    def go_through(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """Rehearse a plan; only questions to devices are passed on.

        Returns
        -------
        Any
            What the plan returned, or None when it wants to know what only a run can tell; `stopped_by`
            says what then.

        Raises
        ------
        ConcertinoError
            What the plan refuses.
        """
        response: Any = None
        try:
            until_s = time.monotonic() + MOST_S
            while self.messages < self._most_messages and time.monotonic() < until_s:
                try:
                    message = plan.send(response)
                except StopIteration as stop:
                    return stop.value
                except ConcertinoError:
                    raise
                except Exception as error:
                    self.end_here(f"{type(error).__name__}: {error}")
                    return None
                self.messages += 1
                self.spans.note(message)
                if message.command not in ("wait", "wait_for"):
                    self._last = f"{message.command} {name_of(message.obj, '')}".strip()
                response = yield from self._answer(message)
            self.end_here("there is no end to be seen")
        finally:
            plan.close()
        return None

    def end_here(self, why: str) -> None:
        """Let no more time pass, and remember why; the first reason holds."""
        self.stopped_by = self.stopped_by or (f"message {self.messages}, after {self._last}: {why}")

    def limit_blur(self, max_blur_px: float | None) -> None:
        """Refuse more motion blur than this, in px; the least of several limits holds."""
        if max_blur_px is not None:
            limit = convert(max_blur_px, "px", parameter="max_blur_px", positive=True)
            self.max_blur_px = min(limit, self.max_blur_px or limit)

    def _answer(self, message: Msg) -> MsgGenerator[Any]:
        doing = getattr(self, f"_do_{message.command}", None)
        if doing is not None:
            return (yield from doing(message))
        return None

    def _pass(self, until_s: float, part: str) -> None:
        spent = max(0.0, until_s - self.now_s)
        if spent and not self.stopped_by:
            self.parts[part] = self.parts.get(part, 0.0) + spent
            self.now_s = until_s

    def _add(self, seconds: float, part: str = "overhead") -> None:
        self._pass(self.now_s + seconds, part)

    def _promise(self, message: Msg, seconds: float, part: str) -> None:
        group = message.kwargs.get("group")
        self._groups.setdefault(group, []).append((self.now_s + seconds, part))

    def _by_now(self, device: Any) -> AsItWouldBe:
        return self._devices.setdefault(id(device), AsItWouldBe(device))

    def _known(self, device: Any, facts: Any) -> MsgGenerator[Any]:
        known = self._by_now(device)
        if known.facts is None:
            known.facts = yield from query(
                lambda: facts(device), f"{device.name} was asked for its settings"
            )
        return known.facts

    def _set_until_now(self, camera: Any) -> dict[str, Any]:
        """Return the settings of a camera that the plan has set, by their names."""
        found = {}
        for name, signal in settings_of(camera).items():
            value = self._by_now(signal).value if id(signal) in self._devices else None
            if value is not None:
                found[name] = value
        return found

    def _facts_of(self, camera: Any) -> MsgGenerator[CameraFacts]:
        known, settings = self._by_now(camera), self._set_until_now(camera)
        if known.facts_by != settings:
            known.facts, known.facts_by = None, settings
        facts: CameraFacts = yield from self._known(
            camera, partial(camera_facts, settings=settings)
        )
        return facts

    def _do_open_run(self, message: Msg) -> MsgGenerator[str]:
        self.starts.append(message.kwargs)
        self._open_runs += 1
        self._add(self._overheads.rest_s)
        yield from ()
        return f"rehearsal-{len(self.starts)}"

    def _do_close_run(self, _: Msg) -> MsgGenerator[None]:
        self._open_runs -= 1
        yield from ()

    def _do_wait_for(self, message: Msg) -> MsgGenerator[list[Any]]:
        (wanted, *_) = message.args
        if isinstance(wanted[0], IsRehearsal):
            return [_Answer(self)]
        if isinstance(wanted[0], AboutTheRun):
            return [_Answer(None)]  # What devices still hold is of an earlier one.
        if isinstance(wanted[0], PresentNumber):
            value = self._by_now(wanted[0].device).value
            if value is not None:
                return [_Answer(value)]
        if isinstance(wanted[0], AsSet):
            camera = wanted[0].camera
            if settings := self._set_until_now(camera):
                message = message._replace(args=([wanted[0].by(settings)],))
                self._by_now(camera).asked_by = settings
                wanted = message.args[0]
        if all(isinstance(question, DeviceQuery) for question in wanted):
            tasks: list[Any] = yield message
            return tasks
        if isinstance(wanted[0], UntilExposed):
            for camera in wanted[0].cameras:
                if stream := self._by_now(camera).stream:
                    self._pass(stream.end_s, f"frames of {stream.name}")
            return []
        if isinstance(wanted[0], LoopTask):
            self._add(wanted[0].takes_s, "run-up and waits")
            return []
        # What waits for the world has no length here; who wants an answer of it ends the rehearsal.
        return [_Unanswered(self) for _ in wanted]

    def _do_read(self, message: Msg) -> MsgGenerator[Mapping[str, Any]]:
        device, known = message.obj, self._by_now(message.obj)
        if known.reading is None:
            known.reading = (yield from query(device.read, f"{device.name} was read")) or {}
        reading = known.reading
        if known.value is not None and reading:
            name = device.name if device.name in reading else next(iter(reading))
            reading = {**reading, name: {**reading[name], "value": known.value}}
        return reading

    def _do_locate(self, message: Msg) -> MsgGenerator[Any]:
        devices = [message.obj, *message.args]
        found = []
        for device in devices:
            location = yield from query(device.locate, f"{device.name} was asked where it is")
            value = self._by_now(device).value
            if value is not None:
                location = {"setpoint": value, "readback": value}
            found.append(location)
        return found[0] if len(found) == 1 and message.kwargs.get("squeeze", True) else found

    def _do_set(self, message: Msg) -> MsgGenerator[None]:
        device, value = message.obj, message.args[0]
        known = self._by_now(device)
        what = f"{name_of(device)} was asked whether it can be that"
        if isinstance(device, TellsAsSet):
            known.value = yield from query(partial(device.as_set, value), what)
            self._promise(message, 0.0, "settings")
            return
        if isinstance(device, Checkable) and isinstance(device, GetsValue):
            yield from query(partial(device.check_value, value), what)
        if isinstance(device, BeamGuard):  # So runs say what their beam is.
            known.is_beam = self._by_now(device.beam).is_beam = True
        if known.train is not None:
            known.pulsing = bool(value) and bool(known.train.positions or known.train.period_s)
        part = "beam" if known.is_beam else "moves"
        if isinstance(device, TellsDuration):
            seconds = yield from query(
                lambda: device.set_duration_s(value), f"{device.name} was asked how long it takes"
            )
            self._promise(message, float(seconds), part)
            return
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._promise(message, 0.0, part)
            return
        facts: AxisFacts = yield from self._known(device, axis_facts)
        if facts.speed is None:
            if not isinstance(device, GetsValue | Gets):
                self.untimed[device.name] = None
            self._promise(message, 0.0, "settings")
        else:
            self._move(message, facts)
        known.value = float(value)

    def _move(self, message: Msg, facts: AxisFacts) -> None:
        device, known = message.obj, self._by_now(message.obj)
        told = self._by_now(device.velocity).value
        speed: Any = facts.speed if told is None else told
        origin = facts.position if known.value is None else known.value
        distance = 0.0 if origin is None else message.args[0] - origin
        seconds = move_s(distance, speed, facts.ramp_s)
        known.motion = Motion(device, facts, abs(speed), self.now_s, self.now_s + seconds)
        after = bool(self.starts) and not self._open_runs
        self._promise(message, seconds, "moves after a run" if after else "moves")
        if any(each.pulsing for each in self._devices.values()):
            # Pulses at positions start the exposures of cameras that were ready before.
            for stream in [each.stream for each in self._devices.values() if each.stream]:
                if stream.under_way and self.now_s < stream.end_s:
                    self._note_blur(stream)

    def _do_wait(self, message: Msg) -> MsgGenerator[bool]:
        group = message.kwargs.get("group", message.args[0] if message.args else None)
        promised = self._groups.pop(group, [])
        for until_s, part in sorted(promised):
            self._pass(until_s, part)
        yield from ()
        return True

    def _do_sleep(self, message: Msg) -> MsgGenerator[None]:
        self._add(float(message.args[0]), "run-up and waits")
        yield from ()

    def _do_prepare(self, message: Msg) -> MsgGenerator[None]:
        camera, request = message.obj, message.args[0]
        if isinstance(request, PulseTrain):  # What gives the pulses takes no frames.
            box = self._by_now(camera)
            box.train, box.pulsing = request, False
            self._promise(message, 0.0, "overhead")
            return
        facts: CameraFacts = yield from self._facts_of(camera)
        if isinstance(request, FrameRequest):
            settings, known = self._set_until_now(camera), self._by_now(camera)
            if settings != known.asked_by and isinstance(camera, SetOtherwise):
                # Set since it was asked last, if it was asked at all.
                what = f"{name_of(camera)} was asked whether it can take {request.kind}"
                yield from query(partial(camera.check_request_if, request, settings), what)
                known.asked_by = settings
            name, trigger, count = request.stream_name, str(request.trigger), request.count
        else:
            name = "frames"
            trigger = str(request.trigger) if isinstance(request, TellsTrigger) else "internal"
            count = request.number_of_exposures if isinstance(request, CountsExposures) else 0
        later = isinstance(request, FrameRequest) and request.readout == "later"
        stream = Taken(name, camera.name, facts, trigger, int(count or 0), self.now_s, later=later)
        self._by_now(camera).stream = stream
        self._promise(message, self._overheads.stream_s, "overhead")

    def _do_kickoff(self, message: Msg) -> MsgGenerator[None]:
        stream = self._by_now(message.obj).stream
        if stream is None:
            self.untimed[message.obj.name] = None
        else:
            self._expose(stream, stream.count)
            stream.under_way = True
            stream.end_s = stream.begin_s + stream.count * stream.facts.period_s
        self._promise(message, 0.0, "overhead")
        yield from ()

    def _do_trigger(self, message: Msg) -> MsgGenerator[None]:
        stream = self._by_now(message.obj).stream
        if stream is None:
            self._promise(message, 0.0, "overhead")
        else:
            self._add(self._overheads.point_s)
            if stream.under_way:  # Counted when it was started: it waits for pulses.
                self._note_blur(stream)
            else:
                self._expose(stream, 1)
            took_s = stream.facts.exposure_s + stream.facts.readout_s
            stream.end_s = self.now_s + took_s
            self._promise(message, took_s, f"frames of {stream.name}")
        yield from ()

    def _expose(self, stream: Taken, count: int) -> None:
        if not stream.exposed:
            self.taken.append(stream)
            stream.begin_s = self.now_s
        stream.exposed += count
        self._note_blur(stream)

    def _note_blur(self, stream: Taken) -> None:
        if self.stopped_by:  # The clock stands: whether something moves then, nobody can tell.
            return
        tomo = self.starts[-1].get("tomo", {}) if self.starts else {}
        motions = [each.motion for each in self._devices.values() if each.motion]
        stream.note_blur(motions, self.now_s, tomo)

    def _do_complete(self, message: Msg) -> MsgGenerator[None]:
        stream = self._by_now(message.obj).stream
        yield from ()
        if stream is None:
            self._promise(message, 0.0, "overhead")
            return
        stream.under_way = False
        read_out_s = stream.end_s
        if stream.later and stream.facts.memory_rate_hz:
            read_out_s += stream.count / stream.facts.memory_rate_hz
        left_s = max(0.0, read_out_s - self.now_s)
        self._promise(message, left_s, f"frames of {stream.name}")


class _Answer:
    """A task that is done."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def result(self) -> Any:
        return self._value


class _Unanswered:
    """What a wait for the world gives in a rehearsal."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self._rehearsal = rehearsal

    def result(self) -> Any:
        self._rehearsal.end_here("the plan waits for what only a run can tell")
        raise LookupError("only a run can tell")
