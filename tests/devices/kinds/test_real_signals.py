"""The same three lines over EPICS by ophyd and ophyd-async, and over Tango: real servers, in processes of their own."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port

HERE = Path(__file__).parent
_WITHIN_S = 240.0


def listens(port: int) -> bool:
    with socket.socket() as tried:
        tried.settimeout(1.0)
        return tried.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classic", "async", "tango"])
def test_a_scan_knows_its_optics_from_a_control_system(kind: str, tmp_path: Path) -> None:
    port = free_port()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "EPICS_CA_ADDR_LIST": "127.0.0.1",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_CA_SERVER_PORT": str(port),
        "EPICS_CA_REPEATER_PORT": str(free_port()),
    }

    def program(name: str, system: str) -> list[str]:
        return [sys.executable, str(HERE / name), system, str(port)]

    log = tmp_path / "log"
    with log.open("w") as said:
        server = subprocess.Popen(
            program("optics_server.py", "tango" if kind == "tango" else "epics"),
            env=environment, stdout=said, stderr=said,
        )  # fmt: skip
        try:
            until_s = time.monotonic() + _WITHIN_S
            while not listens(port):
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < until_s, log.read_text()
                time.sleep(0.1)
            done = subprocess.run(
                program("optics_scan.py", kind), env=environment, stdout=subprocess.PIPE,
                stderr=said, text=True, timeout=_WITHIN_S, check=False,
            )  # fmt: skip
            assert done.returncode == 0, log.read_text()
        finally:
            server.kill()
            server.wait()
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    tomo, baseline = found["tomo"], found["baseline"]
    assert tomo["energy_kev"] == pytest.approx(24.797)
    assert tomo["pixel_size_um"] == pytest.approx(0.5)  # the detector's 5 um, by 10x
    assert tomo["propagation_distance_mm"] == pytest.approx(150)
    assert baseline["lens_changer-objective"] == "10x"
    assert baseline["monochromator-energy-setpoint"] == pytest.approx(24.797)
    assert baseline["monochromator-energy-low_limit"] == pytest.approx(4)
    assert baseline["monochromator-energy-high_limit"] == pytest.approx(60)
    assert found["values"] == pytest.approx([24.797] * 8)
    assert found["unit"] == "keV"
