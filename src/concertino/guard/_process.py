"""The session's side of a guard: it starts it, says that it lives, and starts it again."""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ._link import ChildLink, Link, NetworkLink, host_and_port
from ._report import GuardReport
from ._switches import SwitchOff

LOG = logging.getLogger("concertino.guard")

_END_S = 2.0
_UNSAFE_S = 5.0
_LATE_S = 3.0
_DEAF_S = 15.0
_TOO_SOON_S = 10.0
_STARTS = 3
_CALL_AGAIN_S = 3.0


class GuardProcess:
    """A process that switches beams off when this one dies or is silent.

    Nothing of it waits for the beams, and nothing waits for it, save `wait` with its deadline.

    Parameters
    ----------
    session : str
        Who the session is, in reports.
    directory : Path
        The data directory, where reports go.
    silence_s : float
        How long this process may be silent, in seconds.
    loop_silence_s : float
        How long `loop_age_s` may be, in seconds.
    loop_age_s : callable
        Returns how long the RunEngine's loop has not answered, in seconds.
    acted : callable
        Called with a `GuardReport` when the guard acted and this process lives; by a guard elsewhere also with
        what it did when an earlier session in this data directory died.
    at : str
        Where ``concertino guard`` listens, ``tcp://host:port``, which then knows its beams by itself; by
        default a process is started here.

    Raises
    ------
    ParameterError
        If `at` is no address.
    """

    def __init__(
        self,
        session: str,
        directory: Path,
        *,
        silence_s: float,
        loop_silence_s: float,
        loop_age_s: Callable[[], float],
        acted: Callable[[GuardReport], None],
        at: str = "",
    ) -> None:
        if at:
            host_and_port(at)
        self._at = at
        self._watch: dict[str, Any] = {
            "session": session,
            "directory": str(directory.absolute()),
            "silence_s": silence_s,
            "loop_silence_s": loop_silence_s,
        }
        if not at:
            self._watch |= {
                "pid": os.getpid(),
                "path": [str(Path(path).absolute()) for path in sys.path],
                "terminal": _terminal(),
            }
        self._period_s = min(1.0, silence_s / 5)
        self._loop_age_s = loop_age_s
        self._acted = acted
        self._beams: dict[str, SwitchOff] = {}
        #: What is wrong with each connection: nothing, something, or not known yet.
        self._wrong: dict[str, str | None] = {at: None} if at else {}
        self._runs: tuple[str, ...] = ()
        self._changed = threading.Condition()
        self._beat = threading.Event()
        self._closing = threading.Event()
        self._given_up = False
        self._link: Link | None = None
        self._heard_s = 0.0
        self._late = self._spoke = False
        self._threads = [
            threading.Thread(target=target, name=f"guard {name}", daemon=True)
            for name, target in (("starts", self._supervise), ("beats", self._beats))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int | None:
        """Number of the process; None when there is none, or it is on another computer."""
        link = self._link
        return None if link is None else link.pid

    def guard(self, name: str, switch: SwitchOff) -> None:
        """Have one more beam switched off, by this description from now on."""
        self._beams[name] = switch
        self._wrong[name] = None
        self._send({"beams": {name: switch.to_json()}})

    def unguarded(self) -> dict[str, str]:
        """Return the beams that are not guarded now, and why."""
        if self._given_up:
            return dict.fromkeys(self._beams, "the guard process ends again and again")
        if self._late:
            return dict.fromkeys(self._wrong, f"the guard was not heard of for {_LATE_S:g} s")
        found = {}
        for name, wrong in list(self._wrong.items()):
            if wrong is None:
                found[name] = "the guard process is not connected yet"
            elif wrong:
                found[name] = wrong
        return found

    def wait(self, timeout_s: float) -> dict[str, str]:
        """Wait until all beams are guarded, `timeout_s` at most, and return those that are not."""
        with self._changed:
            self._changed.wait_for(lambda: not self.unguarded() or self._given_up, timeout_s)
        return self.unguarded()

    def note_runs(self, runs: tuple[str, ...]) -> None:
        """Note the directories of the runs that are being recorded."""
        self._runs = runs
        self._beat.set()

    def close(self, unsafe: str = "") -> None:
        """End the process and leave the beams as they are; after a few seconds by force.

        Parameters
        ----------
        unsafe : str
            Why the beams may still be on, as a part of a sentence such as ``"closed while …"``; then they are
            switched off.
        """
        self._closing.set()
        self._send({"unsafe": unsafe} if unsafe else {"close": True})
        self._beat.set()
        for thread in self._threads:
            thread.join(_UNSAFE_S if unsafe else _END_S)
        link = self._link
        if (
            link is not None and not unsafe
        ):  # One that switches off is left to do so, and ends then.
            link.cut()

    def _supervise(self) -> None:
        too_soon, said = 0, ""
        while not self._closing.is_set() and too_soon < _STARTS:
            began_s = time.monotonic()
            try:
                self._link = link = NetworkLink(self._at) if self._at else ChildLink()
                self._listen(link)
                self._link = None
                end = link.ended()
            except OSError as error:
                what = (
                    f"guard at {self._at} cannot be reached"
                    if self._at
                    else "guard process cannot start"
                )
                end = f"The {what}: {error}"
            if self._closing.is_set():
                return
            self._wrong = dict.fromkeys(self._wrong)
            if end != said:
                LOG.warning(
                    "%s. Until the next one is connected it does not switch off %s if this session "
                    "dies.", end, ", ".join(self._beams) or "the beam",
                )  # fmt: skip
            if self._at:
                said = end
                self._closing.wait(_CALL_AGAIN_S)
            else:
                too_soon = too_soon + 1 if time.monotonic() - began_s < _TOO_SOON_S else 1
        if not self._closing.is_set():
            self._given_up = True
            with self._changed:
                self._changed.notify_all()
            LOG.warning(
                "The guard process ended %d times in a row and is not started again: %s stays on if "
                "this session dies.", _STARTS, ", ".join(self._beams),
            )  # fmt: skip

    def _listen(self, link: Link) -> None:
        """Introduce the session, and take what the guard says until it ends."""
        self._heard_s, self._late, self._spoke = time.monotonic(), False, False
        beams = {name: switch.to_json() for name, switch in list(self._beams.items())}
        self._send({"watch": self._watch, "beams": beams})
        if self._closing.is_set():
            self._send({"close": True})
        for line in link.lines():
            self._heard_s, self._spoke = time.monotonic(), True
            if self._late:
                self._late = False
                LOG.warning("The guard is heard of again.")
                with self._changed:
                    self._changed.notify_all()
            with suppress(ValueError, KeyError, TypeError):
                self._take(json.loads(line))

    def _take(self, said: Mapping[str, Any]) -> None:
        if "alive" in said and self._wrong.get(self._at, "") is None:
            self._note(self._at, "")
        if "beam" in said:
            self._note(said["beam"], said["wrong"])
        if "report" in said:
            report = GuardReport.from_json(said["report"])
            self._acted(report)
            if self._at:
                self._send({"told": report.uid})

    def _note(self, name: str, wrong: str) -> None:
        if wrong and self._wrong.get(name) == "":
            LOG.warning(
                "The guard has lost its connection to %s: %s. If this session dies now, the beam may "
                "stay on.", name, wrong,
            )  # fmt: skip
        elif not wrong:
            LOG.info("%s is guarded, by process %s.", name, self.pid or "elsewhere")
        with self._changed:
            self._wrong[name] = wrong
            self._changed.notify_all()

    def _beats(self) -> None:
        """Say again and again that this process lives, and how its RunEngine's loop does."""
        last_s, stood_still = time.monotonic(), False
        while not self._closing.is_set():
            loop_s = self._loop_age_s()
            alive = {"loop_s": 0.0 if stood_still else loop_s, "runs": self._runs}
            self._send({"alive": alive})
            self._beat.wait(self._period_s)
            self._beat.clear()
            now_s = time.monotonic()
            # When this process itself stood still, nobody was silent meanwhile.
            stood_still = now_s - last_s > max(2.0, 2 * self._period_s)
            if stood_still:
                self._heard_s = now_s
            last_s = now_s
            link = self._link
            if link is None:
                continue
            if now_s - self._heard_s > _DEAF_S:
                link.cut()  # It hangs; a new one is started.
            elif self._spoke and not self._late and now_s - self._heard_s > _LATE_S:
                self._late = True
                LOG.warning(
                    "The guard was not heard of for %g s: if this session dies now, %s may stay on. After %g s "
                    "another one is started.", _LATE_S, ", ".join(self._beams) or "the beam", _DEAF_S,
                )  # fmt: skip

    def _send(self, said: Mapping[str, Any]) -> None:
        link = self._link
        if link is not None:
            link.send(json.dumps(said).encode() + b"\n")


def _terminal() -> str | None:
    try:
        return os.ttyname(2)
    except OSError:
        return None
