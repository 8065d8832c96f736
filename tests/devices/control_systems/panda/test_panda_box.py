"""Scans whose pulses come from a PandA, at the ports of a simulated one."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
import pytest
from bluesky.utils import FailedStatus
from pandablocks.responses import TableFieldDetails, TableFieldInfo
from pandablocks.utils import words_to_table

from concertino import ConcertinoError, DeviceError
from concertino.devices import PandaAxis, PandaBox, PandaTrigger, SimulatedPanda
from concertino.devices.control_systems.panda._box import table_words
from concertino.documents import validate_run
from concertino.frames import PulseTrain
from concertino.plans import PauseRequest, resume, with_pause_request
from concertino.storage import open_run, run_angles
from tests.loopback import free_host
from tests.plans.laboratory import Laboratory

pytestmark = pytest.mark.disturbed_by_load(
    "pulses come where the stage is, and find the camera ready or not"
)
#: Not a whole number of counts a projection, and an encoder that counts down.
AXIS = PandaAxis("INENC1.VAL", -1001.0, 3.0)
SCAN: dict[str, Any] = {"num_darks": 1, "num_flats": 1, "num_projections": 60, "angular_range": "90 deg"}  # fmt: skip


@pytest.fixture
def laboratory(tmp_path: Path) -> Laboratory:
    return Laboratory(tmp_path, shape=(8, 48), frame_rate=80.0, exposure=0.004, noise=False)


@pytest.fixture
def panda(laboratory: Laboratory) -> Iterator[SimulatedPanda]:
    source: Any = laboratory.beamline.camera.source
    encoders = {"INENC1.VAL": (laboratory.beamline.rotation, AXIS)}
    with SimulatedPanda(source.edge, encoders, host=free_host(8888, 8889)) as panda:
        yield panda


def wire(panda: SimulatedPanda, bit: str) -> None:
    """Connect an output of a block to the camera, as its user does at the box."""
    with socket.create_connection((panda.host, 8888), 5) as line:
        line.sendall(f"TTLOUT1.VAL={bit}\n".encode())
        assert line.recv(100) == b"OK\n"


def trigger_of(panda: SimulatedPanda, way: str, timeout_s: float = 3.0) -> PandaTrigger:
    wire(panda, "PCOMP1.OUT" if way == "pcomp" else "SEQ1.OUTA")
    box = PandaBox(panda.host, timeout_s=timeout_s)
    return PandaTrigger(box, {"rotation": AXIS}, pcomp=1 if way == "pcomp" else None)


def true_angles(laboratory: Laboratory, run: Any) -> Any:
    at = laboratory.beamline.rotation.position_at
    return np.array([at(ns * 1e-9) for ns in run.frames("projections").index["timestamp_ns"]])


@pytest.mark.parametrize("way", ["pcomp", "seq"])
def test_the_frames_are_where_the_pulses_were_and_say_so(
    laboratory: Laboratory, panda: SimulatedPanda, way: str
) -> None:
    documents = laboratory.run("continuous_tomography", trigger=trigger_of(panda, way), **SCAN)
    validate_run(documents)
    assert documents[-1][1]["exit_status"] == "success"
    run = open_run(documents[0][1]["run_directory"])
    true = true_angles(laboratory, run)
    angles, uncertainty, told = run_angles(run)
    assert len(true) == 60
    # 1.5 deg are 1501.5 counts: PCOMP steps by 1501 or 1502, the sequencer rounds each.
    drift = 60 * 0.5 / 1001 if way == "pcomp" else 0.0
    assert true == pytest.approx(np.arange(60) * 1.5, abs=0.005 + drift)
    assert np.abs(angles - true).max() < 0.005
    assert (uncertainty < 0.005).all()
    assert told == "encoder"


def test_pulses_at_times_come_from_the_sequencer(
    laboratory: Laboratory, panda: SimulatedPanda
) -> None:
    wire(panda, "SEQ1.OUTA")
    trigger = PandaTrigger(PandaBox(panda.host))
    documents = laboratory.run("continuous_tomography", trigger=trigger, **SCAN)
    run = open_run(documents[0][1]["run_directory"])
    times_ns = run.frames("projections").index["timestamp_ns"]
    assert np.diff(np.asarray(times_ns, np.int64)) == pytest.approx(12.5e6, abs=2e3)


def lost(laboratory: Laboratory, run: Callable[[], Any], cause: Callable[[], Any]) -> str:
    """Return what a scan says to which something happens after its tenth projection."""

    def watch() -> None:
        give_up_s = time.monotonic() + 60
        while time.monotonic() < give_up_s:
            if laboratory.beamline.rotation.position_at(time.time()) > 15:
                cause()
                return
            time.sleep(0.005)

    watching = threading.Thread(target=watch)
    watching.start()
    begin_s = time.monotonic()
    with pytest.raises((ConcertinoError, FailedStatus)) as caught:
        run()
    watching.join()
    assert time.monotonic() - begin_s < 20
    assert not laboratory.beam_is_on()
    assert not laboratory.moving()
    assert laboratory.documents[-1][1]["exit_status"] == "fail"
    return f"{caught.value} {caught.value.__cause__} {laboratory.documents[-1][1]['reason']}"


@pytest.mark.parametrize("way", ["pcomp", "seq"])
def test_a_box_that_is_lost_ends_the_scan_with_its_name_and_address(
    laboratory: Laboratory, panda: SimulatedPanda, way: str
) -> None:
    trigger = trigger_of(panda, way, timeout_s=0.5)
    said = lost(
        laboratory,
        lambda: laboratory.run("continuous_tomography", trigger=trigger, **SCAN),
        panda.stop,
    )
    # Which of its ports is missed first is chance.
    assert "PandA panda was " in said
    assert f" at {panda.host}:888" in said
    assert "Check that the box has power and network" in said
    # One that is there again takes what is missing, with the same devices.
    first = open_run(laboratory.documents[0][1]["run_directory"])
    laboratory.documents.clear()
    b = laboratory.beamline
    with panda:
        wire(panda, "PCOMP1.OUT" if way == "pcomp" else "SEQ1.OUTA")
        laboratory.RE(
            resume(
                first, camera=b.camera, rotation=b.rotation, beam=b.beam, sample_stage=b.sample_stage, trigger=trigger,
                md=laboratory.directories.new().metadata(),
            )
        )  # fmt: skip
    assert laboratory.documents[-1][1]["exit_status"] == "success"
    second = open_run(laboratory.documents[0][1]["run_directory"])
    angles, _, _ = run_angles(second)
    assert len(angles) == 60
    assert angles == pytest.approx(np.arange(60) * 1.5, abs=0.005 + 60 * 0.5 / 1001)


def test_a_box_that_is_not_there_is_told_before_the_beam_is_on(
    laboratory: Laboratory, panda: SimulatedPanda
) -> None:
    trigger = trigger_of(panda, "pcomp", timeout_s=0.5)
    panda.stop()
    with pytest.raises((ConcertinoError, FailedStatus)) as caught:
        laboratory.run("continuous_tomography", trigger=trigger, order=("projections",), **SCAN)
    said = f"{caught.value} {caught.value.__cause__}"
    assert f"PandA panda was told 'SEQ1.ENABLE=ZERO' at {panda.host}:8888" in said
    assert not laboratory.beam_is_on()


def test_an_axis_beyond_its_first_position_is_told(
    laboratory: Laboratory, panda: SimulatedPanda
) -> None:
    # The encoder counts 200 degrees more than is said: pulses would come all at once, or never.
    wrong = PandaAxis("INENC1.VAL", -1001.0, -197.0)
    wire(panda, "PCOMP1.OUT")
    trigger = PandaTrigger(PandaBox(panda.host), {"rotation": wrong}, pcomp=1)
    laboratory.RE(bps.prepare(trigger, PulseTrain(2, "rotation", (-210.0, -205.0)), wait=True))
    with pytest.raises(FailedStatus) as caught:
        laboratory.RE(bps.mv(trigger, True))
    said = str(caught.value.__cause__)
    laboratory.RE(bps.stop(trigger))
    assert (
        "was told to give pulses from rotation = -210 on, and the encoder at INENC1.VAL is at -200"
        in said
    )


@pytest.mark.parametrize(
    ("counts", "positions", "said"),
    [
        (
            1000.0,
            (0.0, 1.0, 3.0),
            "one would be 500 counts (0.5) away from 1. Take positions equally far apart",
        ),
        (1.0, (0.0, 1.0, 2.0), "which are 1 encoder count apart; a pulse lasts 1 count"),
        (1e8, (0.0, 100.0), "which are 10000000000 counts; it compares 32 bits"),
        (1000.0, (0.0, 2.0, 1.0), "and some are the same encoder count or go back"),
    ],
    ids=["uneven", "too close", "beyond 32 bits", "back"],
)
def test_what_position_compare_cannot_do_is_refused_beforehand(
    counts: float, positions: tuple[float, ...], said: str
) -> None:
    trigger = PandaTrigger(PandaBox("box"), {"rotation": PandaAxis("INENC1.VAL", counts)}, pcomp=1)
    with pytest.raises(DeviceError) as caught:
        trigger.check_train(PulseTrain(len(positions), "rotation", positions))
    assert said in str(caught.value)


def test_position_compare_takes_more_positions_than_a_table_has_rows() -> None:
    positions = tuple(np.arange(20_000) * 0.01)
    axes = {"rotation": PandaAxis("INENC1.VAL", 1000.0)}
    PandaTrigger(PandaBox("box"), axes, pcomp=1).check_train(
        PulseTrain(20_000, "rotation", positions)
    )
    with pytest.raises(DeviceError, match="its sequencer has 4096 rows"):
        PandaTrigger(PandaBox("box"), axes).check_train(PulseTrain(20_000, "rotation", positions))


def test_the_makers_client_reads_the_table_as_it_was_meant() -> None:
    from ophyd_async.fastcs.panda import SeqTable, SeqTrigger

    table = SeqTable.row(
        repeats=7, trigger=SeqTrigger.POSB_LT, position=-5, time1=2**32 - 1, outa1=True, outf1=True, time2=9, outb2=True,
    )  # fmt: skip
    places = {
        "REPEATS": ("uint", 0, 15), "TRIGGER": ("enum", 16, 19), "OUTA1": ("uint", 20, 20), "OUTF1": ("uint", 25, 25),
        "OUTA2": ("uint", 26, 26), "OUTB2": ("uint", 27, 27), "POSITION": ("int", 32, 63), "TIME1": ("uint", 64, 95),
        "TIME2": ("uint", 96, 127),
    }  # fmt: skip
    fields = {name: TableFieldDetails(*place) for name, place in places.items()}
    info = TableFieldInfo("table", None, None, 16384, fields, 4, False)
    read = words_to_table([str(word) for word in table_words(table)], info)
    assert {name: int(column[0]) for name, column in read.items()} == {
        "REPEATS": 7, "TRIGGER": 10, "OUTA1": 1, "OUTF1": 1, "OUTA2": 0, "OUTB2": 1, "POSITION": -5,
        "TIME1": 2**32 - 1, "TIME2": 9,
    }  # fmt: skip


@pytest.mark.parametrize("way", ["pcomp", "seq"])
def test_a_scan_that_pauses_goes_on_where_it_was(
    laboratory: Laboratory, panda: SimulatedPanda, way: str
) -> None:
    hold, beam_in_pause = PauseRequest(), list[bool]()

    def pause() -> None:
        give_up_s = time.monotonic() + 60
        while laboratory.beamline.rotation.position_at(time.time()) < 30:
            if time.monotonic() > give_up_s:
                return
            time.sleep(0.005)
        request = hold.request("lunch")
        while not hold.waiting and time.monotonic() < give_up_s:
            time.sleep(0.005)
        beam_in_pause.append(laboratory.beam_is_on())
        request.release()

    pausing = threading.Thread(target=pause)
    pausing.start()
    trigger = trigger_of(panda, way)
    laboratory.RE(
        with_pause_request(laboratory.plan("continuous_tomography", trigger=trigger, **SCAN), hold)
    )
    pausing.join()
    documents = laboratory.documents
    assert documents[-1][1]["exit_status"] == "success"
    assert beam_in_pause == [False]
    names = [document["name"] for kind, document in documents if kind == "descriptor"]
    assert [name for name in names if "projections_from_" in name]
    angles, _, told = run_angles(open_run(documents[0][1]["run_directory"]))
    # Each piece begins where its own first projection was asked for: nothing adds up beyond a piece.
    assert angles == pytest.approx(np.arange(60) * 1.5, abs=0.005 + 60 * 0.5 / 1001)
    assert told == "encoder"


@pytest.mark.parametrize("capture", [True, False])
def test_what_is_captured_is_where_the_encoder_was_and_not_what_was_asked(
    laboratory: Laboratory, panda: SimulatedPanda, capture: bool
) -> None:
    wire(panda, "PCOMP1.OUT")
    trigger = PandaTrigger(PandaBox(panda.host), {"rotation": AXIS}, pcomp=1, capture=capture)
    laboratory.RE(bps.prepare(trigger, PulseTrain(3, "rotation", (10.0, 20.0, 30.0)), wait=True))
    with socket.create_connection((panda.host, 8888), 5) as line:
        # Somebody turns at the box: 1001 counts are a degree.
        start = AXIS.counts(10.0) - 1001
        line.sendall(f"PCOMP1.START={start}\n".encode())
        assert line.recv(100) == b"OK\n"

    def turn() -> Any:
        yield from bps.mv(trigger, True)
        yield from bps.mv(laboratory.beamline.rotation, 40.0)

    laboratory.RE(turn())  # It stops what it has set when it is done.
    noted = asyncio.run_coroutine_threadsafe(trigger.captured(1), laboratory.RE.loop).result(10)
    assert noted == pytest.approx([21.0, 31.0] if capture else [20.0, 30.0], abs=0.005)
