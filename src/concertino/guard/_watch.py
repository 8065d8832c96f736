"""The guard process: it listens for its session, and switches the beams off when that dies or is silent."""

import json
import math
import os
import select
import signal
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ._holder import OFF_S, Holder
from ._report import GuardReport, write_report
from ._switches import SwitchOff, switch_from_json
from ._untold import UntoldReports

_LOOK_S = 0.2
_SAY_S = 1.0
_AT_ONCE = 65536
_PARTS = 64  # Whoever floods it does not keep it from judging.
_LONGEST_LINE = 2**20
_INTRODUCTION_S = 10.0
_LONGEST_PATH = 500
_MOST_RUNS = 8
_IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGTSTP, signal.SIGQUIT)


class Watch:
    """Watches one session.

    Parameters
    ----------
    hears, says : int
        File descriptors from and to the session: one JSON object a line.
    beams : mapping, optional
        The beams to switch off, when they are known here: then the session is on another computer and is
        believed nothing but that it lives. By default it is the process that started this one, and tells.
    untold : UntoldReports, optional
        Where reports go, for sessions on other computers, and from where they are told.
    show : callable, optional
        Called with what people are to read.
    """

    def __init__(
        self,
        hears: int,
        says: int,
        *,
        beams: Mapping[str, SwitchOff] | None = None,
        untold: UntoldReports | None = None,
        show: Callable[[str], None] | None = None,
    ) -> None:
        self._elsewhere = beams
        self._show = show or self._write_to_terminal
        self._began_s = time.monotonic()
        self._hears = hears
        self._says = says
        self._buffer = b""
        self._holders: dict[str, Holder] = {}
        self._silence_s = self._loop_silence_s = 0.0
        self._session = ""
        self._directory: Path | None = None
        self._untold = untold
        self._data = ""  # The session's data directory, as it says.
        self._told: set[str] = set()
        self._uid = ""
        self._terminal: str | None = None
        self._poll = select.poll()
        self._deadline_s = 0.0
        self._heard_s = time.monotonic()
        self._loop_s = 0.0
        self._runs: tuple[str, ...] = ()
        self._closing = self._cut_off = False
        self._tripped = self._silent = False
        self._why = self._unsafe = ""
        self._noticed_s = 0.0
        self._last_words = False

    def run(self) -> None:
        """Watch until the session closes, or has died and the beams are off."""
        os.set_blocking(self._hears, False)
        os.set_blocking(self._says, False)
        self._poll.register(self._hears, select.POLLIN)
        said_s = 0.0
        while True:
            for ready, _ in self._poll.poll(round(_LOOK_S * 1000)):
                if ready != self._hears:
                    # The process is gone; what it said last is still there.
                    self._hear_no_more(ready)
            self._listen()
            if not self._why and not self._closing:
                self._judge()
            if self._closing:
                if self._session and not self._silent:
                    self._show(f"{self._session} has closed; the beam stays as it is.")
                return
            if self._why and self._finished():
                self._finish()
                if self._last_words:
                    return
            # A client that has not introduced itself at a guard elsewhere is told nothing.
            known = self._elsewhere is None or self._session
            if known and time.monotonic() - said_s > _SAY_S:
                said_s = time.monotonic()
                self._tell_reports()
                self._say({"alive": True})

    def _listen(self) -> None:
        """Take what the session said; all of it, before its silence is judged."""
        for _ in range(_PARTS):
            try:
                part = os.read(self._hears, _AT_ONCE)
            except BlockingIOError:
                return
            except OSError:
                part = b""
            if not part:
                self._hear_no_more(self._hears)
                return
            *lines, self._buffer = (self._buffer + part).split(b"\n")
            if len(self._buffer) > _LONGEST_LINE:
                self._hear_no_more(self._hears)
                return
            for line in lines:
                with suppress(ValueError, KeyError, TypeError, AttributeError):
                    self._take(json.loads(line))

    def _hear_no_more(self, descriptor: int) -> None:
        self._cut_off = True
        with suppress(KeyError):
            self._poll.unregister(descriptor)

    def _take(self, said: Mapping[str, Any]) -> None:
        self._heard_s = time.monotonic()
        self._silent = False
        if "close" in said:
            self._closing = True
        self._unsafe = str(said.get("unsafe", self._unsafe))[:200]
        if "watch" in said:
            self._introduce(said["watch"])
        if self._elsewhere is None:
            for name, switch in said.get("beams", {}).items():
                self._hold(name, switch_from_json(switch))
        if "told" in said and self._untold is not None:
            self._untold.told(str(said["told"]))
        if "alive" in said:
            self._loop_s = float(said["alive"]["loop_s"])
            # Of another computer it is text for reports, and no path.
            runs = [str(run)[:_LONGEST_PATH] for run in said["alive"]["runs"]]
            self._runs = tuple(runs[:_MOST_RUNS] if self._elsewhere is not None else runs)

    def _hold(self, name: str, switch: SwitchOff) -> None:
        if name not in self._holders:
            self._holders[name] = Holder(name, switch, self._tell)

    def _introduce(self, watch: Mapping[str, Any]) -> None:
        silence_s, loop_silence_s = float(watch["silence_s"]), float(watch["loop_silence_s"])
        if not (0 < silence_s < math.inf and 0 < loop_silence_s < math.inf):
            raise ValueError
        self._silence_s, self._loop_silence_s = silence_s, loop_silence_s
        self._session = str(watch["session"])[:200]
        self._data = str(watch.get("directory", ""))[:_LONGEST_PATH]
        if self._elsewhere is not None:
            for name, switch in self._elsewhere.items():
                self._hold(name, switch)
            self._show(f"{self._session} is guarded.")
            return
        self._directory = Path(watch["directory"])
        self._terminal = watch["terminal"]
        sys.path.extend(path for path in watch["path"] if path not in sys.path)
        # The process itself is watched, too: a child that it forked may keep the pipe open.
        try:
            self._poll.register(os.pidfd_open(int(watch["pid"])), select.POLLIN)
        except ProcessLookupError:
            self._cut_off = True
        except (OSError, AttributeError):
            pass  # The system cannot do that: the end of the pipe has to tell.

    def _judge(self) -> None:
        silent_s = time.monotonic() - self._heard_s
        if not self._session:  # Somebody who never said that anything is to be guarded.
            self._closing = self._cut_off or time.monotonic() - self._began_s > _INTRODUCTION_S
        elif self._unsafe:
            self._last_words = True
            self._act(self._unsafe)
        elif self._cut_off and self._silent:
            self._closing = True  # Since the beam went off for its silence it has done nothing.
        elif self._cut_off:
            self._last_words = True
            self._act(
                "died, or ended without closing,"
                if self._elsewhere is None
                else "died, ended without closing, or lost the network"
            )
        elif silent_s > self._silence_s:
            self._silent = True
            self._trip(f"was not heard of for {silent_s:.0f} s")
        elif self._loop_s > self._loop_silence_s:
            self._trip(f"had a RunEngine whose loop did nothing for {self._loop_s:.0f} s")
        else:
            self._tripped = False

    def _trip(self, why: str) -> None:
        """Act once in a silence, however long that lasts."""
        if not self._tripped:
            self._tripped = True
            self._act(why)

    def _act(self, why: str) -> None:
        # Beams first: everything else may hang.
        for holder in self._holders.values():
            holder.switch_off()
        self._why = why
        self._noticed_s = time.time()
        self._uid = uuid.uuid4().hex
        self._deadline_s = time.monotonic() + OFF_S + 1
        self._write(self._report(done=False))
        self._show(f"The session of {self._session} {why} and the beam goes off.")

    def _finished(self) -> bool:
        over = all(holder.result() is not None for holder in self._holders.values())
        return over or time.monotonic() > self._deadline_s

    def _finish(self) -> None:
        report = self._report(done=True)
        self._write(report)
        self._told.add(report.uid)
        self._say({"report": report.to_json()})
        self._show(report.sentence())
        self._why = ""

    def _report(self, *, done: bool) -> GuardReport:
        beams = tuple(holder.so_far() for holder in self._holders.values())
        return GuardReport(
            self._session,
            self._why,
            self._noticed_s,
            self._runs,
            beams,
            done,
            self._data,
            self._uid,
        )

    def _write(self, report: GuardReport) -> None:
        if self._directory is not None:
            write_report(report, self._directory, in_runs=True)
        if self._untold is not None:
            self._untold.keep(report)

    def _tell_reports(self) -> None:
        """Tell a session what happened to an earlier one of its data directory, or to itself."""
        for report in (
            self._untold.of(self._data) if self._untold is not None and self._data else ()
        ):
            if report.uid not in self._told:
                self._told.add(report.uid)
                self._say({"report": report.to_json()})

    def _tell(self, beam: str, wrong: str) -> None:
        self._say({"beam": beam, "wrong": wrong})

    def _say(self, said: Mapping[str, Any]) -> None:
        # A session that does not listen, or is gone, holds nothing up.
        with suppress(OSError):
            os.write(self._says, json.dumps(said).encode() + b"\n")

    def _write_to_terminal(self, text: str) -> None:
        """Write to the terminal of the session, if it had one and that is still there."""
        if self._terminal is None or not self._why:
            return
        with suppress(OSError):
            flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK
            terminal = os.open(self._terminal, flags)
            try:
                os.write(terminal, f"\r\nconcertino guard: {text}\r\n".encode())
            finally:
                os.close(terminal)


def main() -> None:
    """Be the guard of the process that has started this one."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    # What a library prints is no message to the session.
    says = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    Watch(0, says).run()
    # Libraries of control systems have threads that would rather stay.
    os._exit(0)
