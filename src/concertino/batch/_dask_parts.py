"""Parts of a job on a dask cluster: in order, some at a time, whatever becomes of the workers."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from concertino._errors import ConcertinoError, ParameterError, ReconstructionError
from concertino._extras import extra

from ._local_workers import local_workers

Work = Callable[..., Any]
"""Takes arguments, and a function to be called with a number of steps that are done."""

_WAITING_PER_WORKER = 2
_LOOK_S = 0.2
_TELL_S = 0.5
_CONNECT_S = 10.0


class Cluster:
    """A dask cluster to work on. Made by `cluster`.

    Parameters
    ----------
    client : distributed.Client
        Connected.
    patience_s : float
        How long there may be no worker, or no scheduler, in s.
    """

    def __init__(self, client: Any, patience_s: float = 30.0) -> None:
        self._client = client
        self._patience_s = patience_s
        self._address = str(client.scheduler.address)
        self._seen_s = time.monotonic()

    @property
    def workers(self) -> int:
        """How many threads the workers have now; each does a part at a time."""
        return max(1, sum(int(worker["nthreads"]) for worker in self._workers()))

    @property
    def memory_bytes(self) -> int | None:
        """The least memory that a thread of a worker may use; None if no worker has a limit."""
        limits = [
            int(worker["memory_limit"]) // max(1, int(worker["nthreads"]))
            for worker in self._workers()
            if worker.get("memory_limit")
        ]
        return min(limits, default=None)

    def wait_for_worker(self) -> None:
        """Return when there is a worker.

        Raises
        ------
        ReconstructionError
            If none comes.
        """
        self._seen_s = time.monotonic()
        while not self._workers():
            self._check_alive("none of its work is done")
            time.sleep(_LOOK_S)

    def in_order(
        self,
        work: Work,
        arguments: Sequence[tuple[Any, ...]],
        steps: int = 1,
        step: Callable[[int], Any] = lambda count: None,
    ) -> Iterator[Any]:
        """Yield what `work` returns for each of some arguments, in their order.

        Only so many results wait at a time as keep the workers busy, so that neither they nor this process
        hold all. The work of a worker that dies is done by another.

        Parameters
        ----------
        work
            A function that the workers can import.
        arguments
            Of each piece of work.
        steps
            How many steps a piece of work takes.
        step
            Called, in this thread, with the number of steps that were done since the last time.

        Raises
        ------
        ReconstructionError
            If the work fails, workers died of it several times, or there are no workers left.
        ConcertinoError
            What the work raised itself.
        """
        topic = f"concertino-{uuid4().hex}"
        done = _Done(steps, step)
        todo = deque(enumerate(arguments))
        waiting: deque[tuple[int, Any]] = deque()
        self._client.subscribe_topic(topic, done.hear)
        try:
            while todo or waiting:
                while todo and len(waiting) < _WAITING_PER_WORKER * self.workers:
                    number, these = todo.popleft()
                    future = self._client.submit(
                        work_and_tell, work, these, topic, number, pure=False
                    )
                    waiting.append((number, future))
                number, future = waiting[0]
                result = self._result(future, done, f"{number} of {len(arguments)} parts are done")
                waiting.popleft()
                done.finished(number)
                future.release()
                yield result
        finally:
            if self._client.status == "running":
                self._client.unsubscribe_topic(topic)
                self._client.cancel([future for _, future in waiting], force=True)

    def _result(self, future: Any, done: _Done, so_far: str) -> Any:
        self._seen_s = time.monotonic()
        # Once, and without a time-out of dask's own, which begins a long transfer anew.
        answer = asyncio.run_coroutine_threadsafe(
            self._client.gather(future, asynchronous=True), self._client.loop.asyncio_loop
        )
        while wait([answer], _LOOK_S).not_done:
            done.report()
            self._check_alive(so_far)
        error = answer.exception()
        if error is None:
            return answer.result()
        if isinstance(error, ConcertinoError):
            raise error
        raise self._failure(error) from error

    def _failure(self, error: BaseException) -> ReconstructionError:
        what = f"{type(error).__name__}: {error}"
        hint = ""
        if isinstance(error, ImportError):
            hint = " Install the same version of concertino where the workers run."
        elif type(error).__name__ == "KilledWorker":
            hint = (
                " A worker is mostly killed for want of memory: give memory_gib, the memory in GiB "
                "for a part, or workers with more."
            )
        elif self._client.status != "running":
            return ReconstructionError(
                f"The dask scheduler at {self._address} was lost ({what}). Start it and its workers "
                "again, and repeat the reconstruction."
            )
        return ReconstructionError(
            f"A part of the reconstruction failed on the dask cluster at {self._address}: "
            f"{what}.{hint}"
        )

    def _check_alive(self, so_far: str) -> None:
        """Refuse to wait for ever for workers that do not come."""
        if self._client.status == "running" and self._workers():
            self._seen_s = time.monotonic()
        elif time.monotonic() - self._seen_s > self._patience_s:
            raise ReconstructionError(
                f"The dask cluster at {self._address} has had no worker for "
                f"{self._patience_s:g} s; {so_far}. Start workers with: dask worker "
                f"{self._address}; or give scheduler='local'."
            )

    def _workers(self) -> list[dict[str, Any]]:
        try:
            return list(self._client.scheduler_info(n_workers=-1)["workers"].values())
        except (OSError, TimeoutError):  # it is looked for again until the patience ends
            return []


class _Done:
    """How much of each piece of work is done."""

    def __init__(self, steps: int, step: Callable[[int], Any]) -> None:
        self._steps, self._step = steps, step
        self._of: dict[int, int] = {}
        self._reported = 0

    def hear(self, event: tuple[float, Any]) -> None:
        """Take in what a worker says; in a thread of dask."""
        number, count = event[1]
        # One that is done again, because a worker died, does not go back.
        self._of[number] = max(self._of.get(number, 0), min(count, self._steps))

    def finished(self, number: int) -> None:
        self._of[number] = self._steps
        self.report()

    def report(self) -> None:
        total = sum(list(self._of.values()))
        if total > self._reported:
            self._step(total - self._reported)
            self._reported = total


def work_and_tell(work: Work, arguments: tuple[Any, ...], topic: str, number: int) -> Any:
    """Work, in a worker, and tell now and then how far it is."""
    with extra("dask", "A worker of dask"):
        from distributed import get_worker
    worker = get_worker()
    done = 0
    told_s = 0.0

    def step(count: int) -> None:
        nonlocal done, told_s
        done += count
        if time.monotonic() - told_s > _TELL_S:
            told_s = time.monotonic()
            worker.log_event(topic, [number, done])

    try:
        return work(*arguments, step)
    except ConcertinoError as error:
        error.add_note(f"on the dask worker {worker.address}")
        raise


@contextmanager
def cluster(scheduler: Any, patience_s: float = 30.0, *, preload: str = "") -> Iterator[Cluster]:
    """Connect to a scheduler, or have workers on this computer as long as the block lasts.

    Parameters
    ----------
    scheduler : str or distributed.Client
        ``"local"``: a worker process for each core of this computer; or a scheduler's address, as
        ``tcp://host:8786``; or a client that is connected.
    patience_s : float
        How long there may be no worker, in s.
    preload : str
        Python that each worker which is started here runs before it is ready.

    Raises
    ------
    MissingExtraError
        If dask is not installed.
    ReconstructionError
        If the scheduler does not answer, or has no worker.
    ParameterError
        If it is nothing of these.
    """
    with extra("dask", f"The scheduler {scheduler!r}"):
        import distributed
    if isinstance(scheduler, distributed.Client):
        if scheduler.asynchronous or scheduler.status != "running":
            raise ParameterError(
                f"scheduler: {scheduler} was given, which is "
                + ("asynchronous" if scheduler.asynchronous else scheduler.status)
                + "; give a client that is connected and not asynchronous."
            )
        yield _ready(scheduler, patience_s)
    elif scheduler == "local":
        with local_workers(distributed, preload) as client:
            yield _ready(client, patience_s)
    elif isinstance(scheduler, str):
        with _connected(distributed, scheduler) as client:
            yield _ready(client, patience_s)
    else:
        raise ParameterError(
            f"scheduler: {scheduler!r} was given; give 'local', the address of a dask scheduler, or a "
            "distributed.Client."
        )


def _ready(client: Any, patience_s: float) -> Cluster:
    result = Cluster(client, patience_s)
    result.wait_for_worker()
    return result


def _connected(distributed: Any, address: str) -> Any:
    try:
        return distributed.Client(address, timeout=_CONNECT_S)
    except (OSError, TimeoutError, ValueError) as error:
        raise ReconstructionError(
            f"No dask scheduler answers at {address!r}: {error}. Start one with: dask scheduler; or "
            "give 'local'."
        ) from error
