"""What devices are asked while a plan waits for them: one that hangs may answer nothing either."""

from collections.abc import Callable
from typing import Any

from bluesky.utils import MsgGenerator

from concertino.plans.core._deadlines import deadlines
from concertino.plans.core._device_queries import DeviceQuery, outcome


class _Glance(DeviceQuery):
    """A question that a device need not answer: one that hangs, or fails, counts as having said something else."""

    def __init__(self, question: Callable[[], Any], otherwise: object, within_s: float) -> None:
        super().__init__(question, "A device was asked how far it is", within_s)
        self._otherwise = otherwise

    async def _do(self) -> Any:
        try:
            return await super()._do()
        except Exception:
            return self._otherwise


def glance(
    question: Callable[[], Any], otherwise: object, within_s: float | None = None
) -> MsgGenerator[Any]:
    """Return what a device answers, or something else; what befalls the plan meanwhile is raised."""
    limits = deadlines()
    within_s = within_s or min(limits.answer_s, limits.silent_s)
    return (yield from outcome(_Glance(question, otherwise, within_s)))
