"""What is used of bluesky and is not offered by it: does bluesky still do so, and is nothing else used?"""

import ast
import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import bluesky.plan_stubs as bps
import pytest
from bluesky import Msg, RunEngine
from bluesky.bundlers import RunBundler
from bluesky.run_engine import Dispatcher
from bluesky.suspenders import SuspenderBase, SuspendFloor
from bluesky.utils import CallbackRegistry, MsgGenerator, RunEngineInterrupted
from event_model import DocumentNames
from ophyd import Signal
from ophyd.status import Status

import concertino
from concertino import _bluesky_private as private

_PACKAGE = Path(concertino.__file__).parent
_CLASSES = (RunEngine, Dispatcher, CallbackRegistry, SuspenderBase, RunBundler)
_OWN = ("self", "cls", "super()")
_ASKS = ("getattr", "hasattr", "setattr", "delattr")


class _Engines:
    def __init__(self) -> None:
        self.made: list[RunEngine] = []

    def __call__(self, kind: type[RunEngine] = RunEngine) -> RunEngine:
        self.made.append(kind({}, context_managers=[]))
        return self.made[-1]


@pytest.fixture
def engines() -> Iterator[_Engines]:
    engines = _Engines()
    yield engines
    for engine in engines.made:
        _end(engine)


def _end(engine: RunEngine) -> None:
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    thread = private.thread_of(engine)
    assert thread is not None
    thread.join(5)
    engine.loop.close()


def _names() -> set[str]:
    """Return the private names of bluesky's classes, and of what they make."""
    engine = RunEngine({}, context_managers=[])
    _end(engine)
    made = (
        engine,
        engine.dispatcher,
        engine.dispatcher.cb_registry,
        SuspendFloor(Signal(name="x"), 1),
    )
    found = {name for one in (*_CLASSES, *made) for name in dir(one)}
    return {name for name in found if name.startswith("_") and not name.startswith("__")}


def _uses(source: str, names: set[str]) -> list[str]:
    """Return where a source uses one of these names of something that may be bluesky's."""
    nodes = list(ast.walk(ast.parse(source)))
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    derived = any("RunEngine" in ast.unparse(base) for each in classes for base in each.bases)
    own = set() if derived else {node.attr for node in nodes if _is_of_self(node)}
    found = []
    for node in nodes:
        name = getattr(node, "attr", "")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            name = node.name if derived else ""
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in _ASKS:
            name = node.args[1].value if isinstance(node.args[1], ast.Constant) else ""
        if name in names - own:
            found.append(f"{ast.unparse(node)[:60]!r}")
    return found


def _is_of_self(node: ast.AST) -> TypeGuard[ast.Attribute]:
    return isinstance(node, ast.Attribute) and ast.unparse(node.value) in _OWN


def test_nothing_else_uses_private_names() -> None:
    """A private name of bluesky's stands in one module only."""
    names, found = _names(), []
    assert {"_th", "_msg_cache", "_sig", "_remove_proxy"} <= names
    for path in sorted(_modules()):
        if path.name != "_bluesky_private.py":
            found += [f"{path.name}: {use}" for use in _uses(path.read_text("utf-8"), names)]
    assert not found, f"private names of bluesky in {found}; let _bluesky_private do it"


def _modules() -> Iterator[Path]:
    for folder in (_PACKAGE, *(_PACKAGE / name for name in ("plans", "callbacks", "devices"))):
        yield from folder.rglob("*.py")


@pytest.mark.parametrize(
    "source",
    [
        "def end(run_engine):\n    run_engine._abort_coro('')",
        "def end(run_engine):\n    return getattr(run_engine, '_th', None)",
        "class Mine(RunEngine):\n    def end(self):\n        self._msg_cache = None",
        "class Mine(RunEngine):\n    async def _request_pause_coro(self, defer):\n        pass",
    ],
)
def test_a_private_name_is_found(source: str) -> None:
    """The check before sees each way to use one."""
    assert _uses(source, _names())


def test_thread_of_callbacks(engines: _Engines) -> None:
    """The thread of a RunEngine is the one in which its callbacks are called."""
    engine, seen = engines(), []
    engine.subscribe(lambda name, document: seen.append(threading.current_thread()), "start")
    engine([Msg("open_run"), Msg("close_run")])
    assert seen == [private.thread_of(engine)]


