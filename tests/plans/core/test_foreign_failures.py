"""Devices of other libraries that fail with a text of their own: what a user reads then."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bluesky.utils import FailedStatus
from ophyd_async.core import AsyncStatus, WatchableAsyncStatus, WatcherUpdate

from concertino import DeviceError
from concertino.devices import SimulatedMotor, SimulatedShutter
from concertino.plans.core._device_queries import DeviceQuery
from tests.plans.laboratory import Laboratory, patience

pytestmark = pytest.mark.disturbed_by_load(
    "a deadline of 0.3 s holds for devices that do answer, too"
)

SPEED: dict[str, Any] = {"velocity": 100.0, "max_velocity": 100.0}


class BrokenShutter(SimulatedShutter):
    """A shutter that fails to open, in the words of its controller."""

    @AsyncStatus.wrap
    async def set(self, value: bool | str) -> None:
        if value is True:
            raise RuntimeError("hutch 2 is not searched.")
        self._turned(bool(value))


class BrokenMotor(SimulatedMotor):
    """A motor as of ophyd-async, whose move fails on its way."""

    @WatchableAsyncStatus.wrap
    async def set(self, value: float, timeout: Any = None) -> AsyncIterator[WatcherUpdate[float]]:
        yield WatcherUpdate(name=self.name, current=0.0, initial=0.0, target=float(value))
        await asyncio.sleep(0.01)
        raise TimeoutError


class RefusingMotor(SimulatedMotor):
    """A motor as of ophyd, whose set itself raises."""

    def set(self, value: float, timeout: Any = None) -> Any:
        raise ValueError("value outside of limits (-1, 0)")


@pytest.mark.parametrize(
    ("what", "wanted"),
    [
        (
            "beam",
            ("gate was to switch on and failed", "RuntimeError: hutch 2 is not searched. Check"),
        ),
        ("motor", ("lift was to move to 1 and failed: TimeoutError",)),
    ],
)
def test_a_device_of_another_library_fails(
    laboratory: Laboratory, what: str, wanted: tuple[str, ...]
) -> None:
    beam = BrokenShutter(name="gate") if what == "beam" else None
    stage = BrokenMotor("mm", name="lift", **SPEED) if what == "motor" else None
    given = {} if stage is None else {"sample_stage": stage}
    with pytest.raises(DeviceError) as caught:
        laboratory.run("step_tomography", beam=beam, **given)
    # Those who know bluesky's error only, and those who want what the device raised, are served as before.
    assert isinstance(caught.value, FailedStatus)
    assert isinstance(caught.value.__cause__, RuntimeError if beam else TimeoutError)
    stop = laboratory.documents[-1][1]
    assert stop["exit_status"] == "fail"
    for text in (str(caught.value), stop["reason"]):
        assert "AsyncStatus" not in text, text
        assert all(each in text for each in wanted), text
        assert ".." not in text


def test_a_device_that_refuses_at_once_is_named(laboratory: Laboratory, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="outside of limits") as caught:
        laboratory.run("step_tomography", sample_stage=RefusingMotor("mm", name="lift", **SPEED))
    assert "lift was to move to 1" in " ".join(caught.value.__notes__)
    assert "outside of limits (-1, 0)" in laboratory.documents[-1][1]["reason"]
    assert "lift was to move to 1" in laboratory.documents[-1][1]["reason"]


class MuteMotor(SimulatedMotor):
    """A motor that never tells its unit, as behind a connection that hangs."""

    async def describe(self) -> Any:
        await asyncio.sleep(3600)


def test_an_overdue_question_says_in_words_what_was_asked(laboratory: Laboratory) -> None:
    stage = MuteMotor("mm", name="lift", **SPEED)
    with patience(answer_s=0.3), pytest.raises(DeviceError) as caught:
        laboratory.run("step_tomography", sample_stage=stage)
    said = str(caught.value)
    assert said.startswith("lift was asked "), said
    assert not any(trace in said for trace in ("<", "lambda", "locals", "_")), said


async def _never() -> None:
    await asyncio.sleep(3600)


def test_whatever_is_asked_is_named() -> None:
    """Also what no device is behind: the sentence is given by who asks, never a function's name."""

    async def ask() -> None:
        await DeviceQuery(_never, "lift was asked for its unit", 0.05)()

    with pytest.raises(
        DeviceError, match=r"^lift was asked for its unit, and neither answered nor"
    ):
        asyncio.run(ask())
