"""The session: what an experiment needs around a RunEngine."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bluesky.preprocessors as bpp
from bluesky import RunEngine
from bluesky.suspenders import SuspenderBase
from bluesky.utils import MsgGenerator

from concertino import SessionError
from concertino.callbacks import Closes
from concertino.documents import DocumentCallback
from concertino.plans import PauseRequest, Preflight, preflight, with_pause_request, with_resources
from concertino.runtime._ending import end_no_more, end_safely
from concertino.runtime._plan_end import in_own_thread
from concertino.storage import Recorder, RunDirectories
from concertino.terminal._progress import ProgressBars

from ._arguments import check_arguments, check_open, check_readable
from ._beam_guard import Guarded, SessionGuard
from ._borrowed_run_engine import BorrowedRunEngine
from ._closing import Closing, close_all, close_plan, uninterrupted
from ._declare_cameras import declare_cameras
from ._engine_loop import LOOP_END_S, EngineLoop
from ._interrupts import session_context_managers
from ._optional_device import OfBaseline, OptionalDevice, readable
from ._resources import ComputerResources
from ._run_engine import SessionRunEngine
from ._run_places import RunPlaces
from ._run_start_suspender import RunStartSuspender
from ._scan_optics import ScanOptics
from ._storage_gate import StorageGate
from ._subscriptions import Subscriptions, open_catalog
from ._unit_guard import UnitGuard
from .prompt._at_prompt import AtPrompt

if TYPE_CHECKING:
    from concertino.storage import Catalog, CatalogWriter

_CLOSE_S = 600.0


class Session(AtPrompt, AbstractContextManager["Session"]):
    """A RunEngine with what an experiment needs around it. Made by `open_session`.

    Attributes
    ----------
    RE : bluesky.RunEngine
        Runs plans.
    directory : Path
        The data directory.
    recorder : Recorder
        Keeps all documents of a run in its directory; the first callback.
    hold : PauseRequest
        Has imaging plans pause; `pause` and `resume` use it.
    guard : SessionGuard
        Has another process switch the beam off when this one dies; ``guard.reports``: what one did before.
    optics : ScanOptics
        Tells scans their energy, pixel size and distances: ``optics.add(Monochromator(energy=signal))``.
    require_storage : bool
        Refuse runs whose frames nobody stores, before anything moves; by default a warning says so.
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
        guard: Guarded = True,
        guard_silence_s: float = 10.0,
        guard_loop_silence_s: float = 120.0,
        guard_at: str = "",
    ) -> None:
        check_arguments(
            directory=directory, baseline=baseline, progress=progress, catalog=catalog,
            run_engine=run_engine, separate_scans=separate_scans, pattern=pattern, md=md, guard=guard,
            guard_silence_s=guard_silence_s, guard_loop_silence_s=guard_loop_silence_s, guard_at=guard_at,
        )  # fmt: skip
        directories = RunDirectories(directory, pattern, separate_scans=separate_scans)
        self.directory = directories.root
        self._loop = EngineLoop(run_engine)
        self.RE: Any = self._loop.run_engine
        self._prepare_prompt()
        self._borrowed = BorrowedRunEngine(self.RE, md or {})
        self._made: list[Closes] = []
        try:
            self._baseline = bpp.SupplementalData()
            self.optics = ScanOptics(self.add_baseline, lambda: self.RE.md)
            self.add_baseline(*baseline)
            self.hold = self.RE.hold if isinstance(self.RE, SessionRunEngine) else PauseRequest()
            self.recorder = Recorder(directories)
            self._made.append(self.recorder)
            self.guard = SessionGuard(
                self.RE, self.directory, silence_s=guard_silence_s, loop_silence_s=guard_loop_silence_s,
                automatic=guard is True, at=guard_at,
            )  # fmt: skip
            self._made.append(self.guard)
            self._prepare(directories, progress)
            self._catalog: Catalog | None = None
            self._catalog_writer: CatalogWriter | None = None
            if catalog:
                self._catalog, self._catalog_writer = open_catalog(self.directory, self._borrowed)
                self._made.append(self._catalog)
                self._subscriptions.catalog_writer = self._catalog_writer
            self.guard.add(guard)
            self._made.append(self._join())
        except BaseException:
            self._give_up()
            raise
        self._open = True
        end_safely(self)

    def _prepare(self, directories: RunDirectories, progress: bool) -> None:
        """Have the RunEngine do what a session does before, in and after a run."""
        self.RE.context_managers = session_context_managers(self.RE.context_managers)
        self._storage = StorageGate(self.RE)
        self._gate = RunStartSuspender(self.RE.loop)
        self._borrowed.preprocess(
            self._baseline,
            RunPlaces(self.RE, directories, self.recorder),
            declare_cameras,
            partial(
                with_resources, resources=ComputerResources()
            ),  # Whoever stores judges the disk.
            UnitGuard(),
            self._gate,
            self._storage,
            partial(with_pause_request, hold=self.hold),
            self.optics,
            self.guard,
        )
        if progress:
            self.RE.waiting_hook = bars = ProgressBars()
            self._borrowed.after_plan(bars.end)
        # A plan is over when its documents are on the disk; its loop does not wait for that.
        self._borrowed.after_plan(self.recorder.flush)
        self._subscriptions = Subscriptions(self._borrowed, self._baseline, self.hold)
        self._borrowed.subscribe(self.recorder)
        self._borrowed.subscribe(self._run_log)
        self._borrowed.subscribe(self.guard.note)

    def _give_up(self) -> None:
        """Leave nothing behind of a session that does not open."""
        for made in reversed(self._made):
            made.close()
        self._borrowed.give_back()
        self._loop.end()

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

        Raises
        ------
        SessionError
            If the session is closed.
        ParameterError
            If the callback cannot be called, or there is no such kind.
        """
        check_open(self._open, "subscribe", self.directory)
        return self._subscriptions.add(callback, name, necessary)

    def unsubscribe(self, token: int) -> None:
        """Give no more documents to a callback."""
        self._subscriptions.remove(token)

    def wait_before_runs(self, suspender: SuspenderBase) -> None:
        """Have no run begin as long as one of bluesky's suspenders is tripped.

        Its signal may be of ophyd, or of ophyd-async in a `concertino.devices.SuspenderSignal`. A run
        that goes on is not suspended, as that would take frames twice: `ScanAlarms` with `BeamCurrent`
        pauses it safely.

        Parameters
        ----------
        suspender : bluesky.suspenders.SuspenderBase
            Such as ``SuspendFloor(SuspenderSignal(ring.current), 80, sleep=10)``.
        """
        check_open(self._open, "wait_before_runs", self.directory)
        self._gate.add(suspender)

    def remove_suspender(self, suspender: SuspenderBase) -> None:
        """Let runs begin whatever a suspender says."""
        self._gate.remove(suspender)

    def preflight(self, plan: MsgGenerator[Any], **limits: Any) -> Preflight:
        """Return what a plan will do and need in this session, without moving anything.

        Parameters
        ----------
        plan : generator of messages
            As for ``RE``; it is used up.
        **limits
            As for `concertino.plans.preflight`, which raises what the plan refuses; the data directory and
            the settings of a subscribed `OnlineReconstruction` are known.
        """
        limits.setdefault("reconstruction", self._subscriptions.settings)
        limits.setdefault("resources", ComputerResources(self.directory))
        return preflight(self.optics(plan), **limits)

    def add_baseline(self, *devices: OfBaseline, optional: bool = False) -> None:
        """Have devices read at the start and at the end of every run.

        Parameters
        ----------
        *devices : Readable
            The devices.
        optional : bool
            One that does not answer is left out of the run instead of failing it.
        """
        for device in devices:
            check_readable(device)
            self._know(device)
        read = list(map(readable, devices))
        wrapped = [OptionalDevice(device) for device in read] if optional else read
        self._baseline.baseline.extend(wrapped)

    def guard_beam(self, beam: Guarded) -> None:
        """Have a beam switched off by a process of its own when this session dies or is silent.

        The beams of the imaging plans are guarded by themselves, if they tell how; one that does not is
        described here, and so is one that is used without a plan.

        Parameters
        ----------
        beam : Movable, mapping, path or several of them
            A beam that tells how another process switches it off, such as a `SignalBeam` over a PV or a Tango
            attribute, or a description such as ``{"pv": "BL:SHUTTER", "off": 0}``, as
            `concertino.guard.switch_from_json` takes it, also in a JSON file.

        Raises
        ------
        ParameterError
            If a description does not say how to switch a beam off.
        """
        check_open(self._open, "guard_beam", self.directory)
        self.guard.add(beam)

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until reconstructions have finished and the catalogue is up to date.

        Raises
        ------
        ConcertinoError
            What went wrong in them.
        """
        self._subscriptions.wait(timeout_s)
        if self._catalog_writer is not None:
            self._catalog_writer.flush(timeout_s)

    def close(self, timeout_s: float = _CLOSE_S) -> None:
        """End what is going on, then let go of files, threads, callbacks and RunEngine; idempotent.

        A plan that runs or is paused is aborted, beam off first. A reconstruction is waited for; Ctrl-C or
        a signal gives that up, and nothing else. The catalogue has 2 s; it takes in later what it lacks.
        What fails keeps nothing else from being closed, and a RunEngine that was given is as it was.

        Parameters
        ----------
        timeout_s : float
            How long to wait for reconstructions, in seconds.

        Raises
        ------
        SessionError
            If something did not end in time, or this is called inside a plan.
        ConcertinoError
            What went wrong in a callback.
        """
        self._close(timeout_s, None)

    def _close(self, timeout_s: float, pending: BaseException | None) -> None:
        if not self._open:
            return
        if in_own_thread(self.RE):
            raise SessionError(
                "A session cannot be closed inside a plan or callback, for whose end it would "
                "wait; call session.close() after RE(plan)."
            )
        self._open = False
        closing = Closing()
        with uninterrupted(closing):
            try:
                close_plan(closing, self.RE, self.directory)
                if self._background is not None:
                    self._background.session_closed(LOOP_END_S)
                close_all(
                    closing, self.guard, self._gate, self._subscriptions.callbacks, self.recorder,
                    self._catalog_writer, self._catalog, timeout_s,
                )  # fmt: skip
            finally:
                self._subscriptions.clear()
                self._borrowed.give_back()
                end_no_more(self)
                self._loop.refuse_plans(str(self.directory))
                closing.do("The loop of the RunEngine", self._loop.end, LOOP_END_S)
                self._leave(closing)
        closing.finish(pending)

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._close(_CLOSE_S, error)

    def __repr__(self) -> str:
        return f"<Session in {self.directory}, {self.RE.state}>"
