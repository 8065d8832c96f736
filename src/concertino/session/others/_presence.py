"""Who else has the data directory open, told as soon as it is known; nothing waits for it."""

import getpass
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bluesky import Msg
from bluesky.protocols import HasName, Movable
from bluesky.utils import MsgGenerator

from concertino.devices import SimulatedMotor, SimulatedShutter, SimulatedTube
from concertino.guard import address_of
from concertino.plans import passed_on
from concertino.runtime._last_words import say
from concertino.terminal._table import Table

from ._presence_file import OtherSession, PresenceFile

LOG = logging.getLogger(__name__)

_LOOK_S = 2.0
_END_S = 2.0
_MOVES = ("set", "kickoff")


class OtherSessions(Table[OtherSession]):
    """The other sessions in a data directory, shown as a table."""

    __slots__ = ()

    HEADINGS = ("who", "computer", "program (process)", "since", "there", "devices")
    EMPTY = "No other session has this data directory open."


class Presence:
    """Has a session be known to the others in its data directory, and says who they are and what they move, too.

    It looks when the session opens, and then every two seconds in a thread of its own. As a preprocessor it notes
    what plans move, and holds up none of their messages.

    Parameters
    ----------
    directory : Path
        The data directory.
    devices : iterable of device
        Of the session.

    Attributes
    ----------
    since_s : float
        When the session was opened, in seconds since the epoch.
    """

    def __init__(self, directory: Path, devices: Iterable[object]) -> None:
        self.since_s = time.time()
        self._directory = directory
        self._host = socket.gethostname()
        self._file = PresenceFile(directory, self._host)
        self._devices: dict[str, None] = {}
        self._moves: dict[str, str] = {}
        self._others: tuple[OtherSession, ...] = ()
        self._told: set[str] = set()
        self._warned: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._changed = True
        self._over = threading.Event()
        for device in devices:
            self.know(device)
        try:
            self._look()
        except OSError as error:
            _say(
                f"Other sessions in {directory} are not told of this one: its folder .sessions cannot be written to "
                f"({error}). Runs are not disturbed. Look after the rights of that folder."
            )
        self._thread = threading.Thread(target=self._keep, name="presence", daemon=True)
        self._thread.start()

    def know(self, device: object) -> None:
        """Tell the others of a device; the first to learn is who sits here, if one of them moves it, too."""
        if not isinstance(device, HasName) or not isinstance(device.name, str) or not device.name:
            return
        if device.name in self._moves:
            return
        moves = isinstance(device, Movable)
        if device.name in self._devices and not moves:
            return
        address = _own_address(device) if moves else ""
        with self._lock:
            self._devices.setdefault(device.name)
            if moves:
                self._moves[device.name] = address
            self._changed = True
        self._tell()

    def others(self) -> OtherSessions:
        """Return who else is there now."""
        return OtherSessions(self._file.others())

    def __call__(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """Pass a plan's messages on; what it moves is noted."""

        def note(message: Msg) -> None:
            if message.command in _MOVES:
                try:
                    self.know(message.obj)
                except Exception as error:  # What only looks costs no scan.
                    LOG.debug("noting what %r moves: %s", message.obj, error)

        return passed_on(plan, note)

    def close(self) -> None:
        """Be there no more."""
        self._over.set()
        self._thread.join(_END_S)
        self._file.close()

    def _keep(self) -> None:
        while not self._over.wait(_LOOK_S):
            try:
                self._look()
            except Exception as error:  # What only looks costs nobody anything.
                LOG.debug("looking for other sessions in %s: %s", self._directory, error)

    def _look(self) -> None:
        with self._lock:
            changed, self._changed = self._changed, False
            about = {
                "user": _user(),
                "host": self._host,
                "program": Path(sys.argv[0] if sys.argv else "").name or "python",
                "pid": os.getpid(),
                "since_s": self.since_s,
                "devices": list(self._devices),
                "moves": dict(self._moves),
            }
        if changed:
            self._file.write(about)
        else:
            self._file.renew()
        self._others = tuple(self._file.others())
        self._tell()

    def _tell(self) -> None:
        """Say what was not said yet of those who are known to be there."""
        for other in self._others:
            with self._lock:
                here = (other.host, other.pid) == (self._host, os.getpid())  # Its opening was told.
                new = other.key not in self._told and not here
                self._told.add(other.key)
                both = [
                    name for name in _both_move(self._moves, other.moves) if (other.key, name) not in self._warned
                ]  # fmt: skip
                self._warned.update((other.key, name) for name in both)
            if new:
                there = "is" if other.certain else "may be"
                _say(
                    f"Another session {there} open in {self._directory}: {other}; its devices: "
                    f"{', '.join(other.devices) or 'none yet'}. Both go on, and no run number is given twice; "
                    "session.others() shows who is there."
                )
            if both:
                _say(
                    f"This session and another one can both move {', '.join(both)}: {other}. Agree on who moves what before "
                    "a plan is run: what one moves, the other's scan does not know of."
                )


def _say(sentence: str) -> None:
    say(sentence)  # At the prompt, also while a run's log takes what is logged.
    LOG.info("%s", sentence)


def _both_move(ours: dict[str, str], theirs: Any) -> list[str]:
    """Return what both move: by the address, where both tell one, else by the name."""
    at = {address: name for name, address in theirs.items() if address}
    found = []
    for name, address in ours.items():
        if address and address in at:
            found.append(f"{name} ({address})")
        elif name in theirs and not (address and theirs[name]):
            found.append(name)
    return found


def _own_address(device: object) -> str:
    if isinstance(device, SimulatedMotor | SimulatedShutter | SimulatedTube):
        # Nobody else's.
        return f"simulated {device.name} in process {os.getpid()} of {socket.gethostname()}"
    return address_of(device)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
