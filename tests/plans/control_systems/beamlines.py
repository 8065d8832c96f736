"""A control system in one process and plans with its motors in another, on ports of their own."""

import itertools
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from caproto.sync.client import write

from tests.ports import free_port

from .relay import Relay

HERE = Path(__file__).parent
_BEGINS_S = 240.0
_SCANS_S = 180.0


class Scans:
    """Runs plans with motors of a control system."""

    def __init__(self, kind: str, process: "subprocess.Popen[str]", truth: Path, log: Path) -> None:
        self.kind = kind
        self._process, self._truth, self._log = process, truth, log
        self.environment: dict[str, str] = {}
        self.server = process
        self.prefix = ""
        self.beam_server = process
        self.relay: Relay | None = None
        #: At which port each device of Tango is.
        self.ports: dict[str, int] = {}

    def answer(self, within_s: float) -> Any:
        assert self._process.stdout is not None
        until_s = time.monotonic() + within_s
        said = select.poll()
        said.register(self._process.stdout, select.POLLIN)
        while time.monotonic() < until_s:
            if said.poll(1000):
                line = self._process.stdout.readline()
                assert line, self._log.read_text()
                if line.startswith(("{", '"ready')):
                    return json.loads(line)
        raise AssertionError(f"no answer within {within_s} s: {self._log.read_text()}")

    def begin(self, plan: str, **parameters: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([plan, parameters]) + "\n")
        self._process.stdin.flush()

    def end(self, number: int) -> int:
        """Send the program a signal; return its exit code."""
        self._process.send_signal(number)
        return self._process.wait(_SCANS_S)

    def moves(self, motor: str, *, ended: bool = False) -> list[list[Any]]:
        """Return the moves of a motor, as `motor_ioc.py` notes them: their begins, or their ends."""
        path = self._truth.with_name(self._truth.name + ".ends") if ended else self._truth
        lines = path.read_text().splitlines() if path.exists() else []
        return [move for move in map(json.loads, lines) if move[0].endswith(motor)]

    def run(self, plan: str, **parameters: Any) -> dict[str, Any]:
        self.begin(plan, **parameters)
        found: dict[str, Any] = self.answer(_SCANS_S)
        return found

    def put(self, pv: str, value: object) -> None:
        """Put a value to a PV by a client of its own."""
        with pytest.MonkeyPatch.context() as patch:
            for name, given in self.environment.items():
                if name.startswith("EPICS_"):
                    patch.setenv(name, given)
            write(self.prefix + pv, value, notify=True, timeout=30, repeater=False)

    def beam(self) -> list[bool]:
        """Return how the shutters have turned, in this order; what did not change it is left out."""
        path = self._truth.with_name(self._truth.name + ".beam")
        lines = path.read_text().splitlines() if path.exists() else []
        told = [json.loads(line)[-1] for line in lines]
        return [state for state, _ in itertools.groupby(told)]

    def tell(self, device: str, fault: str) -> None:
        """Have a device of a Tango server fail, or not: ``none``."""
        import tango

        address = f"tango://127.0.0.1:{self.ports[device]}/{device}#dbase=no"
        tango.DeviceProxy(address).write_attribute("fault", fault)

    def kill_server(self) -> None:
        """Kill the control system's program."""
        self.server.kill()
        self.server.wait(30)

    def closed_s(self) -> float:
        """Return when the shutter closed last; 0 as long as it is open."""
        when_s, on = self._turned()
        return 0.0 if on else when_s

    def sweeps(self) -> bool:
        """Whether the rotation has begun a long way since the shutter opened."""
        when_s, on = self._turned()
        return on and any(begin_s > when_s and way > 40 for _, begin_s, _, _, way, *_ in self.moves("rot"))  # fmt: skip

    def _turned(self) -> tuple[float, bool]:
        """Return when the shutter turned last, and whether it opened."""
        path = self._truth.with_name(self._truth.name + ".beam")
        lines = path.read_text().splitlines() if path.exists() else []
        _, when_s, on = json.loads(lines[-1]) if lines else ("", 0.0, False)
        return float(when_s), bool(on)

    def position(self, when_s: float, motor: str = "rot") -> float:
        """Return where a rotation truly was, in deg, as the control system's program noted its moves."""
        position = 0.0
        for line in self._truth.read_text().splitlines():
            name, begin_s, begin, sign, way, peak, gains_s = json.loads(line)
            if not name.endswith(motor) or begin_s > when_s or not way:
                continue
            since_s, left_s = when_s - begin_s, begin_s + gains_s + way / peak - when_s
            gone = peak * (since_s - gains_s / 2)
            if left_s <= 0:
                gone = way
            elif since_s < gains_s:
                gone = peak * since_s**2 / gains_s / 2
            elif left_s < gains_s:
                gone = way - peak * left_s**2 / gains_s / 2
            position = begin + sign * gone
        return position


