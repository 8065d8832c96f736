"""Fail a plan at each of its messages in turn, and see that it always ends safely."""

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from bluesky import Msg, RunEngine
from bluesky.utils import MsgGenerator, RunEngineInterrupted

from concertino.frames import FrameRequest
from concertino.plans import passed_on

from ._endless import never_done

FaultKind = Literal["raise before", "raise after", "abort", "stop", "halt", "pause"]

_REASON = "the fault harness asked for it"
_STATUS = {"abort": "abort", "stop": "success", "halt": "abort", "pause": "abort"}
_PATIENCE_S = 10.0
_POOLS = ("asyncio_", "ThreadPoolExecutor", "recorder")


class InjectedFaultError(Exception):
    """What `run_with_fault` makes a message fail with."""


@dataclass(frozen=True)
class PlanFault:
    """One disturbance of a plan.

    Parameters
    ----------
    position : int
        Index of the message in a run without faults, from 0.
    kind : str
        ``raise before``: the message fails and is not executed. ``raise after``: it fails when it
        has been executed. ``abort``, ``stop``, ``halt``, ``pause``: the user does that when it has been.
        ``never ends``: its device does nothing and never says that it is done; see `run_with_endless_wait`.
    what : str
        Command and device of the message, such as ``set rotation``, and
    nth : int
        which of these, from 0. They find it where how often a plan looks and waits differs from run to run;
        without, it is the index that counts.
    """

    KINDS: ClassVar[tuple[FaultKind, ...]] = get_args(FaultKind)

    position: int
    kind: FaultKind | Literal["never ends"]
    what: str = ""
    nth: int = 0

    def strikes(self, message: Msg, before: Sequence[Msg]) -> bool:
        """Whether it strikes at a message, by those before it."""
        if not self.what:
            return len(before) == self.position
        if describe_message(message) != self.what:
            return False
        return sum(describe_message(earlier) == self.what for earlier in before) == self.nth


def fault_at(messages: Sequence[Msg], position: int, kind: FaultKind) -> PlanFault:
    """Return a fault of one message, which finds it again by its command and device.

    Parameters
    ----------
    messages : sequence of Msg
        From `plan_messages`.
    position : int
        Index of the message among them; negative from the end.
    kind : str
        As of `PlanFault`.
    """
    said = [describe_message(message) for message in messages]
    position = range(len(said))[position]
    return PlanFault(position, kind, said[position], said[:position].count(said[position]))


@dataclass(frozen=True)
class PlanBench:
    """A plan, and how to tell the state of the devices that it uses.

    Parameters
    ----------
    RE : RunEngine
        Runs the plan; may be used for many.
    plan : callable
        Returns the plan, anew each time.
    beam_is_on : callable
        Tells whether there is beam, by the device's own state.
    moving : callable
        Returns the names of the axes that are not at rest.
    settings : callable
        Returns the settings that must be as before when the plan has ended.

    Examples
    --------
    >>> from bluesky import RunEngine
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import radiography
    >>> from concertino.testing import PlanBench
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> bench = PlanBench(
    ...     RunEngine(),
    ...     lambda: radiography(b.camera, b.beam, b.sample_stage, radio_position=0, flat_position=1),
    ...     beam_is_on=lambda: b.shutter.is_open,
    ... )
    """

    RE: RunEngine
    plan: Callable[[], MsgGenerator[Any]]
    beam_is_on: Callable[[], bool]
    moving: Callable[[], Collection[str]] = tuple
    settings: Callable[[], Mapping[str, Any]] = dict


