"""What many plans say of their parameters stands in each docstring, with kind and sentences."""

import inspect

import pytest

from concertino import plans

PLANS = (
    "align_rotation_axis", "continuous_spiral_tomography", "continuous_tomography", "find_rotation_axis",
    "grating_stepping", "radiography", "retrospective_radiography", "step_spiral_tomography", "step_tomography",
)  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_every_parameter_has_a_kind_and_a_sentence(name: str) -> None:
    plan = getattr(plans, name)
    doc = inspect.getdoc(plan)
    assert doc is not None
    section = doc.partition("Parameters\n----------\n")[2].partition("\n\n")[0].splitlines()
    told: dict[str, str] = {}
    names: list[str] = []
    for line in section:
        head, colon, kind = line.partition(" : ")
        if line.startswith("    "):
            told |= dict.fromkeys(names, f"{told[names[0]]} {line.strip()}".strip())
        else:
            assert colon, line
            assert kind, line
            names = head.split(", ")
            told |= dict.fromkeys(names, "")
    assert list(told) == list(inspect.signature(plan).parameters)
    for name, text in told.items():
        assert text.endswith("."), name


def test_what_is_given_in_a_unit_says_in_which() -> None:
    doc = inspect.getdoc(plans.step_spiral_tomography)
    assert doc is not None
    assert (
        "flat_position : quantity\n"
        "    Where the stage holds the sample out of the beam; a plain number is in the stage's unit.\n"
        "start_position_vertical : quantity\n"
    ) in doc
