"""A beamline is rehearsed on its own protocol: the twin by EPICS and by Tango answers as the one in process."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ports import free_port

_BEGINS_S = 240.0
_SCANS_S = 180.0
AROUND = {
    "radio_position": 0, "flat_position": 1, "num_darks": 2, "num_flats": 2, "num_projections": 40,
}  # fmt: skip
SPIRAL = {
    "start_position_vertical": -0.02,
    "vertical_shift_per_tomogram": 0.04,
    "sample_height": 0.01,
}
PLANS: dict[str, dict[str, Any]] = {
    "step_tomography": AROUND | {"num_projections": 24},
    "continuous_tomography": AROUND,
    "continuous_spiral_tomography": AROUND | SPIRAL,
}
#: Where motors and shutter are, and how the frames come.
WAYS = [
    *(
        (motors, frames)
        for motors in ("process", "epics", "tango")
        for frames in ("stream", "pva", "file")
    ),
]


class Program:
    """A program that is told, and answers, by lines.

    Parameters
    ----------
    arguments : list of str
        Of Python.
    environment : dict of str to str
        In addition to this process's.
    """

    def __init__(self, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self._log = log
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,  # what was read and not yet taken, select does not see
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._stdin, self._stdout = self.process.stdin, self.process.stdout

    def line(self, within_s: float) -> str:
        """Return what it says next."""
        told, _, _ = select.select([self._stdout], [], [], within_s)
        line = self._stdout.readline().decode() if told else ""
        assert line, f"nothing within {within_s} s; {self._log.read_text()[-2000:]}"
        return line.strip()

    def ask(self, *question: Any) -> Any:
        """Return its answer."""
        self._stdin.write((json.dumps(question) + "\n").encode())
        self._stdin.flush()
        return json.loads(self.line(_SCANS_S))

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait(30)
        self._stdin.close()
        self._stdout.close()


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    directory = tmp_path_factory.mktemp("twin")
    ca, pva, tango, truth = free_port(), free_port(), free_port(), directory / "truth.jsonl"
    environment = {
        "EPICS_CA_SERVER_PORT": str(ca),
        "EPICS_CA_REPEATER_PORT": str(free_port()),
        "EPICS_CA_ADDR_LIST": f"127.0.0.1:{ca}",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_PVAS_SERVER_PORT": "0",
        "EPICS_PVAS_BROADCAST_PORT": str(pva),
        "EPICS_PVA_ADDR_LIST": f"127.0.0.1:{pva}",
        "EPICS_PVA_AUTO_ADDR_LIST": "NO",
    }
    with ExitStack() as stack:
        twin = Program(
            [
                "-m", "concertino.cli", "twin", "--epics", "TWIN:", "--pva", "TWINPVA:",
                "--tango", str(tango), "--shape", "32x64", "--no-noise", "--truth", str(truth),
            ],
            environment,
            directory / "twin.log",
        )  # fmt: skip
        stack.callback(twin.end)
        until_s = time.monotonic() + _BEGINS_S
        while twin.line(until_s - time.monotonic()) != "ready":
            pass
        program = Program(
            [
                "-m", "tests.twin.twin_scans", str(directory / "data"), str(truth), str(tango),
            ],
            {**environment, "EPICS_PVAS_BROADCAST_PORT": str(free_port())},
            directory / "scans.log",
        )  # fmt: skip
        stack.callback(program.end)
        assert program.line(_BEGINS_S) == '"ready"'
        yield program


@pytest.mark.disturbed_by_load(
    "where a motor is seen, and when, is told over a wire by two processes that must both be running then"
)
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(("motors", "frames"), WAYS)
def test_a_scan_of_the_twin_is_what_it_is_in_process(
    scans: Program, motors: str, frames: str, plan: str
) -> None:
    found = scans.ask(motors, frames, plan, PLANS[plan])

    assert found["error"] == ""
    assert found["status"] == "success"
    # What a user counts by hand: a spiral of 1.25 tomograms of 40 has 50.
    projections = {"step_tomography": 24, "continuous_tomography": 40}.get(plan, 50)
    counts = {"darks": 2, "flats": 2, "projections": projections}
    assert found["counts"] == counts
    assert {row[0] for row in found["ledger"]} == set(counts)
    for stream, triggered, exposed, got, acknowledged, dropped in found["ledger"]:
        told = (triggered, exposed, got, acknowledged, dropped)
        assert told == (*[counts[stream]] * 4, 0), found["ledger"]
    np.testing.assert_allclose(found["angles"], found["truth"], atol=0.05)
    assert found["heights_um"] < 0.5  # a tenth of a pixel
    assert found["apart"] < 0.01
    # So few projections give streaks of this size, in process, too.
    assert found["from_phantom"] < 0.15
