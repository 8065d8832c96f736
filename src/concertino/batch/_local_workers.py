"""Dask workers of this computer, which end with the block that needs them, also by Ctrl+C."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.resource_tracker import ensure_running
from types import FrameType, TracebackType
from typing import Any

from concertino._errors import ReconstructionError
from concertino._extras import extra

LOG = logging.getLogger(__name__)

_LOOK_S = 0.1
_END_S = 20.0
_HASTE_S = 1.0


@contextmanager
def local_workers(distributed: Any, preload: str = "") -> Iterator[Any]:
    """Have a worker process for each core as long as the block lasts.

    Parameters
    ----------
    distributed : module
        Imported by who can say that it is missing.
    preload : str
        Python that each worker runs before it is ready.

    Yields
    ------
    distributed.Client
        Connected to them.

    Raises
    ------
    ReconstructionError
        If a worker does not start.
    """
    workers = _LocalWorkers(distributed, preload)
    with _hasty_ctrl_c_ignored(), ExitStack() as ends:
        ends.push(workers.end)  # before there is anything to end: Ctrl+C comes at any time
        workers.start()
        yield workers.client


class _LocalWorkers:
    """A scheduler and a client of this process, and worker processes that nannies of dask start.

    dask's own start of workers cannot be broken off: what it had begun is left behind, and its end waits for what
    will not come. So this process waits for them itself, and who does not want them any more kills them.
    """

    def __init__(self, distributed: Any, preload: str) -> None:
        self.client: Any = None
        self._distributed, self._preload = distributed, preload
        self._here: Any = None
        self._nannies: list[Any] = []
        self._start: Future[None] | None = None
        # Looking at it takes no lock, in which Ctrl+C would leave dask's thread for ever.
        self._started = threading.Event()

    def start(self) -> None:
        """Return when all workers are ready."""
        with ctrl_c_waits():  # as short as it takes to have a scheduler
            self._here = self._distributed.LocalCluster(
                n_workers=0, threads_per_worker=1, worker_class=self._nanny(), host="127.0.0.1",
                dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL,
                preload=self._preload or None,
            )  # fmt: skip
            self.client = self._distributed.Client(self._here)
            self._start = asyncio.run_coroutine_threadsafe(
                _scaled(self._here), self._here.loop.asyncio_loop
            )
            self._start.add_done_callback(lambda start: self._started.set())
        while not self._started.is_set():
            time.sleep(_LOOK_S)
        error = self._start.exception()
        if error is not None:
            raise ReconstructionError(
                f"The dask workers of this computer did not start: {type(error).__name__}: {error} "
                "See that there is memory for them, or give no scheduler."
            ) from error

    def end(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End workers, client and scheduler: at once if something went wrong."""
        with ctrl_c_waits():
            if self._here is None:
                return
            if kind is not None:
                self._kill()
                self._here.shutdown_on_close = False  # nothing is left that dask had to end at exit
            # In a thread, because dask waits for its own without a limit.
            close = threading.Thread(target=self._close, name="end of dask's workers", daemon=True)
            close.start()
            close.join(3 * _END_S)

    def _close(self) -> None:
        try:
            if self.client is not None:
                self.client.close(timeout=_END_S)
            self._here.close(timeout=_END_S)
        except Exception as error:  # what they did is done
            LOG.info("The end of dask's workers: %s: %s", type(error).__name__, error)

    def _kill(self) -> None:
        until_s = time.monotonic() + _END_S
        while time.monotonic() < until_s:
            for nanny in list(self._nannies):
                if nanny.status == self._distributed.Status.running:
                    nanny.close_gracefully()  # and start no other one
                pid = nanny.pid
                if pid is not None:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            # Those that are still to be started are killed then.
            if self._start is None or self._started.wait(_LOOK_S):
                return

    def _nanny(self) -> type:
        """Return dask's class of what starts a worker process, which is then known here."""
        nannies, base = self._nannies, self._distributed.Nanny

        class Nanny(base):  # type: ignore[misc, valid-type]
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                nannies.append(self)

        return Nanny


async def _scaled(here: Any) -> None:
    with extra("dask", "Workers of dask on this computer"):
        from dask.system import CPU_COUNT

    here.scale(CPU_COUNT)
    await here


@contextmanager
def _hasty_ctrl_c_ignored() -> Iterator[None]:
    """Ignore a Ctrl+C so soon after another that it would break off what the first one began to end."""
    known = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(known):
        yield
        return
    last_s = -_HASTE_S

    def take(number: int, frame: FrameType | None) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= _HASTE_S:
            last_s = now_s
            known(number, frame)

    signal.signal(signal.SIGINT, take)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, known)


@contextmanager
def ctrl_c_waits() -> Iterator[None]:
    """Do something short, and start threads and processes that Ctrl+C leaves alone; it comes after the block.

    A terminal interrupts all its processes, and the one that started the workers ends them. Threads
    and processes have the signal mask of the thread that started them, from their first instruction.
    """
    held: list[int] = []
    at_once = signal.getsignal(signal.SIGINT)

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(number)

    ensure_running()  # the tracker of resources unblocks the signal where it is started
    handles = threading.current_thread() is threading.main_thread() and callable(at_once)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    if handles:  # the system may give the signal to a thread of a library, Python handles it here
        signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if handles:
            signal.signal(signal.SIGINT, at_once)
    if held:
        signal.raise_signal(signal.SIGINT)