@dataclass
class PlanOutcome:
    """What became of a plan that was disturbed.

    Parameters
    ----------
    fault : PlanFault or None
        The disturbance; None for none.
    messages : list of Msg
        What the plan yielded, its cleaning up included.
    documents : list of (name, document)
        What the RunEngine emitted.
    error : BaseException or None
        What the RunEngine raised.
    beam_on : bool
        Whether there was beam when the RunEngine returned.
    moving : tuple of str
        Axes that were not at rest then.
    changed : dict
        Settings that differ: value before and after.
    threads : tuple of str
        Threads that the plan left behind.
    injected : bool
        Whether the plan came to the message of the fault.
    took_s : float
        How long it took, in seconds, if that was measured.
    struck : Msg or None
        The message of the fault, if the plan came to it.
    """

    fault: PlanFault | None
    messages: list[Msg] = field(default_factory=list)
    documents: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    error: BaseException | None = None
    beam_on: bool = False
    moving: tuple[str, ...] = ()
    changed: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    threads: tuple[str, ...] = ()
    injected: bool = False
    took_s: float = 0.0
    struck: Msg | None = None
    stopped_before: bool = False

    @property
    def where(self) -> str:
        """The fault in words, for messages."""
        if self.fault is None:
            return "without a fault"
        return f"{self.fault.kind} at {self._place(self.fault)}"

    def _place(self, fault: PlanFault) -> str:
        if fault.what:
            place = f"the message {fault.what!r}, number {fault.nth + 1} of these"
            return place if self.injected else f"{place}, which did not come"
        if self.struck is None and fault.position >= len(self.messages):
            return f"message {fault.position}, which did not come"
        message = self.struck or self.messages[fault.position]
        return f"message {fault.position}, {describe_message(message)}"

    def find(self, name: str) -> list[Mapping[str, Any]]:
        """Return the documents of one kind."""
        return [document for kind, document in self.documents if kind == name]


def describe_message(message: Msg) -> str:
    """Return a message's command and device, such as ``set rotation``."""
    return " ".join(filter(None, [message.command, getattr(message.obj, "name", "")]))


def plan_messages(bench: PlanBench) -> list[Msg]:
    """Run the plan undisturbed and return its messages.

    Raises
    ------
    AssertionError
        If it fails or does not end safely.
    """
    outcome = run_with_fault(bench, None)
    check_safe_end(outcome)
    return outcome.messages


def fault_positions(messages: Sequence[Msg], *, every: bool = True) -> list[int]:
    """Return positions for faults.

    Parameters
    ----------
    messages : sequence of Msg
        From `plan_messages`.
    every : bool
        All of them; otherwise only the first message of each command and device in each stream.
    """
    if every:
        return list(range(len(messages)))
    stream, seen, chosen = "", set(), []
    for position, message in enumerate(messages):
        if message.command == "prepare":
            request = message.args[0] if message.args else None
            stream = request.kind if isinstance(request, FrameRequest) else stream
        key = (stream, describe_message(message), message.args if message.command == "set" else ())
        if repr(key) not in seen:
            seen.add(repr(key))
            chosen.append(position)
    return chosen


def run_with_fault(bench: PlanBench, fault: PlanFault | None) -> PlanOutcome:
    """Run the plan once, disturbed or not, and note how it ended.

    A plan that lets itself be paused is resumed.

    Parameters
    ----------
    bench : PlanBench
        The plan and its devices.
    fault : PlanFault or None
        The disturbance.
    """
    RE, outcome = bench.RE, PlanOutcome(fault)
    threads = set(threading.enumerate())
    settings = dict(bench.settings())
    token = RE.subscribe(_Collect(outcome.documents))
    try:
        RE(_disturbed(bench.plan(), RE, outcome))
    except RunEngineInterrupted as error:
        if RE.state == "paused":
            outcome.error = _resumed(RE)
        else:
            outcome.error = error
    except BaseException as error:
        outcome.error = error
    finally:
        outcome.beam_on = bench.beam_is_on()
        outcome.moving = tuple(bench.moving())
        RE.unsubscribe(token)
    after = bench.settings()
    outcome.changed = {
        name: (value, after[name]) for name, value in settings.items() if after[name] != value
    }
    outcome.threads = _left_behind(threads)
    return outcome


def check_safe_end(outcome: PlanOutcome) -> None:
    """Check that a plan ended safely and said what happened.

    Raises
    ------
    AssertionError
        If the beam is on, an axis moves, a setting has changed (not asked of a halt), a thread is
        left, another error than the first is raised, or the run does not say how it ended.
    """
    where, kind = outcome.where, None if outcome.fault is None else outcome.fault.kind
    assert not outcome.beam_on, f"The beam is on after: {where}"
    assert not outcome.moving, f"{outcome.moving} move after: {where}"
    assert kind == "halt" or not outcome.changed, f"{outcome.changed} changed after: {where}"
    assert not outcome.threads, f"threads {outcome.threads} are left after: {where}"
    _check_error(outcome, kind)
    starts, stops = outcome.find("start"), outcome.find("stop")
    ended = {stop["run_start"] for stop in stops}
    assert {start["uid"] for start in starts} == ended, f"a run was not stopped after: {where}"
    assert len(stops) == len(ended), f"a run was stopped twice after: {where}"
    if stops:
        _check_stop(outcome, kind, stops[-1])


