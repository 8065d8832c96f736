"""How far a plan in the background is, and what it has left."""

from dataclasses import dataclass
from typing import Protocol

from concertino import ReconstructionError
from concertino.reconstruction import ReconstructionResult

_RECONSTRUCTION_S = 600.0


class Made(Protocol):
    """What a live reconstruction makes of one run, whatever runs follow."""

    def wait(self, timeout_s: float | None = None) -> ReconstructionResult:
        """Wait for it."""


@dataclass(frozen=True)
class BackgroundProgress:
    """How far a run in the background is.

    Attributes
    ----------
    state : {"running", "paused", "finished", "failed", "aborted"}
        Of the plan.
    run, stream : str
        The newest run, and its newest stream with frames or events; "" when there is none.
    acquired : int
        Frames or events of that stream that are documented.
    total : int or None
        So many are to come; None when nobody says.
    """

    state: str
    run: str = ""
    stream: str = ""
    acquired: int = 0
    total: int | None = None

    def __str__(self) -> str:
        of = "" if self.total is None else f" of {self.total}"
        what = f": {self.stream} {self.acquired}{of}" if self.stream else ""
        return f"{self.run or 'no run yet'}, {self.state}{what}"


class RunResult:
    """What a plan in the background has left.

    Attributes
    ----------
    uids : tuple of str
        Of the runs that it made, in order.
    exit_status, reason : str
        Of the last of them, as its stop document says.
    """

    def __init__(
        self,
        uids: tuple[str, ...],
        exit_status: str,
        reason: str,
        made: Made | BaseException | None,
    ) -> None:
        self.uids, self.exit_status, self.reason = uids, exit_status, reason
        self._made = made

    @property
    def uid(self) -> str:
        """The uid of the last run; "" when the plan made none."""
        return self.uids[-1] if self.uids else ""

    @property
    def reconstruction(self) -> ReconstructionResult | None:
        """What the session's live reconstruction made of the last of these runs that it takes, waited for.

        None without one. It stays in memory as long as this does.

        Raises
        ------
        ReconstructionError
            If it failed, or has not ended within ten minutes.
        """
        if isinstance(self._made, BaseException):
            raise ReconstructionError(
                f"Run {self.uid} was not reconstructed live: {self._made} Reconstruct the stored run with "
                "concertino reconstruct."
            ) from self._made
        return None if self._made is None else self._made.wait(_RECONSTRUCTION_S)

    def __repr__(self) -> str:
        return f"<{', '.join(self.uids) or 'no run'}: {self.exit_status or 'no documents'}>"