@pytest.mark.parametrize("paused", [False, True])
def test_abort_for_certain(engines: _Engines, paused: bool) -> None:
    """A plan that runs or is paused ends, cleans up, and the run's stop document has the reason."""
    engine, stops, done = engines(), [], []
    engine.subscribe(lambda name, document: stops.append(document), "stop")

    def plan() -> MsgGenerator[None]:
        yield Msg("open_run")
        try:
            yield Msg("checkpoint")
            if paused:
                yield Msg("pause")
            yield Msg("sleep", None, 60)
        finally:
            yield from bps.null()
            done.append(True)

    def abort() -> None:
        asked = private.abort_for_certain(engine, "the test says so")
        asyncio.run_coroutine_threadsafe(asked, engine.loop).result(10)

    if paused:
        with pytest.raises(RunEngineInterrupted):
            engine(plan())
        abort()
    else:
        threading.Timer(0.2, abort).start()
        with pytest.raises(RunEngineInterrupted):
            engine(plan())
    until_s = time.monotonic() + 20
    while engine.state != "idle" and time.monotonic() < until_s:
        time.sleep(0.02)
    assert done == [True]
    assert [(stop["exit_status"], stop["reason"]) for stop in stops] == [
        ("abort", "the test says so")
    ]
    assert private.reason_of_end(engine) == "the test says so"


def test_what_the_call_says(engines: _Engines) -> None:
    """Metadata of the call, and the plan's name, are known while it runs."""
    engine, seen = engines(), []

    def named() -> MsgGenerator[None]:
        seen.append((dict(private.metadata_of_call(engine)), private.name_of_plan(engine)))
        yield Msg("null")

    engine(named(), sample="tooth")
    assert seen == [({"sample": "tooth"}, "named")]


def test_forget_deferred_pause(engines: _Engines) -> None:
    """A deferred pause that is taken back does not come at the checkpoint; one that is not does."""
    engine = engines()

    def plan(forget: bool) -> MsgGenerator[None]:
        yield Msg("checkpoint")
        yield Msg("pause", defer=True)
        if forget:
            private.forget_deferred_pause(engine)
        yield Msg("checkpoint")

    engine(plan(True))
    with pytest.raises(RunEngineInterrupted):
        engine(plan(False))
    engine.resume()


def _cleared_then(engine: RunEngine, then: Any) -> MsgGenerator[None]:
    yield Msg("checkpoint")
    yield Msg("clear_checkpoint")
    yield from then()
    yield Msg("checkpoint")
    yield Msg("pause")


def test_a_pause_after_clear_checkpoint_ends_the_plan(engines: _Engines) -> None:
    """It is so in bluesky whatever checkpoint follows, which is why the next two are needed."""
    engine = engines()
    with pytest.raises(RunEngineInterrupted):
        engine(_cleared_then(engine, bps.null))
    assert engine.state == "idle"


def test_keep_messages_again(engines: _Engines) -> None:
    """After it a checkpoint is one again."""
    engine = engines()

    def keep() -> MsgGenerator[None]:
        yield Msg("null")
        private.keep_messages_again(engine)

    with pytest.raises(RunEngineInterrupted):
        engine(_cleared_then(engine, keep))
    assert engine.state == "paused"
    engine.resume()


@pytest.mark.parametrize("anew", [True, False])
def test_make_checkpoint(engines: _Engines, anew: bool) -> None:
    """One that is made anew allows a pause after ``clear_checkpoint``; another does not."""
    engine = engines()

    async def checkpoint(message: Msg) -> None:
        await private.make_checkpoint(engine, message, anew)

    engine.register_command("checkpoint", checkpoint)
    with pytest.raises(RunEngineInterrupted):
        engine(_cleared_then(engine, bps.null))
    assert (engine.state == "paused") is anew
    if anew:
        engine.resume()


class _Fails:
    """A device whose move fails a while after it began."""

    name = "fails"
    parent = None

    def set(self, value: object) -> Status:
        status = Status()
        threading.Timer(0.1, status.set_exception, (ValueError("too late"),)).start()
        return status


