"""What a computer has for a scan: looked up outside of plans, which look at no disk and no memory."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from bluesky.utils import MsgGenerator

from concertino.plans._asides import Aside, with_answers
from concertino.storage import WriteRate


class Resources(Protocol):
    """What a preflight needs to know of the computer; `concertino.session.ComputerResources` is this one.

    Whoever rehearses a plan hands it in. None is the answer to what is not known, and is then not judged.
    """

    @property
    def place(self) -> str:
        """The data directory, as a message names it."""

    def disk_free_bytes(self) -> int | None:
        """Return the space in the data directory, in bytes."""

    def memory_free_bytes(self) -> int | None:
        """Return the memory that can be had, in bytes."""

    def write_rate(self, shape: tuple[int, int]) -> WriteRate | None:
        """Return how fast the data directory takes frames of a shape (height, width)."""

    def past_runs(self) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """Yield the start and stop documents of runs that went to their end, the newest first."""


class WhichResources(Aside[Resources]):
    """Asked before a scan runs; a session answers with what its computer has."""


class NothingKnown:
    """Resources of a computer of which nothing is known."""

    place = ""

    def disk_free_bytes(self) -> None:
        """Return None."""

    def memory_free_bytes(self) -> None:
        """Return None."""

    def write_rate(self, shape: tuple[int, int]) -> None:
        """Return None."""

    def past_runs(self) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """Yield nothing."""
        return iter(())


def with_resources(plan: MsgGenerator[Any], resources: Resources) -> MsgGenerator[Any]:
    """Pass a plan's messages on; a scan in it that asks what the computer has is told.

    Parameters
    ----------
    plan : generator of messages
        An imaging plan, or one that has some in it.
    resources : Resources
        What there is. A scan that needs more is refused before anything moves.
    """
    return with_answers(plan, WhichResources, lambda known: known or resources)
