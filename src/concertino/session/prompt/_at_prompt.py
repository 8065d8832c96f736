"""What a session offers those who live in it: devices by name, runs in the background, a stop of everything."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import bluesky.plan_stubs as bps
from bluesky import Msg
from bluesky.protocols import HasName, Movable, Readable, Stoppable
from bluesky.utils import MsgGenerator

from concertino import OverdueError, ParameterError, ParameterTypeError, SessionError
from concertino.callbacks import OnlineReconstruction, RunLog
from concertino.plans import Beam, PauseRequest, run_safely, stop_all
from concertino.session._arguments import check_open, check_seconds
from concertino.session._borrowed_run_engine import BorrowedRunEngine
from concertino.session._closing import Closing
from concertino.session._optional_device import HasSettingsReadout
from concertino.session._run_engine import SessionRunEngine, say_who_holds
from concertino.session._subscriptions import Subscriptions
from concertino.session.others._presence import OtherSessions, Presence
from concertino.units import QuantityLike, is_quantity, to_device_unit

from ._background_run import BackgroundRun
from ._device_table import DeviceState, DeviceTable, states_of
from ._log_levels import LogLevels
from ._run_table import RunTable, last_runs

T = TypeVar("T")

_DEVICE_S = 3.0
_MORE_S = 5.0
_LEAVE_S = 3.0


@runtime_checkable
class _SaysIfBeam(Protocol):
    is_beam: bool


class AtPrompt:
    """The part of a session that people use at a prompt.

    Attributes
    ----------
    RE : bluesky.RunEngine
        Runs plans.
    directory : Path
        The data directory.
    hold : PauseRequest
        Has imaging plans pause.
    """

    RE: Any
    directory: Path
    _open: bool
    hold: PauseRequest
    _subscriptions: Subscriptions
    _borrowed: BorrowedRunEngine

    def _prepare_prompt(self) -> None:
        self._devices: dict[str, Any] = {}
        self._background: BackgroundRun | None = None
        self._presence: Presence | None = None
        self._run_log = RunLog()
        self._log_levels = LogLevels(self._run_log)

    def _join(self) -> Presence:
        """Be known to the other sessions in the data directory from now on."""
        self._presence = Presence(self.directory, self._devices.values())
        self._borrowed.preprocess(self._presence)
        return self._presence

    def _leave(self, close: Closing) -> None:
        """Be known to nobody any more, and leave loggers as they were."""
        self._log_levels.undo()
        if self._presence is not None:
            close.do(
                "Taking back that it is open", self._presence.close, _LEAVE_S, costs=False
            )  # fmt: skip

    @property
    def since_s(self) -> float:
        """When it was opened, in seconds since the epoch."""
        return 0.0 if self._presence is None else self._presence.since_s

    def others(self) -> OtherSessions:
        """Return who else has the data directory open now: who, where, since when, with which devices."""
        return OtherSessions() if self._presence is None else self._presence.others()

    def log_level(self, name: str, level: str) -> None:
        """Choose how much a logger says: at the prompt, and in the logs of the runs from the next one on.

        Parameters
        ----------
        name : str
            Of the logger, which is a package or module, with all below it: ``"concertino.frames"``, ``"bluesky"``.
        level : str
            ``"debug"``, ``"info"``, ``"warning"``, ``"error"`` or ``"critical"``.

        Raises
        ------
        ParameterError
            If there is no such logger or level.
        """
        check_open(self._open, "log_level", self.directory)
        self._log_levels.choose(name, level)

    def last_runs(self, number: int = 10) -> RunTable:
        """Return the last experiments in the data directory, the newest first, as a table: also of other sessions.

        Parameters
        ----------
        number : int
            How many at most.

        Raises
        ------
        ParameterError
            If that is no number of runs.
        """
        return last_runs(self.directory, number)

    def add_devices(self, *devices: object) -> None:
        """Have devices stand in `status`, be moved by name, and be stopped by `stop_all`; those of the baseline do.

        Parameters
        ----------
        *devices : device
            Of ophyd-async or ophyd, with a name.

        Raises
        ------
        ParameterError
            If one has no name, or another one has it already.
        """
        for device in devices:
            if not (isinstance(device, HasName) and isinstance(device.name, str) and device.name):
                raise ParameterTypeError(
                    f"devices: {device!r} has no name; give devices that have one, such as SimulatedMotor(name='x')."
                )
            name = device.name
            if not isinstance(device, Readable | HasSettingsReadout | Movable):
                raise ParameterTypeError(
                    f"devices: {device!r} can be neither read nor moved; give devices of ophyd or ophyd-async."
                )
            if self._devices.setdefault(name, device) is not device:
                raise ParameterError(
                    f"devices: there are two with the name {name}; name one of them otherwise."
                )
            self._tell_others(device)

    def status(self, timeout_s: float = _DEVICE_S) -> DeviceTable:
        """Return a table of all devices: position, unit, limits, whether they move; also while a scan runs.

        Parameters
        ----------
        timeout_s : float
            How long each device has to answer, in seconds; all are asked at a time.

        Returns
        -------
        DeviceTable
            A `DeviceState` for each; one that was not reached says why, with its address.

        Raises
        ------
        SessionError
            If the session is closed.
        OverdueError
            If the loop in which devices live does not answer.
        """
        check_open(self._open, "status", self.directory)
        check_seconds("timeout_s", timeout_s)
        return self._ask(states_of(self._devices.values(), timeout_s), timeout_s)

    def move(self, device: str | Movable[Any], position: QuantityLike) -> float:
        """Move a device and wait until it is there; its unit and its limits are looked at before.

        Parameters
        ----------
        device : Movable or str
            The device, or the name of one of the session.
        position : float, str or Quantity
            Such as ``"90 deg"``; a plain number is in the device's unit.

        Returns
        -------
        float
            Where it is then, in its unit.

        Raises
        ------
        ParameterError
            If there is no such device, or it cannot go there.
        SessionError
            If a plan is running, or the session is closed.
        DeviceError
            If it did not get there.
        """
        check_open(self._open, "move", self.directory)
        motor = self._movable(device)
        if str(self.RE.state) != "idle":
            raise SessionError(
                f"{motor.name} was to be moved while a plan is {self.RE.state}. Wait for its end, or end it with "
                "session.stop_all()."
            )
        (state,) = self._ask(states_of([motor], _DEVICE_S), _DEVICE_S)
        target = _target(position, state)
        self.RE(run_safely(_mv(motor, target)))
        (state,) = self._ask(states_of([motor], _DEVICE_S), _DEVICE_S)
        return float(state.value) if isinstance(state.value, int | float) else target

    def start(self, plan: Iterable[Msg], **metadata: object) -> BackgroundRun:
        """Run a plan in the background: the prompt stays free.

        Parameters
        ----------
        plan : generator of messages
            As for ``RE``.
        **metadata
            For its runs, as for ``RE``.

        Returns
        -------
        BackgroundRun
            Tells its progress; ``run.wait()`` and ``await run`` give the result or raise what went wrong.

        Raises
        ------
        ParameterTypeError
            If that is no plan.
        SessionError
            If a plan is running or paused, or the session is closed.
        OverdueError
            If the RunEngine does not begin it.
        """
        check_open(self._open, "start", self.directory)
        if not isinstance(plan, Iterable) or isinstance(plan, str | Mapping):
            raise ParameterTypeError(
                f"plan: {plan!r} was given; give a plan with its parameters in brackets, as for RE: radiography(camera, …)."
            )
        if str(self.RE.state) != "idle":
            raise SessionError(
                f"A plan was to be started while another one is {self.RE.state}. Wait for its end, or end it with "
                "session.stop_all()."
            )
        callbacks = self._subscriptions.callbacks
        live = [one for one in callbacks if isinstance(one, OnlineReconstruction)]
        self._background = BackgroundRun(
            self.RE, resume_scan=self._resume_held, reconstruction=live[0] if live else None
        )
        self._background.begin(plan, metadata)
        return self._background

    def stop_all(self, reason: str = "session.stop_all() was called") -> None:
        """Switch every beam off, end the plan that runs or is paused, and stop every motor; in any thread.

        Parameters
        ----------
        reason : str
            Stands in the run that was ended.

        Raises
        ------
        DeviceError
            If a beam could not be switched off, or a motor not be stopped: all of them, in a sentence each.
        """
        beams: list[Beam] = []
        motors: list[object] = []
        for device in self._devices.values():
            if isinstance(device, Beam) and isinstance(device, _SaysIfBeam) and device.is_beam:
                beams.append(device)
            elif isinstance(device, Stoppable) and isinstance(device, Movable):
                motors.append(device)
        stop_all(self.RE, beams, motors, reason=reason)

    def pause(
        self,
        reason: str = "on request",
        spoiled_since_s: float | None = None,
        *,
        next_run: bool = False,
    ) -> None:
        """Have the running scan pause at its next frame boundary; callable from any thread.

        The beam goes off, the frames until then are safe, the axes return. `resume` has the scan take
        what is missing, in the same run. In a series the request counts until the series ends.

        Parameters
        ----------
        reason : str
            Why; it stands in the run.
        spoiled_since_s : float, optional
            Frames exposed at or after this time, in seconds since the epoch, are taken again.
        next_run : bool
            Have the next run wait before its first frame where none can pause now, instead of refusing.

        Raises
        ------
        SessionError
            If no plan is running, or one that cannot pause.
        """
        if next_run:
            self.hold.request(reason, spoiled_since_s, next_run=True)
        else:
            self.hold.pause(reason, spoiled_since_s)

    def resume(self) -> Any:
        """Let the scan go on that was paused; it takes what is missing.

        What an alarm such as `BeamCurrent` holds goes on when the alarm is over: until then the scan
        stays paused, and this says so.

        Returns
        -------
        Any
            What ``RE.resume()`` returns, if it was the RunEngine that paused.

        Raises
        ------
        SessionError
            If something was set otherwise meanwhile, such as the exposure; the scan stays paused.
        """
        if str(self.RE.state) != "paused":
            self._resume_held()
            return None
        if not isinstance(self.RE, SessionRunEngine):
            say_who_holds(self.hold.resume(self.RE.loop))
        return self.RE.resume()

    def _resume_held(self) -> None:
        """Take back what has a scan wait that has paused by itself: the RunEngine runs."""
        say_who_holds(self.hold.resume(self.RE.loop))
        if isinstance(self.RE, SessionRunEngine):
            self.RE.forget_pause()

    def _know(self, device: object) -> None:
        """Have a device of the baseline stand in the table, too, if its name is free."""
        if isinstance(device, HasName):
            self._devices.setdefault(device.name, device)
            self._tell_others(device)

    def _tell_others(self, device: object) -> None:
        if self._presence is not None:
            self._presence.know(device)

    def _movable(self, device: str | Movable[Any]) -> Any:
        found = self._devices.get(device) if isinstance(device, str) else device
        if isinstance(found, Movable) and isinstance(found, HasName):
            return found
        known = [name for name, one in self._devices.items() if isinstance(one, Movable)]
        what = (
            f"{device!r} is no device that moves"
            if found is not None
            else f"there is no {device!r}"
        )
        raise ParameterError(
            f"device: {what}; give one of {', '.join(known) or 'those that session.add_devices() gets'}."
        )

    def _ask(self, question: Coroutine[Any, Any, T], timeout_s: float) -> T:
        """Have something asked in the loop in which devices live."""
        asked = asyncio.run_coroutine_threadsafe(question, self.RE.loop)
        within_s = timeout_s + _MORE_S
        try:
            return asked.result(within_s)
        except TimeoutError as error:
            asked.cancel()
            raise OverdueError(
                f"The devices were asked how they are, and the loop of the RunEngine has not answered within "
                f"{within_s:g} s. See which callback or device blocks it."
            ) from error


def _mv(motor: Movable[Any], target: float) -> MsgGenerator[Any]:
    yield from bps.mv(motor, target)


def _target(position: QuantityLike, state: DeviceState) -> float:
    """Return where to go, in the device's unit."""
    if state.error:
        raise SessionError(
            f"{state.name} was to be moved, and does not answer: {state.error} Move it when session.status() shows it."
        )
    if isinstance(position, int | float) and not isinstance(position, bool):
        target = float(position)
    elif isinstance(position, str | Mapping) or is_quantity(position):
        target = to_device_unit(position, state.unit, device=state.name)
    else:
        raise ParameterTypeError(
            f"position: {position!r} was given for {state.name}; give a number, or a text such as '90 deg'."
        )
    if not state.low <= target <= state.high:
        raise ParameterError(
            f"position: {position} was given for {state.name}; its limits are {state.low:g} to {state.high:g} "
            f"{state.unit}."
        )
    return target
