"""An IOC for the tests of a process, which find it by Channel Access and by PV Access."""

import os
import time
from collections.abc import Iterator

import pytest

from concertino import CameraError
from concertino.devices import AreaDetectorCamera

from .detectors import PREFIX, Ioc, environment, put

RECONNECTS_S = 90.0
SIMULATED = {
    "Lose": 0,
    "LoseTo": 0,
    "FailAt": 0,
    "StopAt": 0,
    "HangAt": 0,
    "FirstId": 1,
    "Ahead": 0,
}


@pytest.fixture(scope="session")
def epics() -> Iterator[None]:
    """Have this process find its IOCs, and none else."""
    before = dict(os.environ)
    os.environ.update(environment())
    yield
    os.environ.clear()
    os.environ.update(before)


class Iocs:
    """The one IOC at a time; one that was killed is started again."""

    def __init__(self) -> None:
        self._ioc: Ioc | None = None

    def running(self, apart: bool = False) -> Ioc:
        """Return the IOC, with its frames' server apart from it or not."""
        ioc = self._ioc
        if ioc is None or ioc.process.poll() is not None or apart != (ioc.relay is not None):
            self.end()
            self._ioc = Ioc(apart)
        assert self._ioc is not None
        return self._ioc

    def kill(self) -> None:
        if self._ioc is not None:
            self._ioc.kill()

    def end(self) -> None:
        if self._ioc is not None:
            self._ioc.end()


@pytest.fixture(scope="session")
def iocs(epics: None) -> Iterator[Iocs]:
    made = Iocs()
    yield made
    made.end()


@pytest.fixture
def ioc(iocs: Iocs) -> Ioc:
    """Return an IOC that runs."""
    return iocs.running()


@pytest.fixture(params=["ca", "pva"])
def camera(ioc: Ioc, request: pytest.FixtureRequest) -> Iterator[AreaDetectorCamera]:
    """Return a camera whose driver is told by each protocol."""
    yield from made(request.param)


@pytest.fixture
def pva_camera(ioc: Ioc) -> Iterator[AreaDetectorCamera]:
    """Return a camera whose driver is told by PV Access."""
    yield from made("pva")


def made(control: str) -> Iterator[AreaDetectorCamera]:
    deadline_s = time.monotonic() + RECONNECTS_S
    while True:
        try:
            camera = AreaDetectorCamera(PREFIX, control=control, exposure=0.002, frame_rate=50)  # type: ignore[arg-type]
            break
        except CameraError:
            # Channel Access looks ever more rarely for an IOC that was killed, and was started again.
            if time.monotonic() > deadline_s:
                raise
    yield camera
    camera.source.stop()
    if ioc_answers(camera):
        for name, value in SIMULATED.items():
            put(camera, name, value)
        driver = camera.source._driver
        if driver.status().trouble:  # The simulated driver leaves its error when it acquires again.
            driver.begin()
            driver.wait(lambda: not driver.status().trouble, "it stays in trouble")
            driver.end()


def ioc_answers(camera: AreaDetectorCamera) -> bool:
    """Whether the IOC is there."""
    return bool(camera.source._driver._records.present(f"{PREFIX}cam1:Acquire"))
