"""The contract of a callback: a function of a name and a document, and what it may offer besides."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from concertino.documents import DocumentCallback
from concertino.reconstruction import ReconstructionSettings


@runtime_checkable
class SaysIfNecessary(Protocol):
    """Says whether a run cannot do without it. One that says nothing only looks."""

    @property
    def necessary(self) -> bool:
        """Whether a run fails with it."""


@runtime_checkable
class StoresFrames(Protocol):
    """Says whether it stores the frames of runs: a session warns of runs whose frames nobody stores."""

    @property
    def stores_frames(self) -> bool | None:
        """Whether it does; None when that is not known before they come."""


@runtime_checkable
class EmitsDocuments(Protocol):
    """Makes runs of its own, such as those of slices: a session has them in its catalogue."""

    def add_callback(self, callback: DocumentCallback) -> None:
        """Give the documents of its own runs to one more callback."""


@runtime_checkable
class WantsMonitors(Protocol):
    """Wants signals that are monitored in every run, as by ``bps.monitor``."""

    @property
    def monitors(self) -> Iterable[Any]:
        """The signals."""


class PauseTicket(Protocol):
    """A request to pause, which whoever made it may take back."""

    def release(self) -> None:
        """Let the scan go on, as far as this request is concerned."""


class PauseSwitch(Protocol):
    """What can have a scan pause, such as `concertino.plans.PauseRequest`."""

    def request(
        self,
        reason: str,
        spoiled_since_s: float | None = None,
        *,
        owner: str,
        run: str,
        until_resumed: bool,
    ) -> PauseTicket:
        """Have a run pause; frames exposed since a time are taken again."""


@runtime_checkable
class PausesScans(Protocol):
    """Can have a scan pause. A session gives it its switch, if it has none."""

    hold: PauseSwitch | None


@runtime_checkable
class Reconstructs(Protocol):
    """Reconstructs what is taken: a preflight counts with its settings."""

    @property
    def settings(self) -> ReconstructionSettings:
        """With which settings."""


@runtime_checkable
class TakesChanges(Protocol):
    """Has settings that can be changed while it works."""

    def update(self, changes: Mapping[str, Any], /) -> object:
        """Change some of them, by name; raise if one cannot change any more."""


@runtime_checkable
class WorksOn(Protocol):
    """Works on after a run is over: a session waits for it before it closes."""

    @property
    def busy(self) -> bool:
        """Whether it does now."""

    def wait(self, timeout_s: float | None = None) -> object:
        """Wait until it does no more; raise what went wrong."""


@runtime_checkable
class Closes(Protocol):
    """Has files, threads or connections that are let go of when its session or its process ends."""

    def close(self) -> None:
        """Let go of them; idempotent."""


@runtime_checkable
class SettlesStreams(Protocol):
    """Takes frames in threads, and closes what it writes when their streams end."""

    def settle(self, timeout_s: float = ...) -> None:
        """Wait until all streams have ended and what is written of them is closed."""


@runtime_checkable
class AbandonsStreams(Protocol):
    """Can leave the streams that it takes, for a process that has to end."""

    def abandon(self, reason: str) -> None:
        """Leave them at the next frame, and tell their publishers why."""


#: What a callback may offer.
CAPABILITIES: tuple[type, ...] = (
    SaysIfNecessary, StoresFrames, EmitsDocuments, WantsMonitors, PausesScans, Reconstructs, TakesChanges, WorksOn, Closes,
    SettlesStreams, AbandonsStreams,
)  # fmt: skip


def capabilities_of(callback: DocumentCallback) -> frozenset[str]:
    """Return the names of what a callback offers besides taking documents."""
    return frozenset(each.__name__ for each in CAPABILITIES if isinstance(callback, each))


def is_necessary(callback: DocumentCallback) -> bool:
    """Return whether a callback says that a run cannot do without it."""
    return isinstance(callback, SaysIfNecessary) and bool(callback.necessary)


def name_of(callback: Callable[..., object]) -> str:
    """Return what a callback is called in messages: as it says, or as a function or class is."""
    own = getattr(callback, "name", None) or getattr(callback, "__name__", None)
    return str(own or type(callback).__name__)
