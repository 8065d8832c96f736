"""What a session and a run refuse before anything is made: in a sentence, and without leaving anything."""

import os
import threading
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import pytest
from bluesky import Msg, RunEngine
from bluesky.suspenders import SuspendFloor
from bluesky.utils import MsgGenerator
from ophyd import Signal

from concertino import ConcertinoError, ParameterError, ParameterTypeError, SessionError
from concertino.devices import SimulatedShutter
from concertino.plans import Deadlines, set_deadlines
from concertino.session import Session, open_session

ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)

#: Arguments of `open_session` that are of another kind, and what the sentence begins with.
KINDS: list[tuple[dict[str, Any], str]] = [
    ({"baseline": 3}, "baseline: 3 was given"),
    ({"baseline": SimulatedShutter(name="gate")}, "baseline: "),
    ({"baseline": ["rotation"]}, "baseline: 'rotation' cannot be read"),
    ({"progress": "yes"}, "progress: 'yes' was given"),
    ({"catalog": 1}, "catalog: 1 was given"),
    ({"run_engine": "RE"}, "run_engine: 'RE' was given"),
    ({"separate_scans": None}, "separate_scans: None was given"),
    ({"pattern": 3}, "pattern: 3 was given"),
    ({"md": 3}, "md: 3 was given"),
    ({"md": {1: "x"}}, "md: the key 1 was given"),
    ({"md": {"sample": object()}}, "md: sample is <object"),
    ({"md": {"holder": ENDLESS}}, "md: holder is [[...]], which cannot be written"),
    ({"guard": 3}, "guard: 3 was given"),
    ({"guard": ["no file", 3]}, "guard: "),
    ({"guard": {"pv": "A", "off": object()}}, "guard: "),
    ({"guard": {"function": "a:b", "arguments": 3}}, "guard: "),
    ({"guard_silence_s": "3"}, "guard_silence_s: '3' was given"),
    ({"guard_loop_silence_s": None}, "guard_loop_silence_s: None was given"),
    ({"guard_at": 60650}, "guard_at: 60650 was given"),
]


@pytest.mark.parametrize(("given", "said"), KINDS)
def test_an_argument_of_another_kind(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    threads, engine = set(threading.enumerate()), RunEngine({})
    before = {name: getattr(engine, name) for name in ("md_validator", "scan_id_source")}
    with pytest.raises(ParameterError) as caught:
        open_session(tmp_path / "data", **{"catalog": False, "run_engine": engine, **given})
    assert str(caught.value).startswith(said)
    assert not (tmp_path / "data").exists()
    assert before == {name: getattr(engine, name) for name in before}
    assert not {t for t in threading.enumerate() if "guard" in t.name} - threads


def test_a_directory_of_another_kind() -> None:
    with pytest.raises(ParameterTypeError, match="directory: 3 was given"):
        open_session(3, catalog=False)  # type: ignore[arg-type]


def test_deadlines_of_another_kind() -> None:
    with pytest.raises(ParameterTypeError, match="off_s: '3' was given"):
        Deadlines(off_s="3")  # type: ignore[arg-type]
    with pytest.raises(ParameterTypeError, match="give Deadlines"):
        set_deadlines(3)  # type: ignore[arg-type]


def one_run(**md: Any) -> MsgGenerator[None]:
    yield from bps.open_run(md)
    yield from bps.close_run()


def run(session: Session, way: str, given: dict[str, Any]) -> None:
    """Run with metadata that come in one of three ways."""
    if way == "plan":
        session.RE(one_run(**given))
    elif way == "call":
        session.RE(one_run(), **given)
    else:
        session.RE.md.update(given)
        try:
            session.RE(one_run())
        finally:
            for key in given:
                del session.RE.md[key]


#: Metadata that no record can have, and what the sentence names.
METADATA: list[tuple[dict[str, Any], str]] = [
    ({"thing": object()}, "metadata: thing is <object"),
    ({"a.b": 1}, "metadata: the key 'a.b'"),
    ({"sample": 3}, "metadata: sample is 3"),
    ({"sample": "a\0b"}, "metadata: sample has the text"),
    ({"deep": {"er": ["a\ud800"]}}, "metadata: deep has the text"),
    ({"scan_id": "x"}, "metadata: scan_id does not fit"),
    ({"uid": "x"}, "metadata: uid was given"),
]


def test_metadata_that_cannot_be_kept_leaves_nothing_behind(tmp_path: Path) -> None:
    with open_session(tmp_path, catalog=False, progress=False, guard=False) as session:
        for given, said in METADATA:
            for way in ("plan", "call", "engine"):
                if way == "engine" and "scan_id" in given:
                    continue  # That of the RunEngine is the session's own.
                with pytest.raises(ConcertinoError) as caught:
                    run(session, way, given)
                assert str(caught.value).startswith(said)
        assert os.listdir(tmp_path) == [".sessions"]

        # Nor does what is refused only when its directory is there, as by a check of the user's own.
        session.RE.preprocessors.append(spoil)
        with pytest.raises(ParameterTypeError, match="late is <object"):
            session.RE(one_run())
        session.RE.preprocessors.remove(spoil)
        assert sorted(os.listdir(tmp_path)) == [".scan_id", ".sessions"]
        session.RE(one_run(sample={"name": "tooth", "age": 40}))
    assert sorted(os.listdir(tmp_path)) == [".scan_id", "scan_0002"]


def spoil(plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
    """Add what cannot be kept, after the session has looked."""

    def late(message: Msg) -> Msg:
        if message.command != "open_run":
            return message
        return message._replace(kwargs={**message.kwargs, "late": object()})

    return (yield from bpp.msg_mutator(plan, late))


def test_a_closed_session_refuses(tmp_path: Path) -> None:
    session = open_session(tmp_path, catalog=False, progress=False, guard=False)
    with pytest.raises(ParameterTypeError, match="callback: 3 cannot be called"):
        session.subscribe(3)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="name: 'strat' was given; give one of all, stop"):
        session.subscribe(print, "strat")
    session.close()
    for call in (
        lambda: session.subscribe(print),
        lambda: session.guard_beam({"pv": "A", "off": 0}),
        lambda: session.wait_before_runs(SuspendFloor(Signal(name="ring"), 80)),
    ):
        with pytest.raises(SessionError, match=r"was closed before session\.\w+\(\) was called"):
            call()
