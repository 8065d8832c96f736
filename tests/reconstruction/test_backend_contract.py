"""The contract of back ends, on each that is here."""

import pytest

from concertino.reconstruction import Backend, backends
from concertino.testing import BackendContract

from .available import need_backend


class TestCpu(BackendContract):
    name = "cpu"


class TestUfo(BackendContract):
    name = "ufo"

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _kept(cls) -> tuple[Backend, ...]:
        need_backend("ufo")
        # holds UFO's process, so that not every test starts one
        return backends()


class TestAstra(BackendContract):
    name = "astra"
    tolerance = 0.012  # on a processor it interpolates along rows or columns of the image
    steps = (1.0,)

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _is_here(cls) -> None:
        need_backend("astra")
