"""The session's side of the guard process: it starts it, says that it lives, and starts it again."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ._report import GuardReport
from ._switches import SwitchOff

LOG = logging.getLogger("concertino.guard")

_END_S = 2.0
_DEAF_S = 15.0
_TOO_SOON_S = 10.0
_STARTS = 3


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
        Called with a `GuardReport` when the guard acted and this process lives.
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
    ) -> None:
        self._watch = {
            "session": session,
            "directory": str(directory.absolute()),
            "silence_s": silence_s,
            "loop_silence_s": loop_silence_s,
            "pid": os.getpid(),
            "path": [str(Path(path).absolute()) for path in sys.path],
            "terminal": _terminal(),
        }
        self._period_s = min(1.0, silence_s / 5)
        self._loop_age_s = loop_age_s
        self._acted = acted
        self._beams: dict[str, SwitchOff] = {}
        self._wrong: dict[str, str | None] = {}
        self._runs: tuple[str, ...] = ()
        self._lock = threading.Lock()
        self._changed = threading.Condition()
        self._beat = threading.Event()
        self._closing = False
        self._given_up = False
        self._process: subprocess.Popen[bytes] | None = None
        self._heard_s = 0.0
        self._threads = [
            threading.Thread(target=target, name=f"guard {name}", daemon=True)
            for name, target in (("starts", self._supervise), ("beats", self._beats))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int | None:
        """Number of the process; None when there is none."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def guard(self, name: str, switch: SwitchOff) -> None:
        """Have one more beam switched off, by this description from now on."""
        self._beams[name] = switch
        self._wrong[name] = None
        self._send({"beams": {name: switch.to_json()}})

    def unguarded(self) -> dict[str, str]:
        """Return the beams that are not guarded now, and why."""
        if self._given_up:
            return dict.fromkeys(self._beams, "the guard process ends again and again")
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

    def close(self) -> None:
        """End the process and leave the beams as they are; after a few seconds by force."""
        self._closing = True
        self._send({"close": True})
        self._beat.set()
        for thread in self._threads:
            thread.join(_END_S)
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)

    def _supervise(self) -> None:
        too_soon = 0
        while not self._closing and too_soon < _STARTS:
            began_s = time.monotonic()
            try:
                self._start()
                end = f"ended with {self._listen()}"
            except OSError as error:
                end = f"cannot be started: {error}"
            if self._closing:
                return
            too_soon = too_soon + 1 if time.monotonic() - began_s < _TOO_SOON_S else 1
            self._wrong = dict.fromkeys(self._wrong)
            LOG.warning(
                "The guard process %s. Until the next one is connected nothing switches off %s if this "
                "session dies.", end, ", ".join(self._beams) or "a beam",
            )  # fmt: skip
        if not self._closing:
            self._given_up = True
            with self._changed:
                self._changed.notify_all()
            LOG.warning(
                "The guard process ended %d times in a row and is not started again: %s stays on if "
                "this session dies.", _STARTS, ", ".join(self._beams),
            )  # fmt: skip

    def _start(self) -> None:
        # Of its own session: what the terminal sends to this process group does not reach it.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "concertino.guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
        )
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        self._heard_s = time.monotonic()
        with self._lock:
            self._process = process
        beams = {name: switch.to_json() for name, switch in list(self._beams.items())}
        self._send({"watch": self._watch, "beams": beams})
        if self._closing:
            self._send({"close": True})

    def _listen(self) -> int:
        """Take what the process says until it ends; return its exit code."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._heard_s = time.monotonic()
                with suppress(ValueError, KeyError, TypeError):
                    self._take(json.loads(line))
        code = process.wait()
        with self._lock:
            assert process.stdin is not None
            process.stdin.close()
        return code

    def _take(self, said: Mapping[str, Any]) -> None:
        if "beam" in said:
            name, wrong = said["beam"], said["wrong"]
            if wrong and self._wrong.get(name) == "":
                LOG.warning(
                    "The guard has lost its connection to %s: %s. If this session dies now, the beam may "
                    "stay on.", name, wrong,
                )  # fmt: skip
            elif not wrong:
                LOG.info("%s is guarded by process %s.", name, self.pid)
            with self._changed:
                self._wrong[name] = wrong
                self._changed.notify_all()
        if "report" in said:
            self._acted(GuardReport.from_json(said["report"]))

    def _beats(self) -> None:
        """Say again and again that this process lives, and how its RunEngine's loop does."""
        last_s, stood_still = time.monotonic(), False
        while not self._closing:
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
            process = self._process
            if process is not None and now_s - self._heard_s > _DEAF_S:
                process.kill()  # It hangs; a new one is started.

    def _send(self, said: Mapping[str, Any]) -> None:
        with self._lock:
            process = self._process
            if process is None or process.stdin is None:
                return
            # It may have ended, or be stopped with a full pipe; `_supervise` and `_beats` see to it.
            with suppress(OSError, ValueError):
                os.write(process.stdin.fileno(), json.dumps(said).encode() + b"\n")


def _terminal() -> str | None:
    try:
        return os.ttyname(2)
    except OSError:
        return None