def _check_error(outcome: PlanOutcome, kind: str | None) -> None:
    error, where = outcome.error, outcome.where
    if kind is None or not outcome.injected:
        assert error is None, f"{error!r} was raised: {where}"
    elif kind.startswith("raise"):
        assert isinstance(error, InjectedFaultError), f"{error!r} hides the first error: {where}"
    elif kind != "pause":
        assert isinstance(error, RunEngineInterrupted), f"{error!r} was raised: {where}"
    else:
        assert error is None or isinstance(error, RunEngineInterrupted), (
            f"{error!r} was raised: {where}"
        )


def _check_stop(outcome: PlanOutcome, kind: str | None, stop: Mapping[str, Any]) -> None:
    where, status, reason = outcome.where, stop["exit_status"], stop.get("reason", "")
    undisturbed = kind is None or not outcome.injected or outcome.error is None
    if undisturbed or outcome.stopped_before:
        assert status == "success", f"the run ended with {status} ({reason}): {where}"
        return
    assert kind is not None
    wanted = "fail" if kind.startswith("raise") else _STATUS[kind]
    assert status == wanted, f"the run ended with {status} ({reason}), not {wanted}: {where}"
    if kind.startswith("raise"):
        assert str(outcome.error) in reason, f"the run's reason is {reason!r}: {where}"
    elif kind == "abort":
        assert _REASON in reason, f"the run's reason is {reason!r}: {where}"
    elif kind != "halt":
        assert reason, f"the run gives no reason: {where}"


class _Collect:
    def __init__(self, documents: list[tuple[str, Mapping[str, Any]]]) -> None:
        self._documents = documents

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        self._documents.append((name, document))


def _disturbed(plan: MsgGenerator[Any], RE: RunEngine, outcome: PlanOutcome) -> MsgGenerator[Any]:
    """Pass a plan's messages on, and do at one of them what the outcome's fault says."""
    fault = outcome.fault

    def do(message: Msg) -> MsgGenerator[Any] | None:
        struck = (
            fault is not None and not outcome.injected and fault.strikes(message, outcome.messages)
        )
        outcome.messages.append(message)
        if not struck or fault is None:
            return None
        outcome.injected, outcome.struck = True, message
        return _struck(message, fault.kind, RE, outcome)

    return passed_on(plan, do)


def _struck(message: Msg, kind: str, RE: RunEngine, outcome: PlanOutcome) -> MsgGenerator[Any]:
    response = None
    if kind == "never ends":
        # Between two runs of a series there is no document that could say so.
        outcome.stopped_before = len(outcome.find("stop")) == len(outcome.find("start")) > 0
        return (yield message._replace(obj=never_done(message.obj, message.command)))
    if kind != "raise before":
        response = yield message
    outcome.stopped_before = bool(outcome.find("stop"))
    if kind.startswith("raise"):
        raise InjectedFaultError(f"{describe_message(message)} was made to fail {kind[6:]}.")
    doings: dict[str, Callable[[], Any]] = {
        "abort": lambda: RE.abort(_REASON),
        "stop": RE.stop,
        "halt": RE.halt,
        "pause": RE.request_pause,
    }
    struck, calls = asyncio.Event(), 0

    def strike() -> None:
        doings[kind]()
        if kind == "pause" and RE.state == "running":
            RE.loop.call_soon_threadsafe(struck.set)  # A session's pauses later, not here.

    async def hold() -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            struck.set()  # The plan is resumed, and its messages since the checkpoint with it.
        await asyncio.wait_for(struck.wait(), _PATIENCE_S)

    threading.Thread(target=strike, name="fault harness", daemon=True).start()
    try:
        yield Msg("wait_for", None, [hold])
    finally:
        struck.set()
    return response


def _resumed(RE: RunEngine) -> BaseException | None:
    try:
        RE.resume()
    except BaseException as error:
        return error
    return None


def _left_behind(before: Iterable[threading.Thread]) -> tuple[str, ...]:
    """Return the names of the threads that are new, and still there after some patience."""
    known = set(before)
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        new = [t for t in threading.enumerate() if t not in known and not t.name.startswith(_POOLS)]
        if not new or time.monotonic() > deadline:
            return tuple(sorted(thread.name for thread in new))
        if new[0].is_alive():
            new[0].join(0.1)
        else:  # It is about to start.
            time.sleep(0.01)
