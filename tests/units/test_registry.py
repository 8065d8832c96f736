import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import pint
import pytest

import concertino.units
from concertino.units import q, ureg


def test_one_registry_in_every_thread() -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: id(concertino.units.q), range(64)))

    assert found == {id(q)} == {id(ureg)}


def test_it_is_the_application_registry() -> None:
    assert pint.Quantity(3, "px") == 3 * q.px
    assert pickle.loads(pickle.dumps(3 * q.px)) == 3 * q.px


def test_units_of_imaging() -> None:
    assert (3 * q.px).dimensionality == {"[pixel]": 1}
    assert (90 * q.deg).dimensionality == {"[angle]": 1}
    assert (100 * q.frame / q.s).to("Hz").magnitude == 100
    assert (5 * q.percent).to("").magnitude == pytest.approx(0.05)


def test_importing_the_package_does_not_import_pint() -> None:
    code = "import concertino.units, sys; sys.exit('pint' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_queue_server_can_check_the_alias() -> None:
    assert get_args(concertino.units.QuantityLike) == (float, str, dict)
