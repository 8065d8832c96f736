"""What a callback may offer besides taking documents, and who asks for it."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from concertino import callbacks
from concertino.callbacks import (
    ChildProcess,
    ImageWriter,
    LiveView,
    OnlineReconstruction,
    ScanAlarms,
    is_necessary,
    name_of,
)
from concertino.session import Session, open_session
from concertino.storage import CatalogWriter

_PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-a-callback.md"


def _told() -> dict[str, list[str]]:
    """Return what the page tells: each protocol, and the attributes that it wants."""
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", _PAGE.read_text("utf-8"), re.M)
    return {name: re.findall(r"`([a-z_]+)(?:\([^`]*\))?`", wanted) for name, wanted in rows}


def _offers(callback: Any) -> set[str]:
    return {name for name in _told() if isinstance(callback, getattr(callbacks, name))}


def _with(names: list[str]) -> Any:
    """Return a callback that has these attributes."""

    class Callback:
        def __call__(self, name: str, document: Mapping[str, Any]) -> None:
            """Take a document."""

    for name in names:
        setattr(Callback, name, lambda self: None)
    return Callback()


@pytest.mark.parametrize("offer", _told())
def test_page_tells_what_makes_an_offer(offer: str) -> None:
    """A callback that has what the page says offers that, one that has nothing or a part does not."""
    wanted = _told()[offer]
    assert wanted
    assert _offers(_with(wanted)) == {offer}
    for name in wanted:
        assert offer not in _offers(_with([other for other in wanted if other != name]))


def test_page_tells_all() -> None:
    """The page names every offer that a host asks about."""
    from concertino.consumers._capabilities import CAPABILITIES

    assert list(_told()) == [each.__name__ for each in CAPABILITIES]


def test_what_ours_offer(tmp_path: Path) -> None:
    """What ours can do is what is asked of them by it."""
    always = {"SaysIfNecessary", "StoresFrames"}
    of_streams = always | {"SettlesStreams", "AbandonsStreams"}
    assert _offers(print) == set()
    assert _offers(ImageWriter()) == of_streams
    reconstruction = OnlineReconstruction()
    assert _offers(reconstruction) >= {"EmitsDocuments", "Reconstructs", "WorksOn"}
    alarms = ScanAlarms()
    assert _offers(alarms) == of_streams | {"WantsMonitors", "PausesScans", "WorksOn", "Closes"}
    alarms.close()
    assert "Closes" in _offers(LiveView())


class _Asked:
    """Offers all that a session asks for, and notes what was asked."""

    name = "asked"
    necessary = True
    hold: Any = None

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.emitted_to: list[Any] = []
        self.busy = True

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take a document."""

    def add_callback(self, callback: Any) -> None:
        self.emitted_to.append(callback)

    def wait(self, timeout_s: float | None = None) -> None:
        self.heard.append("wait")
        self.busy = False

    def close(self) -> None:
        self.heard.append("close")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with open_session(tmp_path, progress=False) as session:
        yield session


def test_a_session_asks_for_each(session: Session) -> None:
    """A callback of anybody's gets what it offers to take, and is waited for and closed."""
    asked = _Asked()
    session.subscribe(asked)
    assert asked.hold is session.hold
    assert [type(each) for each in asked.emitted_to] == [CatalogWriter]
    session.close()
    assert asked.heard == ["wait", "close"]


def test_a_hold_of_its_own_is_kept(session: Session) -> None:
    """A session gives its switch only where there is none."""
    asked = _Asked()
    asked.hold = mine = object()
    session.subscribe(asked)
    assert asked.hold is mine


def test_names_and_necessity() -> None:
    """A callback is called what it says, or what a function or class is called."""
    assert [name_of(each) for each in (_Asked(), print, _with([]))] == [
        "asked",
        "print",
        "Callback",
    ]
    assert [is_necessary(each) for each in (_Asked(), print, ImageWriter())] == [True, False, True]


def test_a_process_offers_what_its_callback_does() -> None:
    """One that hosts a callback that does not work on is not asked whether it does."""
    with ChildProcess(ImageWriter()) as writer:
        assert writer.busy is False
