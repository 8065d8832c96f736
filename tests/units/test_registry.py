import copy
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import numpy as np
import pytest

import concertino.units
from concertino.units import q, ureg


def test_one_registry_in_every_thread() -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: id(concertino.units.q), range(64)))

    assert found == {id(q)} == {id(ureg)}


def test_what_is_pickled_stays_in_it() -> None:
    for value in (3 * q.px, np.array([1.5, 2.0]) * q.frame / q.s, 2 * q.delta_degC):
        again = pickle.loads(pickle.dumps(value))
        assert np.all(again == value)
        assert type(again) is q.Quantity
    assert pickle.loads(pickle.dumps((3 * q.px).units)) == q.px
    assert copy.deepcopy(3 * q.px) == 3 * q.px


@pytest.mark.parametrize("ours_first", [True, False])
def test_the_units_of_other_packages_stay_what_they_are(ours_first: bool) -> None:
    theirs = """
import pint, math
keep = pint.get_application_registry()
assert math.isclose(float(90 * keep.degree), math.pi / 2)
"""
    ours = "from concertino.units import q; assert str((90 * q.deg).dimensionality) == '[angle]'\n"
    code = (
        (ours + theirs if ours_first else theirs + ours)
        + """
assert pint.get_application_registry() is keep
assert math.isclose(float(90 * keep.degree), math.pi / 2)
assert math.isclose(float(pint.Quantity(90, "deg")), math.pi / 2)
assert pint.Quantity("96 px").to("inch").magnitude == 1
"""
    )
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


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
