"""A RunEngine that a session changes, and gives back as it was."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from concertino import SessionError
from concertino.documents import DocumentCallback, check_documents_quickly
from concertino.runtime._ending import open_sessions

from ._delivery import Delivery

if TYPE_CHECKING:
    from bluesky import RunEngine


_ABSENT = object()
_KEPT = ("scan_id_source", "md_validator", "waiting_hook", "context_managers")


@runtime_checkable
class TellsPlanEnds(Protocol):
    """A RunEngine that calls functions when a plan is over, such as a session's own."""

    after_plan: list[Callable[[], object]]


class BorrowedRunEngine:
    """Remembers what a session sets, and sets it back.

    What others add meanwhile stays.

    Parameters
    ----------
    run_engine : bluesky.RunEngine
        Of no open session.
    md : mapping
        Metadata for all runs.

    Raises
    ------
    SessionError
        If an open session has this RunEngine.
    """

    def __init__(self, run_engine: "RunEngine", md: Mapping[str, Any]) -> None:
        for other in open_sessions():
            if other.RE is run_engine:
                raise SessionError(
                    f"This RunEngine has a session already, in {other.directory}; close that one first "
                    "with session.close() or if_open='close', or open a session without run_engine=."
                )
        check_documents_quickly()
        self._run_engine = run_engine
        self._before = {name: getattr(run_engine, name) for name in _KEPT}
        self._md = {key: run_engine.md.get(key, _ABSENT) for key in (*md, "scan_id")}
        self._preprocessors: list[Any] = []
        self._after_plan: list[Callable[[], object]] = []
        self._tokens: list[int] = []
        self._delivery = Delivery(run_engine)
        run_engine.md.update(md)

    def preprocess(self, *preprocessors: Any) -> None:
        """Have plans go through more preprocessors."""
        self._preprocessors.extend(preprocessors)
        self._run_engine.preprocessors.extend(preprocessors)

    def after_plan(self, function: Callable[[], object]) -> None:
        """Have a session's own RunEngine call a function when a plan is over."""
        if isinstance(self._run_engine, TellsPlanEnds):
            self._after_plan.append(function)
            self._run_engine.after_plan.append(function)

    def subscribe(self, callback: DocumentCallback, name: str = "all") -> int:
        """Subscribe a callback."""
        token = int(self._run_engine.subscribe(callback, name))
        self._tokens.append(token)
        return token

    def unsubscribe(self, token: int) -> None:
        """Give a callback no more documents."""
        self._run_engine.unsubscribe(token)
        if token in self._tokens:
            self._tokens.remove(token)

    def give_back(self) -> None:
        """Set back what was set."""
        for token in list(self._tokens):
            self.unsubscribe(token)
        self._delivery.undo()
        _take_out(self._preprocessors, self._run_engine.preprocessors)
        if isinstance(self._run_engine, TellsPlanEnds):
            _take_out(self._after_plan, self._run_engine.after_plan)
        for name, value in self._before.items():
            setattr(self._run_engine, name, value)
        for key, value in self._md.items():
            if value is _ABSENT:
                self._run_engine.md.pop(key, None)
            else:
                self._run_engine.md[key] = value


def _take_out(mine: list[Any], theirs: list[Any]) -> None:
    for one in mine:
        if one in theirs:
            theirs.remove(one)
