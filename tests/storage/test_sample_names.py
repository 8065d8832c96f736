"""The name that an NXtomo file gives a sample, whatever the user called it by."""

from typing import Any

import pytest

from concertino.storage.export._nxtomo import _name_of


@pytest.mark.parametrize(
    ("sample", "name"),
    [
        ("tooth", "tooth"),
        (None, ""),
        ({"name": "tooth", "age": 40}, "tooth"),
        ({"species": "ant", "leg": 3}, "species ant, leg 3"),
        ({}, ""),
    ],
)
def test_the_name_of_a_sample(sample: Any, name: str) -> None:
    assert _name_of(sample) == name