@contextmanager
def beamline(
    kind: str, directory: Path, readback_hz: float = 50.0, egu: str = "deg", apart: bool = False
) -> Iterator[Scans]:
    """Start a control system and a program that scans with its motors.

    Apart, the shutter is on a server of its own, and a network that can be cut is between the program and the motors.
    """
    port, truth, log = free_port(), directory / "truth", directory / "log"
    beam_port, told_port, relay = free_port(), port, None
    truth.touch()
    if apart:
        relay = Relay(port, channel_access=kind != "tango")
        told_port = relay.port
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "TRUTH": str(truth),
        "EPICS_CA_ADDR_LIST": f"127.0.0.1:{told_port} 127.0.0.1:{beam_port}",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_CA_SERVER_PORT": str(port),
        "EPICS_CA_REPEATER_PORT": str(free_port()),
        # Of what is lost nobody waits for long.
        "SHUTTER_PATIENCE_S": "2" if apart else "10",
    }
    prefix = f"p{port}:"
    server = ["motor_ioc.py", prefix, str(readback_hz), egu]
    target, shutter = prefix, f"b{beam_port}:" if apart else prefix
    beam_server = ["motor_ioc.py", shutter, *server[2:]]
    if kind == "tango":
        server = ["motor_server.py", str(port), str(readback_hz)]
        beam_server = ["motor_server.py", str(beam_port), str(readback_hz)]
        target, shutter = str(told_port), str(beam_port if apart else port)
    processes: list[subprocess.Popen[str]] = []
    with log.open("w") as said:

        def begin(*command: str, **pipes: Any) -> "subprocess.Popen[str]":
            process = subprocess.Popen(
                [sys.executable, str(HERE / command[0]), *command[1:]],
                env=environment, stderr=said, text=True, **pipes,
            )  # fmt: skip
            processes.append(process)
            return process

        try:
            begun = {port: begin(*server, stdout=said)}
            if apart:
                environment["EPICS_CA_SERVER_PORT"] = str(beam_port)
                begun[beam_port] = begin(*beam_server, stdout=said)
            until_s = time.monotonic() + _BEGINS_S
            for listens, process in begun.items():
                while not _listens(listens):
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < until_s, log.read_text()
                    time.sleep(0.1)
            data = directory / "data"
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            scans = Scans(
                kind, begin("scans.py", kind, str(data), target, shutter, **pipes), truth, log
            )
            scans.environment, scans.server, scans.prefix = environment, begun[port], prefix
            scans.beam_server, scans.relay = begun.get(beam_port, begun[port]), relay
            scans.ports = {"t/motor/rot": port, "t/switch/shutter": beam_port if apart else port}
            assert scans.answer(_BEGINS_S) == "ready"
            yield scans
        finally:
            for process in reversed(processes):
                process.kill()
                process.communicate()
            if relay is not None:
                relay.end()


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        tried.settimeout(1.0)
        return tried.connect_ex(("127.0.0.1", port)) == 0
