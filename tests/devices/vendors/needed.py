"""Skip tests of cameras whose libraries are not here, or fail them where they have to be."""

import os
import shutil
from functools import cache
from importlib.util import find_spec

import pytest

from concertino import MissingExtraError
from concertino.devices.vendors._aravis import load_aravis

REQUIRED = "CONCERTINO_REQUIRE"
"""Environment variable: names, apart by commas, of what must not be skipped."""

FAKE_CAMERA = "arv-fake-gv-camera-0.8"


@cache
def _missing(name: str) -> str:
    if name == "micromanager":
        lacking = [one for one in ("pymmcore_plus", "mm_test_adapters") if find_spec(one) is None]
        return f"the packages {', '.join(lacking)} are not installed" if lacking else ""
    if shutil.which(FAKE_CAMERA) is None:
        return f"{FAKE_CAMERA} is not installed; it comes with Debian's aravis-tools"
    try:
        load_aravis()
    except MissingExtraError as error:
        return str(error)
    return ""


def need(name: str) -> None:
    """Skip the test when ``genicam`` or ``micromanager`` cannot be tested; fail it when that is required."""
    if reason := _missing(name):
        if name in os.environ.get(REQUIRED, "").split(","):
            pytest.fail(f"{REQUIRED} names {name}, but {reason}")
        pytest.skip(f"{name}: {reason}")
