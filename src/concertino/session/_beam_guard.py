"""The guard of a session's beams: which beams, what is said about them, and what becomes of a plan."""

import asyncio
import getpass
import logging
import os
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from bluesky import Msg, RunEngine
from bluesky.protocols import HasName, Movable
from bluesky.utils import MsgGenerator, RunEngineInterrupted

from concertino import ParameterTypeError
from concertino.guard import (
    CommandSwitch,
    EpicsSwitch,
    FunctionSwitch,
    GuardProcess,
    GuardReport,
    SwitchOff,
    TangoSwitch,
    add_to_runs,
    ends_with_session,
    named_switch,
    read_switches,
    switch_off_of,
    untold_reports,
)
from concertino.plans import passed_on

LOG = logging.getLogger("concertino.guard")
_CONNECT_S = 10.0
#: What can be given to be guarded: beams, descriptions of them, a file with some; True, False and None are no beam.
Guarded: TypeAlias = (
    bool | str | Path | SwitchOff | Mapping[str, Any] | Movable[Any] | Iterable[Any] | None
)
_KINDS = (CommandSwitch, EpicsSwitch, FunctionSwitch, TangoSwitch)
_HOW = "docs/how-to/guard-the-beam.md tells what to give"


@runtime_checkable
class _GuardsBeam(Protocol):
    """A plan's guard of its beam: `concertino.plans` knows when it may be on."""

    beam: Any

    @property
    def armed(self) -> bool:
        """Whether it may be on."""


