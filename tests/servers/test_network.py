"""Camera, writer and session on three hosts of their own; a cable that is pulled."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from concertino.storage import open_run

from .conftest import PROGRAM
from .hosts import Hosts, hosts, why_not

WHY_NOT = why_not()
pytestmark = [
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
    pytest.mark.disturbed_by_load(
        "three hosts' processes give signs of life, and are given up when these come late"
    ),
]


class Network:
    """The three hosts with their servers."""

    def __init__(self, made: Hosts, directory: Path) -> None:
        self.hosts = made
        self.directory = directory
        self.processes: list[subprocess.Popen[str]] = []
        camera = ("camera", "--source", "simulated", "--shape", "64x64")
        self.serve("camera", *camera)
        self.serve("writer", "writer", "--directory", str(directory / "writer"))

    def start(self, host: str, *command: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            self.hosts.command(host, sys.executable, *command),
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self.processes.append(process)
        return process

    def serve(self, host: str, *command: str) -> None:
        log = str(self.directory / f"{host}.log")
        self.start(
            host, "-c", PROGRAM, "tango", *command, "--port", "7001",
            "--host", self.hosts.address(host), "--lease", "4", "--log", log,
        )  # fmt: skip

    def radiography(self, frames: int, rate: float) -> "subprocess.Popen[str]":
        process = self.start(
            "session",
            str(Path(__file__).with_name("network_session.py")),
            f"{self.hosts.address('camera')}:7001",
            f"{self.hosts.address('writer')}:7001",
            str(self.directory / "session"),
            str(frames),
            str(rate),
        )
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == "running"
        return process


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    with hosts("camera", "writer", "session") as made:
        network = Network(made, tmp_path)
        try:
            yield network
        finally:
            for process in network.processes:
                process.kill()
                process.communicate()


def result_of(process: "subprocess.Popen[str]") -> dict[str, Any]:
    out, _ = process.communicate(timeout=240)
    return dict(json.loads(out.splitlines()[-1]))


@pytest.mark.slow
def test_a_run_across_three_hosts(network: Network) -> None:
    found = result_of(network.radiography(200, 200.0))
    assert (found["status"], found["reason"], found["beam"]) == ("success", "", False)
    run = open_run(network.directory / "writer" / "scan_0001")
    assert run.exit_status == "success"
    assert run.frames("projections").shape == (200, 64, 64)
    assert not list((network.directory / "session").rglob("*.tif"))


@pytest.mark.slow
def test_a_cable_that_is_pulled_fails_the_run_with_the_beam_off(network: Network) -> None:
    process = network.radiography(2000, 50.0)
    stored = network.directory / "writer" / "scan_0001" / "projections"
    deadline_s = time.monotonic() + 240
    while len(list(stored.glob("*.tif"))) < 50:
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    network.hosts.set_link("writer", up=False)
    found = result_of(process)
    assert found["status"] == "fail"
    assert "writer" in found["reason"]
    assert found["beam"] is False
    assert found["seconds"] < 40
    # What the writer stored before is whole, and its record says how far it came and why it ended.
    network.hosts.set_link("writer", up=True)
    run = open_run(network.directory / "writer" / "scan_0001")
    while run.exit_status in ("running", "incomplete"):
        assert time.monotonic() < deadline_s + 40
        time.sleep(0.2)
        run = open_run(network.directory / "writer" / "scan_0001")
    assert run.exit_status == "abort"
    assert "not heard of" in run.reason
    frames = run.frames("projections")
    assert len(frames) == len(list(stored.glob("*.tif"))) >= 50
    assert frames.unreadable() == ()