@pytest.mark.parametrize("pardoned", [True, False])
def test_pardon_failures(engines: _Engines, pardoned: bool) -> None:
    """A move that nobody waited for fails a plan, unless it was pardoned meanwhile."""
    engine, raised = engines(), []

    def plan() -> MsgGenerator[None]:
        yield Msg("set", _Fails(), 1, group="moves")
        if pardoned:
            private.pardon_failures(engine)
        try:
            yield Msg("sleep", None, 0.5)
            yield Msg("null")
        except Exception as error:
            raised.append(error)

    engine(plan())
    assert bool(raised) is not pardoned


class _Stoppable:
    parent = None

    def __init__(self, name: str, stopped: list[str]) -> None:
        self.name, self._stopped = name, stopped

    def set(self, value: object) -> Status:
        status = Status()
        status.set_finished()
        return status

    def stop(self, *, success: bool = False) -> None:
        self._stopped.append(self.name)


def test_what_was_set_is_stopped_in_turn(
    engines: _Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a plan has set is stopped when it ends, in the order that is wanted; open runs are told of."""

    async def as_bluesky(self: Any, *, success: bool = True) -> None:
        await unwrapped(self, success=success)

    known = RunEngine._stop_movable_objects
    unwrapped = getattr(known, "__wrapped__", known)
    monkeypatch.setattr(RunEngine, "_stop_movable_objects", as_bluesky)
    open_runs: list[int] = []
    private.have_run_engines_stop(
        lambda touched: sorted(touched, key=lambda device: device.name),
        lambda touched, bundlers: open_runs.append(len(list(bundlers))),
    )
    order: list[str] = []
    engine = engines()
    devices = [_Stoppable(name, order) for name in "cab"]

    def plan() -> MsgGenerator[None]:
        yield Msg("open_run")
        for device in devices:
            yield Msg("set", device, 1)
        raise ValueError("in the plan")

    with pytest.raises(ValueError, match="in the plan"):
        engine(plan())
    assert (order, open_runs) == (["a", "b", "c"], [1])


class _Asked(private.HookedRunEngine):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.asked: list[bool] = []
        super().__init__(*args, **kwargs)

    async def asked_to_pause(self, defer: bool) -> None:
        self.asked.append(defer)
        if defer:
            await self.pause_as_bluesky(False)


@pytest.mark.parametrize("by_message", [True, False])
def test_all_pauses_are_asked_for(engines: _Engines, by_message: bool) -> None:
    """A pause, by a message or from elsewhere, is done as the subclass says."""
    engine = engines(_Asked)
    assert isinstance(engine, _Asked)

    def plan() -> MsgGenerator[None]:
        yield Msg("checkpoint")
        for defer in (False, True):
            if by_message:
                yield Msg("pause", defer=defer)
            else:
                threading.Thread(target=engine.request_pause, args=(defer,)).start()
                yield Msg("sleep", None, 0.3)

    with pytest.raises(RunEngineInterrupted):
        engine(plan())
    assert (engine.asked, engine.state) == ([False, True], "paused")
    engine.asked.clear()
    engine.abort()  # type: ignore[no-untyped-call]


class _Taker:
    def take(self, name: str, document: Mapping[str, Any]) -> None:
        """Take a document."""


def test_callbacks_of_a_dispatcher() -> None:
    """What was subscribed is known by kind; a method whose object is gone is forgotten."""
    dispatcher, taker = Dispatcher(), _Taker()
    dispatcher.subscribe(print, "start")
    dispatcher.subscribe(taker.take, "all")
    assert private.callbacks_of(dispatcher, "start") == [print, taker]
    assert private.callbacks_of(dispatcher, "stop") == [taker]
    assert private.callbacks_of(Dispatcher(), "stop") == []
    (proxy,) = private.proxies_of(dispatcher, DocumentNames.stop)
    private.forget_proxy(dispatcher, proxy)
    assert private.callbacks_of(dispatcher, "stop") == []
    assert private.callbacks_of(dispatcher, "start") == [print]


def test_signal_name_of_a_suspender() -> None:
    """A suspender's signal has a name."""
    assert private.signal_name_of(SuspendFloor(Signal(name="ring_current"), 80)) == "ring_current"
