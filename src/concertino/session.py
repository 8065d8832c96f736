"""A RunEngine made ready: recorder, catalogue, baseline, progress, units, run directories."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import bluesky.preprocessors as bpp
from bluesky import Msg, RunEngine
from bluesky.utils import MsgGenerator

from concertino import ParameterError, SessionError
from concertino._borrowed_run_engine import BorrowedRunEngine
from concertino._closing import (
    Closing,
    close_callbacks,
    close_plan,
    close_storage,
    uninterrupted,
)
from concertino._ending import end_no_more, end_safely
from concertino._interrupts import session_context_managers
from concertino._optional_device import OptionalDevice
from concertino._plan_end import in_own_thread
from concertino._progress import ProgressBars
from concertino._run_gate import RunGate
from concertino._session_guard import SessionGuard
from concertino._session_run_engine import SessionRunEngine, say_who_holds
from concertino._storage_gate import StorageGate
from concertino._unit_guard import UnitGuard
from concertino.callbacks import Consumer, DocumentConsumer, RunLog
from concertino.documents import CONTROL_FIELDS, check_metadata_values, check_user_metadata
from concertino.plans import Hold, Preflight, outcome_of, preflight, with_hold
from concertino.reconstruction import ReconstructionSettings
from concertino.storage import Recorder, RunDirectories, encode_document

if TYPE_CHECKING:
    from concertino.storage import Catalog, CatalogWriter

DocumentCallback = Callable[[str, Mapping[str, Any]], Any]

_CLOSE_S = 600.0
_LEAVE_S = 10.0
_encoded = partial(encode_document, "start")


class Session:
    """A RunEngine with what an experiment needs around it. Made by `open_session`.

    Attributes
    ----------
    RE : bluesky.RunEngine
        Runs plans.
    directory : Path
        The data directory.
    recorder : Recorder
        Keeps all documents of a run in its directory; the first callback.
    hold : Hold
        Has imaging plans pause; `pause` and `resume` use it.
    guard : SessionGuard
        Has another process switch the beam off when this one dies; ``guard.reports`` is what that of an
        earlier session did.
    require_storage : bool
        Refuse runs whose frames nobody stores, before anything moves; False by default, when a warning
        says so.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        baseline: Iterable[Any] = (),
        progress: bool = True,
        catalog: bool = True,
        run_engine: RunEngine | None = None,
        separate_scans: bool = True,
        pattern: str = "scan_{:04d}",
        md: Mapping[str, Any] | None = None,
        guard: Any = True,
        guard_silence_s: float = 10.0,
        guard_loop_silence_s: float = 120.0,
        guard_at: str = "",
    ) -> None:
        check_user_metadata(md, _encoded)
        self._directories = RunDirectories(directory, pattern, separate_scans=separate_scans)
        self.directory = self._directories.root
        self.RE: Any = run_engine or SessionRunEngine({})
        self._borrowed = BorrowedRunEngine(self.RE, md or {})
        self.RE.scan_id_source = self._scan_id
        self._validated: Callable[[dict[str, Any]], None] = self.RE.md_validator
        self.RE.md_validator = self._check_metadata
        self.RE.context_managers = session_context_managers(self.RE.context_managers)
        self._next: Mapping[str, Any] = {}
        self._baseline = bpp.SupplementalData(baseline=[_readable(d) for d in baseline])
        self._storage = StorageGate(self.RE)
        self.hold: Hold = getattr(self.RE, "hold", None) or Hold()
        self._gate = RunGate(self.RE.loop)
        self.guard = SessionGuard(
            self.RE,
            self.directory,
            silence_s=guard_silence_s,
            loop_silence_s=guard_loop_silence_s,
            automatic=guard is True,
            at=guard_at,
        )
        self._borrowed.preprocess(
            self._baseline,
            self._in_own_directory,
            UnitGuard(),
            self._gate,
            self._storage,
            self._with_hold,
            self.guard,
        )
        if progress:
            self.RE.waiting_hook = ProgressBars()  # type: ignore[assignment]
        self.recorder = Recorder(self._directories)
        # A plan is over when its documents are on the disk; its loop does not wait for that.
        self._borrowed.after_plan(self.recorder.flush)
        self._log = RunLog()
        self._callbacks: dict[int, DocumentCallback] = {}
        self._borrowed.subscribe(self.recorder)
        self._borrowed.subscribe(self._log)
        self._borrowed.subscribe(self.guard.note)
        self._catalog: Catalog | None = None
        self._catalog_writer: CatalogWriter | None = None
        if catalog:
            try:
                self._open_catalog()
            except BaseException:
                self._borrowed.give_back()
                raise
        self._open = True
        if guard is not None and not isinstance(guard, bool):
            self.guard_beam(guard)
        end_safely(self)

    @property
    def catalog(self) -> "Catalog":
        """The catalogue of all runs in the data directory.

        Raises
        ------
        SessionError
            If the session was opened without one.
        """
        if self._catalog is None:
            raise SessionError(
                "This session has no catalogue; open it with open_session(directory, catalog=True)."
            )
        return self._catalog

    @property
    def require_storage(self) -> bool:
        """Whether runs are refused whose frames nobody stores; otherwise there is a warning."""
        return self._storage.required

    @require_storage.setter
    def require_storage(self, required: bool) -> None:
        self._storage.required = required

    def subscribe(
        self, callback: DocumentCallback, name: str = "all", *, necessary: bool | None = None
    ) -> int:
        """Give the documents of every run to a callback from now on.

        It has a thread of its own, and a run fails with it only if it is necessary; see
        `concertino.callbacks.Consumer`.

        Parameters
        ----------
        callback : callable
            Takes (name, document).
        name : str
            Kind of documents; all by default.
        necessary : bool, optional
            Whether a run cannot do without it. By default as the callback says by its attribute
            `necessary`, which is true for those that store, and false for one that says nothing.

        Returns
        -------
        int
            A token for `unsubscribe`.
        """
        if isinstance(callback, Consumer):
            if necessary is not None:
                callback.necessary = necessary
            token = self._borrowed.subscribe(callback, name)
        else:
            told = bool(getattr(callback, "necessary", False) if necessary is None else necessary)
            consumer = DocumentConsumer(callback, name, necessary=told)
            token = self._borrowed.subscribe(consumer, name)
        self._callbacks[token] = callback
        self._watch(callback)
        if hasattr(callback, "add_callback") and self._catalog_writer is not None:
            callback.add_callback(self._catalog_writer)
        return token

    def unsubscribe(self, token: int) -> None:
        """Give no more documents to a callback."""
        self._borrowed.unsubscribe(token)
        callback = self._callbacks.pop(token, None)
        for signal in getattr(callback, "monitors", ()):
            self._baseline.monitors.remove(signal)

    def wait_before_runs(self, suspender: Any) -> None:
        """Have no run begin as long as one of bluesky's suspenders is tripped.

        Its signal may be of ophyd, or of ophyd-async in a `concertino.devices.SuspenderSignal`. A run
        that goes on is not suspended, as that would take frames twice: `ScanAlarms` with `BeamCurrent`
        pauses it safely.

        Parameters
        ----------
        suspender : bluesky.suspenders.SuspenderBase
            Such as ``SuspendFloor(SuspenderSignal(ring.current), 80, sleep=10)``.
        """
        self._gate.add(suspender)

    def wait_no_more(self, suspender: Any) -> None:
        """Let runs begin whatever a suspender says."""
        self._gate.remove(suspender)

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
        paused, own = self.RE.state == "paused", isinstance(self.RE, SessionRunEngine)
        if not (paused and own):
            say_who_holds(self.hold.resume(self.RE.loop))
        if own and not paused:
            self.RE.forget_pause()
        return self.RE.resume() if paused else None

    def preflight(self, plan: MsgGenerator[Any], **limits: Any) -> Preflight:
        """Return what a plan will do and need in this session, without moving anything.

        Parameters
        ----------
        plan : generator of messages
            As for ``RE``; it is used up.
        **limits
            As for `concertino.plans.preflight`; the data directory and the settings of a subscribed
            `OnlineReconstruction` are known.

        Raises
        ------
        ConcertinoError
            What the plan refuses.
        """
        for callback in self._callbacks.values():
            settings = getattr(callback, "settings", None)
            if isinstance(settings, ReconstructionSettings):
                limits.setdefault("reconstruction", settings)
        return preflight(plan, directory=self.directory, **limits)

    def add_baseline(self, *devices: Any, optional: bool = False) -> None:
        """Have devices read at the start and at the end of every run.

        Parameters
        ----------
        *devices : Readable
            The devices.
        optional : bool
            One that does not answer is left out of the run instead of failing it.
        """
        read = [_readable(device) for device in devices]
        wrapped = [OptionalDevice(device) for device in read] if optional else read
        self._baseline.baseline.extend(wrapped)

    def guard_beam(self, beam: Any) -> None:
        """Have a beam switched off by a process of its own when this session dies or is silent.

        The beams of the imaging plans are guarded by themselves, if they tell how; one that does not is
        described here, and so is one that is used without a plan.

        Parameters
        ----------
        beam : Movable, mapping, path or several of them
            A beam that tells how another process switches it off, such as a `BeamSwitch` over a PV or a Tango
            attribute, or a description such as ``{"pv": "BL:SHUTTER", "off": 0}``, as
            `concertino.guard.switch_from_json` takes it, also in a JSON file.

        Raises
        ------
        ParameterError
            If a description does not say how to switch a beam off.
        """
        self.guard.add(beam)

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until reconstructions have finished and the catalogue is up to date.

        Raises
        ------
        ConcertinoError
            What went wrong in them.
        """
        for callback in self._callbacks.values():
            if getattr(callback, "busy", False):
                callback.wait(timeout_s)  # type: ignore[attr-defined]
        if self._catalog_writer is not None:
            self._catalog_writer.flush(timeout_s)

    def close(self, timeout_s: float = _CLOSE_S) -> None:
        """End what is going on, then let go of files, threads, callbacks and RunEngine; idempotent.

        A plan that runs or is paused is aborted, beam off first. A reconstruction is waited for; Ctrl-C or
        a signal gives that up, and nothing else. What fails keeps nothing else from being closed, and a
        RunEngine that was given is as it was.

        Parameters
        ----------
        timeout_s : float
            How long to wait for reconstructions, and for the catalogue, in seconds.

        Raises
        ------
        SessionError
            If something did not end in time, or this is called from inside of a plan.
        ConcertinoError
            What went wrong in a callback.
        """
        self._close(timeout_s, None)

    def _close(self, timeout_s: float, pending: BaseException | None) -> None:
        if not self._open:
            return
        if in_own_thread(self.RE):
            raise SessionError(
                "session.close() was called inside of a plan or callback, for whose end it would wait; "
                "call it after RE(plan)."
            )
        self._open = False
        closing = Closing()
        with uninterrupted(closing):
            try:
                close_plan(closing, self.RE, self.directory)
                closing.do("The guard", self.guard.close, _LEAVE_S)
                closing.do("Leaving the suspenders", self._gate.close, _LEAVE_S)
                close_callbacks(closing, list(self._callbacks.values()), timeout_s)
                close_storage(
                    closing, self.recorder, self._catalog_writer, self._catalog, timeout_s
                )
            finally:
                self._callbacks.clear()
                self._borrowed.give_back()
                end_no_more(self)
        closing.finish(pending)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close(_CLOSE_S, error)

    def __repr__(self) -> str:
        return f"<Session in {self.directory}, {self.RE.state}>"

    def _watch(self, callback: Any) -> None:
        """Give a callback the signals that it wants monitored, and a way to have scans pause."""
        self._baseline.monitors.extend(getattr(callback, "monitors", ()))
        if hasattr(callback, "hold") and callback.hold is None:
            callback.hold = self.hold

    def _open_catalog(self) -> None:
        from concertino.storage import Catalog, CatalogWriter

        self._catalog = Catalog.open(self.directory)
        self._catalog_writer = CatalogWriter(self._catalog)
        self._borrowed.subscribe(DocumentConsumer(self._catalog_writer, name="catalogue"))

    def _with_hold(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        return with_hold(plan, self.hold)

    def _scan_id(self, md: Mapping[str, Any]) -> int:
        return int(self._next.get("scan_id", 0))

    def _in_own_directory(self, plan: MsgGenerator[Any]) -> MsgGenerator[Any]:
        """Make a directory for each run that a plan opens."""

        def give_directory(message: Msg) -> tuple[MsgGenerator[Any] | None, None]:
            if message.command != "open_run" or "run_directory" in message.kwargs:
                return None, None
            return self._open_in_new_directory(message), None

        return (yield from bpp.plan_mutator(plan, give_directory))

    def _open_in_new_directory(self, message: Msg) -> MsgGenerator[Any]:
        # A disk that is busy with the last run's frames can take long: not on the RunEngine's loop.
        self._next = yield from outcome_of(self._new_directory)
        return (yield message._replace(kwargs={**message.kwargs, **self._next}))

    def _check_metadata(self, metadata: dict[str, Any]) -> None:
        """Refuse a run that cannot be recorded as it is, or not in the directory that was made for it."""
        given = {**self.RE.md, **getattr(self.RE, "_metadata_per_call", {})}
        check_user_metadata({k: v for k, v in given.items() if k in CONTROL_FIELDS}, _encoded, "RE")
        check_metadata_values(metadata, _encoded)
        self._validated(metadata)
        for key in ("run_directory", "scan_name"):
            named, made = metadata.get(key), self._next.get(key)
            if named != made:
                raise ParameterError(
                    f"{key}: {named!r} was given in the metadata of a run. The session makes the "
                    f"directory of each run in {self.directory}, this time {made}; leave it out, and "
                    "give another key, such as sample, to find the run by."
                )

    def _new_directory(self) -> Mapping[str, Any]:
        directory = self._directories.new()
        self.recorder.prepare(directory.path)
        return directory.metadata()


def _readable(device: Any) -> Any:
    """Return what a baseline reads of a device: of a camera its settings, and no frames."""
    return getattr(device, "settings_readout", device)


def open_session(
    directory: str | Path,
    *,
    baseline: Iterable[Any] = (),
    progress: bool = True,
    catalog: bool = True,
    run_engine: RunEngine | None = None,
    separate_scans: bool = True,
    pattern: str = "scan_{:04d}",
    md: Mapping[str, Any] | None = None,
    guard: Any = True,
    guard_silence_s: float = 10.0,
    guard_loop_silence_s: float = 120.0,
    guard_at: str = "",
) -> Session:
    """Open a data directory and return a RunEngine made ready for experiments in it.

    Each run gets a directory ``scan_0001``, ``scan_0002``, … that is never used again, with all its
    documents and a log in it, a place in the catalogue, and the state of the baseline devices at
    its start and end. Quantities such as ``90 * q.deg`` reach devices in the devices' units.

    Parameters
    ----------
    directory : str or Path
        The data directory; made when it is not there.
    baseline : iterable of device
        Devices whose state belongs to every run.
    progress : bool
        Show progress bars.
    catalog : bool
        Keep a catalogue of the runs (tiled on SQLite, in this process).
    run_engine : RunEngine, optional
        Make this one ready instead of a new one.
    separate_scans : bool
        False: the data directory is the run's directory; a second run is refused.
    pattern : str
        Format of the names of run directories.
    md : mapping, optional
        Metadata for all runs.
    guard
        True: the beams of imaging plans are switched off by a process of its own when this session dies. Or
        what `Session.guard_beam` takes: these beams and no others. False: none.
    guard_silence_s : float
        After how long a silence of this process the guard acts, in seconds.
    guard_loop_silence_s : float
        After which time without an answer of the RunEngine's loop it acts, in seconds; a callback that blocks
        for longer is taken for a hang.
    guard_at : str
        Where ``concertino guard`` listens on another computer, ``tcp://host:port``: it acts also when this
        computer dies.

    Returns
    -------
    Session
        With ``RE``, ``catalog``, ``subscribe(callback)`` and ``close()``; a context manager.

    Raises
    ------
    StorageError
        If the directory cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> from concertino.session import open_session
    >>> with open_session(tempfile.mkdtemp(), catalog=False) as session:
    ...     session.RE.state
    'idle'
    """
    return Session(
        directory,
        baseline=baseline,
        progress=progress,
        catalog=catalog,
        run_engine=run_engine,
        separate_scans=separate_scans,
        pattern=pattern,
        md=md,
        guard=guard,
        guard_silence_s=guard_silence_s,
        guard_loop_silence_s=guard_loop_silence_s,
        guard_at=guard_at,
    )
