"""The fault harness finds what it is there to find: plans with one thing wrong each."""

import threading
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import pytest
from bluesky.utils import MsgGenerator

from concertino.testing import (
    PlanFault,
    check_every_end,
    check_safe_end,
    describe_message,
    fault_positions,
    plan_messages,
    run_with_fault,
)
from tests.plans.laboratory import Laboratory


class Workshop(Laboratory):
    """Plans that a careless author would write; all of them are fine when nothing goes wrong."""

    def shine(self) -> MsgGenerator[None]:
        yield from bps.mv(self.beamline.shutter, True)
        yield from bps.null()
        yield from bps.mv(self.beamline.shutter, False)

    def beam_left_on(self) -> MsgGenerator[None]:
        yield from self.recorded(self.shine())

    def recorded(self, plan: MsgGenerator[None]) -> MsgGenerator[None]:
        yield from bpp.run_wrapper(plan, md=self.directories.new().metadata())

    def hidden_error(self) -> MsgGenerator[None]:
        def clumsy() -> MsgGenerator[None]:
            yield from bps.null()
            raise KeyError("in the cleaning up")

        def inner() -> MsgGenerator[None]:
            yield from bpp.contingency_wrapper(bps.null(), except_plan=lambda _: clumsy())

        yield from self.recorded(inner())

    def swallowed_error(self) -> MsgGenerator[None]:
        def inner() -> MsgGenerator[None]:
            try:
                yield from bps.null()
            except Exception:
                yield from bps.null()

        yield from self.recorded(inner())

    def setting_left(self) -> MsgGenerator[None]:
        velocity = self.beamline.rotation.velocity

        def inner() -> MsgGenerator[None]:
            yield from bps.mv(velocity, 12.0)
            yield from bps.mv(velocity, 360.0)

        yield from self.recorded(inner())

    def silent_run(self) -> MsgGenerator[None]:
        yield from bps.open_run(md=self.directories.new().metadata())
        try:
            yield from bps.null()
        except Exception:
            yield from bps.close_run(exit_status="fail", reason="something happened")
            raise
        yield from bps.close_run()

    def thread_left(self) -> MsgGenerator[None]:
        finished = threading.Event()
        threading.Thread(target=finished.wait, name="left over", args=(30,)).start()
        yield from bps.null()
        finished.set()


@pytest.mark.parametrize(
    ("plan", "strike", "kind", "complaint"),
    [
        (
            "beam_left_on",
            "wait",  # At the end of it the shutter is open; after the set alone it need not be.
            "raise after",
            "The beam is on after: raise after at message",
        ),
        ("beam_left_on", "wait", "halt", "The beam is on after: halt at message"),
        ("hidden_error", "null", "raise before", "KeyError('in the cleaning up') hides the first"),
        ("swallowed_error", "null", "raise before", "None hides the first error"),
        (
            "setting_left",
            "set rotation-velocity",
            "raise after",
            "{'velocity': (360.0, 12.0)} changed",
        ),
        ("silent_run", "null", "raise before", "the run's reason is 'something happened'"),
        ("thread_left", "null", "raise before", "threads ('left over',) are left"),
    ],
)
def test_what_is_wrong_is_found(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plan: str,
    strike: str,
    kind: Any,
    complaint: str,
) -> None:
    monkeypatch.setattr("concertino.testing._plan_faults._PATIENCE_S", 1.0)
    workshop = Workshop(tmp_path)
    bench = workshop.bench(getattr(workshop, plan))
    messages = plan_messages(bench)  # Nothing is wrong when nothing happens.
    position = [describe_message(message) for message in messages].index(strike)
    outcome = run_with_fault(bench, PlanFault(position, kind))
    with pytest.raises(AssertionError) as caught:
        check_safe_end(outcome)
    assert complaint in str(caught.value)
    workshop.RE(
        bps.mv(workshop.beamline.shutter, False, workshop.beamline.rotation.velocity, 360.0)
    )
    workshop.close()


def test_every_end_is_tried_until_one_is_not_safe(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    ends: list[str] = []
    with pytest.raises(AssertionError, match=r"The beam is on after: raise before at message [23]"):
        check_every_end(
            workshop.bench(workshop.beam_left_on),
            ready=lambda: workshop.RE(bps.mv(workshop.beamline.shutter, False)),
            then=lambda outcome: ends.append(outcome.where),
        )
    assert ends
    workshop.close()


def test_positions_are_one_of_each_message_in_each_stream(laboratory: Laboratory) -> None:
    messages = plan_messages(laboratory.bench(lambda: laboratory.plan("step_tomography")))
    assert fault_positions(messages) == list(range(len(messages)))
    chosen = [describe_message(messages[i]) for i in fault_positions(messages, every=False)]
    assert chosen.count("kickoff camera") == 2  # Of the darks and of the flats.
    assert chosen.count("trigger camera") == 1
    assert chosen.count("set rotation") == 4  # To the start, and to each angle.


@pytest.mark.parametrize(
    ("fault", "where"),
    [
        (PlanFault(10_000, "abort"), "abort at message 10000, which did not come"),
        (
            PlanFault(0, "abort", "open_run", 4),
            "abort at the message 'open_run', number 5 of these, which did not come",
        ),
    ],
)
def test_a_message_that_does_not_come(laboratory: Laboratory, fault: PlanFault, where: str) -> None:
    outcome = run_with_fault(laboratory.bench(lambda: laboratory.plan("radiography")), fault)
    check_safe_end(outcome)
    assert not outcome.injected
    assert outcome.where == where
