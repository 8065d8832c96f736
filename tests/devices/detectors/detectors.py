"""Detectors that write their own files, and scans with them on a simulated beamline."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bluesky.utils import MsgGenerator
from ophyd_async.core import (
    DetectorTriggerLogic,
    StaticPathProvider,
    UUIDFilenameProvider,
    init_devices,
)
from ophyd_async.epics.adcore import (
    ADAcquireLogic,
    ADBaseIO,
    ADImageMode,
    ADWriterFactory,
    AreaDetector,
)

from concertino.devices import SimulatedBeamline
from concertino.plans import continuous_tomography, radiography, step_tomography
from concertino.session import Session, open_session
from concertino.storage import Run, open_run
from tests.channel_access import IOC_PORTS
from tests.ports import free_port

IOC = Path(__file__).parent / "detector_ioc.py"
PLANS = ("radiography", "step_tomography", "continuous_tomography")
_BEGINS_S = 120.0
_COUNTS: dict[str, Any] = {
    "num_darks": 2, "num_flats": 2, "radio_position": "0 mm", "flat_position": "1 mm",
}  # fmt: skip


class Scans:
    """A session over a simulated beamline, whose camera is given to each scan."""

    def __init__(self, root: Path) -> None:
        self.root, self.files = root / "runs", root / "files"
        self.files.mkdir()
        self.beamline = SimulatedBeamline(shape=(16, 24), exposure=0.0)
        self._session: Any = open_session(self.root, progress=False, catalog=False)
        self.session: Session = self._session.__enter__()

    def close(self) -> None:
        self._session.__exit__(None, None, None)

    def plan(
        self, name: str, camera: Any, num_projections: int = 8, **more: Any
    ) -> MsgGenerator[Any]:
        b, given = self.beamline, {**_COUNTS, "num_projections": num_projections, **more}
        if name == "radiography":
            return radiography(camera, b.beam, b.sample_stage, **given)
        given.setdefault("angular_range", "10 deg")
        plan = step_tomography if name == "step_tomography" else continuous_tomography
        return plan(camera, b.rotation, b.beam, b.sample_stage, **given)

    def run(self, name: str, camera: Any, **more: Any) -> Run:
        self.session.RE(self.plan(name, camera, **more))
        return self.last()

    def last(self) -> Run:
        return open_run(max(self.root.glob("scan_????")))

    def beam_is_on(self) -> bool:
        return self.beamline.shutter.is_open or self.beamline.tube.is_on

    def written(self) -> list[str]:
        """Return the names of all files that the session made, but for the record, the log, and who is here."""
        own = {"documents.jsonl", "run.log", ".scan_id"}
        return [
            path.name
            for path in self.root.rglob("*")
            if path.is_file() and path.name not in own and path.parent.name != ".sessions"
        ]


class InternalTriggers(DetectorTriggerLogic):
    """As of areaDetector's drivers."""

    def __init__(self, driver: ADBaseIO) -> None:
        self._driver = driver

    async def prepare_internal(self, num: int, livetime: float, deadtime: float) -> None:
        driver = self._driver
        await driver.image_mode.set(ADImageMode.MULTIPLE if num else ADImageMode.CONTINUOUS)
        await driver.num_images.set(num)
        await driver.acquire_time.set(livetime)
        await driver.acquire_period.set(livetime + deadtime)


class Iocs:
    """Starts IOCs, one after the other, where this process looks for them."""

    def __init__(self) -> None:
        self._port, self._made = IOC_PORTS["detectors"], 0

    @contextmanager
    def detector(
        self,
        writer: Callable[[Any], Any],
        files: Path,
        *more_writers: Callable[[Any], Any],
        **told: Any,
    ) -> Iterator[AreaDetector[ADBaseIO]]:
        """Start an IOC and connect to its detector; `told` are its faults and its shape."""
        self._made += 1
        prefix = f"d{os.getpid()}n{self._made}:"
        ports = {
            "EPICS_CA_SERVER_PORT": str(self._port), "EPICS_CAS_BEACON_PORT": str(free_port()),
            "EPICS_CAS_INTF_ADDR_LIST": "127.0.0.1",
        }  # fmt: skip
        program = [sys.executable, str(IOC), json.dumps({"prefix": prefix, **told})]
        log = files.parent / f"ioc{self._made}.log"
        with log.open("w") as said:
            process = subprocess.Popen(
                program, env={**os.environ, **ports}, stdout=said, stderr=said
            )
        try:
            _until_it_listens(self._port, process, log)
            with init_devices(timeout=_BEGINS_S):
                driver = ADBaseIO(f"{prefix}cam1:")
                paths = StaticPathProvider(UUIDFilenameProvider(), files)
                detector = AreaDetector(
                    driver, prefix, *(each(paths) for each in (writer, *more_writers)),
                    acquire_logic=ADAcquireLogic(driver), trigger_logic=InternalTriggers(driver), name="det",
                )  # fmt: skip
            yield detector
        finally:
            process.kill()
            process.wait(10)


def _until_it_listens(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until_s = time.monotonic() + _BEGINS_S
    while time.monotonic() < until_s:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(log.read_text())


WRITERS: dict[str, Callable[[Any], Any]] = {
    "hdf": ADWriterFactory.hdf, "tiff": ADWriterFactory.tiff, "jpeg": ADWriterFactory.jpeg,
}  # fmt: skip
