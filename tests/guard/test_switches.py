"""How a beam is switched off: descriptions, devices that tell, and what is said about those that do not."""

import json
import logging
import sys
import time
from enum import Enum
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky.utils import RunEngineInterrupted
from ophyd.sim import SynAxis
from ophyd_async.core import soft_signal_rw

from concertino import ParameterError
from concertino.devices import SignalBeam, SimulatedBeamline
from concertino.guard import (
    CommandSwitch,
    EpicsSwitch,
    FunctionSwitch,
    GuardedBeam,
    GuardReport,
    SwitchedBeam,
    TangoSwitch,
    ends_with_session,
    switch_from_json,
    switch_off_of,
)
from concertino.plans import radiography
from concertino.session import open_session

from .conftest import HERE
from .file_beam import FileBeam

pytestmark = pytest.mark.disturbed_by_load(
    "a guard is a process that must be ready, act and answer within its time-outs"
)

TANGO = "tango://host:10000/a/b/c"
DESCRIPTIONS = [
    ({"pv": "BL:SHUTTER", "off": 0}, EpicsSwitch("BL:SHUTTER", 0), "ca://BL:SHUTTER"),
    ({"pv": "pva://BL:SHUTTER", "off": "Closed"}, EpicsSwitch("pva://BL:SHUTTER", "Closed"), "pva://BL:SHUTTER"),
    (
        {"tango": f"{TANGO}#dbase=no", "attribute": "open", "off": False},
        TangoSwitch(f"{TANGO}#dbase=no", attribute="open", off=False),
        f"{TANGO}/open#dbase=no",
    ),
    ({"tango": TANGO, "command": "Close", "off": None}, TangoSwitch(TANGO, command="Close"), f"{TANGO}/Close"),
    ({"command": ["caput", "BL:SHUTTER", "0"]}, CommandSwitch(("caput", "BL:SHUTTER", "0")), "caput BL:SHUTTER 0"),
    (
        {"function": "beamline.safety:close", "arguments": {"hutch": 2}},
        FunctionSwitch("beamline.safety:close", {"hutch": 2}),
        "beamline.safety:close",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("data", "switch", "text"), DESCRIPTIONS)
def test_descriptions_as_json(data: dict[str, Any], switch: Any, text: str) -> None:
    assert switch_from_json(json.loads(json.dumps(data))) == switch
    assert switch.to_json() == data
    assert str(switch) == text


@pytest.mark.parametrize(
    "wrong",
    [
        {}, {"pv": "BL:SHUTTER"}, {"pv": "", "off": 0}, {"pv": "tango://a", "off": 0}, {"off": 0},
        {"tango": TANGO}, {"tango": TANGO, "attribute": "open"}, {"command": []}, {"command": "caput"},
        {"function": "os.system"}, {"function": "a:b", "more": 1}, {"pv": "A", "off": 0, "of": 1},
    ],
)  # fmt: skip
def test_what_describes_no_switch(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError) as caught:
        switch_from_json(wrong)
    assert str(caught.value).startswith(
        f"guard: {wrong!r} does not say how to switch a beam off. Give one of "
        '{"pv": "ca://BL:SHUTTER", "off": 0}; '
    )


class Position(Enum):
    CLOSED = "Closed"


def test_signals_of_control_systems_tell_where_they_are() -> None:
    epics = pytest.importorskip("ophyd_async.epics.core")
    pytest.importorskip("aioca")
    ca = epics.epics_signal_rw(bool, "BL:RBV", "BL:SHUTTER", name="s")
    assert switch_off_of(SignalBeam(ca, on=True, off=False)) == EpicsSwitch("ca://BL:SHUTTER", 0)
    assert switch_off_of(SignalBeam(ca, on=1, off=Position.CLOSED)) == (
        EpicsSwitch("ca://BL:SHUTTER", "Closed")
    )


def test_tango_attributes_tell_where_they_are() -> None:
    tango = pytest.importorskip("ophyd_async.tango.core")
    for mark in ("", "#dbase=no"):
        signal = tango.tango_signal_rw(bool, f"{TANGO}/open{mark}", name="s")
        assert switch_off_of(SignalBeam(signal, on=True, off=False)) == (
            TangoSwitch(f"{TANGO}{mark}", attribute="open", off=False)
        )
    bare = tango.tango_signal_rw(bool, "a/b/c/open", name="s")
    assert switch_off_of(SignalBeam(bare, on=True, off=False)) == (
        TangoSwitch("a/b/c", attribute="open", off=False)
    )


def test_signals_of_ophyd_tell_where_they_are() -> None:
    pytest.importorskip("epics")
    from ophyd import EpicsSignal

    signal = EpicsSignal("BL:RBV", write_pv="BL:SHUTTER", name="s")
    assert switch_off_of(SignalBeam(signal, on=1, off=0)) == EpicsSwitch("ca://BL:SHUTTER", 0)


def test_a_device_that_tells_by_itself(tmp_path: Path) -> None:
    beam = FileBeam(tmp_path)
    assert isinstance(beam, GuardedBeam)
    assert switch_off_of(beam) == (FunctionSwitch("file_beam:switch_off", {"path": str(tmp_path)}))
    assert switch_off_of(SignalBeam(beam, on=True, off=False)) == switch_off_of(beam)


def test_simulated_beams_end_with_the_session() -> None:
    b = SimulatedBeamline(shape=(16, 16))
    for device in (b.shutter, SignalBeam(b.shutter, on=True, off=False), soft_signal_rw(int)):
        assert ends_with_session(device)
    assert ends_with_session(SignalBeam(SynAxis(name="wheel"), on=3, off=0))


class Lamp:
    """A beam that does not tell how another process switches it off."""

    parent = None
    name = "lamp"
    is_beam = True

    def __init__(self, shutter: Any) -> None:
        self._shutter = shutter

    def set(self, value: bool) -> Any:
        return self._shutter.set(value)


def test_what_is_said_about_a_beam_that_is_not_guarded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    b = SimulatedBeamline(shape=(16, 16), exposure=0.001, frame_rate=200)
    few: dict[str, Any] = {"radio_position": 0, "flat_position": 1, "num_darks": 1, "num_flats": 1}
    with (
        caplog.at_level(logging.WARNING, "concertino.guard"),
        open_session(tmp_path, catalog=False, progress=False) as session,
    ):
        for beam in (b.beam, Lamp(b.beam), Lamp(b.beam)):
            session.RE(radiography(b.camera, beam, b.sample_stage, num_projections=2, **few))
            assert session.guard.pid is None
    said = [record.getMessage() for record in caplog.records if record.name == "concertino.guard"]
    assert said == [
        "Beam lamp is not guarded: if this session dies, it stays as it is. Lamp does not tell how another "
        "process switches it off; give open_session(guard=…) a description, such as "
        '{"pv": "BL:SHUTTER", "off": 0} (docs/how-to/guard-the-beam.md tells what to give).'
    ]


@pytest.mark.parametrize("guard", [False, None])
def test_a_session_without_a_guard(tmp_path: Path, guard: Any) -> None:
    with open_session(tmp_path / "data", catalog=False, progress=False, guard=guard) as session:
        beam = FileBeam(tmp_path / "journal")
        session.RE(bps.mv(beam, True))
        assert session.guard.pid is None


def test_a_plan_that_has_not_ended_when_the_session_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys, "path", [*sys.path, str(HERE)]
    )  # The guard imports what the session can.
    journal = tmp_path / "journal"
    beam = FileBeam(journal)
    session = open_session(tmp_path / "data", catalog=False, progress=False, guard=beam)
    try:
        assert session.guard.wait(240)

        def plan() -> Any:
            yield from bps.mv(beam, True)
            yield from bps.pause()

        with pytest.raises(RunEngineInterrupted):
            session.RE(plan())
        session.guard.close()
        deadline_s = time.monotonic() + 240
        while journal.read_text().split()[-2] != "0":
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        assert session.RE.state == "paused"  # It takes no frames; the user may look, and end it.
        session.RE.abort()
    finally:
        session.close()


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_silence_that_is_no_time(tmp_path: Path, seconds: float) -> None:
    with pytest.raises(
        ParameterError, match=r"guard_silence_s: .* was given; give seconds, more than 0"
    ):
        open_session(tmp_path, catalog=False, guard_silence_s=seconds)


def test_a_description_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "guard.json"
    journal = tmp_path / "closed"
    file.write_text(json.dumps([{"name": "front end", "command": ["touch", str(journal)]}]))
    with open_session(tmp_path / "a", catalog=False, progress=False, guard=file) as session:
        assert session.guard.wait(240)
        assert session.guard.pid is not None
    assert not journal.exists()
    file.write_text("[")
    with pytest.raises(
        ParameterError, match="was given as the description of a beam and cannot be read"
    ):
        open_session(tmp_path / "b", catalog=False, progress=False, guard=file)


def test_a_report_and_its_sentences() -> None:
    off = SwitchedBeam("shutter", "ca://BL:S", True, 0.04, "0")
    on = SwitchedBeam("tube", "ca://BL:T", False, 61.2, "BL:T does not answer")
    report = GuardReport("me@here, process 5,", "died", 0.0, ("/data/scan_0003",), (off, on))
    assert GuardReport.from_json(json.loads(json.dumps(report.to_json()))) == report
    assert report.sentence().endswith(
        " during scan_0003. Its guard: shutter was switched off by ca://BL:S, 0.0 s later (0); tube could "
        "not be switched off by ca://BL:T within 61 s (BL:T does not answer): THE BEAM MAY BE ON."
    )