class SessionGuard:
    """Guards the beams of a session.

    Parameters
    ----------
    run_engine : RunEngine
        The session's.
    directory : Path
        The data directory.
    silence_s : float
        How long the session may be silent before its beams are switched off, in seconds.
    loop_silence_s : float
        How long its RunEngine's loop may do nothing, in seconds.
    automatic : bool
        Guard the beams of plans that use one, without being told.
    at : str
        Where a guard on another computer listens, ``tcp://host:port``.

    Raises
    ------
    ParameterError
        If `at` is no address.
    """

    def __init__(
        self,
        run_engine: RunEngine,
        directory: Path,
        *,
        silence_s: float,
        loop_silence_s: float,
        automatic: bool,
        at: str = "",
    ) -> None:
        self._run_engine = run_engine
        self._directory = directory
        self._silence_s = silence_s
        self._loop_silence_s = loop_silence_s
        self._automatic = automatic
        self._name = f"{getpass.getuser()}@{socket.gethostname()}, process {os.getpid()},"
        self._process: GuardProcess | None = None
        self._known: set[str] = {at} if at else set()
        self._waited_for: set[str] = set()
        self._runs: dict[str, str] = {}
        self._loop_heard_s = time.monotonic()
        # Also during a run, when the run's log is a handler, it is said aloud.
        self._aloud = logging.lastResort
        if self._aloud is not None:
            LOG.addHandler(self._aloud)
        self._reports: list[GuardReport] = []
        for report in untold_reports(directory):
            add_to_runs(report, directory)  # A guard elsewhere may share the directory.
            self._tell(report)
        self._away = self._start(at) if at else None

    @property
    def reports(self) -> tuple[GuardReport, ...]:
        """What guards did to earlier sessions in this data directory, as far as nobody was told before.

        One elsewhere tells when it is connected: after `wait` it is known.
        """
        return tuple(self._reports)

    @property
    def pid(self) -> int | None:
        """Number of the guard process; None when there is none."""
        return None if self._process is None else self._process.pid

    def add(self, what: Guarded) -> None:
        """Guard a beam, or several: devices, descriptions, or a JSON file with one; of True and False none.

        Raises
        ------
        ParameterError
            If a description describes no switch.
        """
        check_guard(what)
        if what is None or isinstance(what, bool):
            return
        if isinstance(what, (str, Path)):
            for name, switch in read_switches(Path(what)).items():
                self._add(name, switch)
        elif isinstance(what, Mapping):
            self._add(*named_switch(what))
        elif isinstance(what, _KINDS):
            self._add(str(what), what)
        elif isinstance(what, Iterable) and not isinstance(what, Movable):
            for one in what:
                self.add(one)
        else:
            self._add_beam(what)

    def _add_beam(self, beam: Any) -> None:
        if ends_with_session(beam) or beam.name in self._known:
            return
        switch = switch_off_of(beam)
        if switch is not None:
            self._add(beam.name, switch)
            return
        self._known.add(beam.name)
        LOG.warning(
            "Beam %s is not guarded: if this session dies, it stays as it is. %s does not tell how another "
            "process switches it off; give open_session(guard=…) a description, such as "
            '{"pv": "BL:SHUTTER", "off": 0} (%s).', beam.name, type(beam).__name__, _HOW,
        )  # fmt: skip

    def _add(self, name: str, switch: SwitchOff) -> None:
        self._known.add(name)
        if self._process is None:
            self._process = self._start()
        self._process.guard(name, switch)

    def _start(self, at: str = "") -> GuardProcess:
        return GuardProcess(
            self._name,
            self._directory,
            silence_s=self._silence_s,
            loop_silence_s=self._loop_silence_s,
            loop_age_s=self._loop_age_s,
            acted=self._acted,
            at=at,
        )

    @property
    def _processes(self) -> list[GuardProcess]:
        return [process for process in (self._process, self._away) if process is not None]

    def wait(self, timeout_s: float = _CONNECT_S) -> bool:
        """Wait until every beam is guarded; say once which is not within `timeout_s`.

        Returns
        -------
        bool
            Whether all are.
        """
        deadline_s = time.monotonic() + timeout_s
        unguarded: dict[str, str] = {}
        for process in self._processes:
            unguarded |= process.wait(max(0.0, deadline_s - time.monotonic()))
        for name, why in unguarded.items():
            if name not in self._waited_for:
                LOG.warning(
                    "Beam %s is not guarded: if this session dies, it stays as it is. The guard process was "
                    "not connected to it within %g s: %s. It goes on trying.", name, timeout_s, why,
                )  # fmt: skip
        self._waited_for |= self._known
        return not unguarded

    def __call__(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """Pass a plan's messages on; before a run, and before a beam's first on, be guarded."""

        def guard(message: Msg) -> MsgGenerator[Any] | None:
            used = isinstance(message.obj, _GuardsBeam) and message.obj.beam is not None
            if used and self._automatic:
                self._add_beam(message.obj.beam)
            waits = message.command == "open_run" or (used and message.command == "set")
            if not waits or self._known <= self._waited_for or not self._processes:
                return None
            return self._wait_and(message)

        return passed_on(plan, guard)

    def _wait_and(self, message: Msg) -> MsgGenerator[Any]:
        yield Msg("wait_for", None, [lambda: asyncio.to_thread(self.wait)])
        return (yield message)

    def note(self, name: str, document: Mapping[str, Any]) -> None:
        """Note which runs are being recorded, from their documents."""
        if name == "start" and "run_directory" in document:
            self._runs[document["uid"]] = str(document["run_directory"])
        elif name == "stop":
            self._runs.pop(document["run_start"], None)
        else:
            return
        for process in self._processes:
            process.note_runs(tuple(self._runs.values()))

    def close(self) -> None:
        """End the guard process; the beams stay as they are, unless a plan has not ended."""
        processes = self._processes
        self._process = self._away = None
        state = str(self._run_engine.state)
        unsafe = "" if state == "idle" else f"closed while its RunEngine was {state}"
        if processes and unsafe:
            LOG.warning(
                "The session is closed while its RunEngine is %s: its guard switches the beam off.",
                state,
            )
        for process in processes:
            process.close(unsafe)
        if self._aloud is not None:
            LOG.removeHandler(self._aloud)

    def _loop_age_s(self) -> float:
        with suppress(RuntimeError):  # The loop has ended, and nothing it could do is left.
            self._run_engine.loop.call_soon_threadsafe(self._hear_loop)
        return time.monotonic() - self._loop_heard_s

    def _hear_loop(self) -> None:
        self._loop_heard_s = time.monotonic()

    def _acted(self, report: GuardReport) -> None:
        """A guard has switched beams off: those of this session, or an earlier one's."""
        known = bool(report.uid) and report.uid in {one.uid for one in self._reports}
        add_to_runs(report, self._directory)
        if report.session != self._name:
            if not known:
                self._tell(report)
            return
        LOG.warning("%s", report.sentence())
        untold_reports(self._directory)  # The next session need not say it again.
        # This process lives, and no plan may go on without beam.
        # A plan that is paused takes no frames, and only the thread that started it may end it.
        if str(self._run_engine.state) == "running":
            reason = f"its guard acted, as the session {report.why}: {report.outcome}"
            threading.Thread(target=self._abort, args=(reason,), daemon=True).start()

    def _tell(self, report: GuardReport) -> None:
        LOG.warning("%s", report.sentence())
        self._reports.append(report)

    def _abort(self, reason: str) -> None:
        with suppress(RunEngineInterrupted, Exception):
            self._run_engine.abort(reason)


def check_guard(what: object) -> None:
    """Refuse what says of no beam how it is switched off, before anything of it is guarded.

    Raises
    ------
    ParameterError
        If a description describes no switch; a `ParameterTypeError` if it is neither a beam nor a description.
    """
    if what is None or isinstance(what, (bool, *_KINDS)):
        return
    if isinstance(what, str | Path):
        read_switches(Path(what))
    elif isinstance(what, Mapping):
        named_switch(what)
    elif isinstance(what, list | tuple | set | frozenset):
        for one in what:
            check_guard(one)
    elif not (
        isinstance(what, Movable) and isinstance(what, HasName) and isinstance(what.name, str)
    ):
        raise ParameterTypeError(
            f"guard: {what!r} was given; give True, False, a beam, or a description such as "
            f'{{"pv": "BL:SHUTTER", "off": 0}} ({_HOW}).'
        )
