import pytest

from concertino import DocumentError
from concertino.documents import GratingBlock


def test_a_block_survives_json() -> None:
    block = GratingBlock(
        period_um=2.4, num_periods=2, num_steps_per_period=8, start_um=-1, stepping="g2"
    )

    assert GratingBlock.from_start({"grating": block.model_dump(mode="json")}) == block
    assert block.num_steps == 16


def test_a_run_without_one() -> None:
    with pytest.raises(DocumentError) as caught:
        GratingBlock.from_start({"uid": "0123456789", "plan_name": "radiography"})

    assert str(caught.value) == (
        "Run 01234567 (plan 'radiography') has no grating block, so it is no phase stepping. "
        "Record it with concertino.plans.grating_stepping."
    )


def test_a_wrong_one() -> None:
    block = {"period_um": -1, "num_steps_per_period": 8, "start_um": 0, "stepping": "g2"}
    with pytest.raises(DocumentError, match=r"its grating block is wrong: period_um: Input should"):
        GratingBlock.from_start({"uid": "0123456789", "grating": block})


def test_a_newer_one_is_not_judged() -> None:
    with pytest.raises(
        DocumentError, match=r"^Run 01234567: the grating block is of version 2, and"
    ):
        GratingBlock.from_start({"uid": "0123456789", "grating": {"version": 2, "novelty": 1}})
