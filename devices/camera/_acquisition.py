"""One acquisition: the thread that carries frames from a source to a frame stream."""

import asyncio
import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from concertino import CameraError
from concertino._clocks import CameraTimes, HostTimes
from concertino.frames import FrameRequest, FrameStream

from ._acquisition_failures import failure, hanging, silent, started_twice
from ._async_source import reads_rows
from ._exposing import Exposing, Exposures
from ._frame_source import FrameSource, first_number_of
from ._pre_trigger import PreviewStream, hold_until_fired
from ._source_watch import SourceWatch

_BATCH_BYTES = 4 * 2**20
#: How late a frame may be, and how long a source may take to stop, in seconds.
PATIENCE_S = 15.0
#: A camera may take so many times that to prepare, or to start: it may have to cool, or to compile.
PREPARES = 8
_SLICE_S = 0.25


class Acquisition(Exposing):
    """Publishes the frames of one request, in a thread of its own.

    Parameters
    ----------
    camera : str
        Name of the camera in messages.
    source : FrameSource
        Where frames come from; prepared already.
    stream : FrameStream
        Where they go.
    request : FrameRequest
        How many.
    wake : callable
        Called in any thread whenever a counter changed.
    preview : PreviewStream, optional
        Shows frames while a retrospective request waits for its trigger.
    expected_s : float
        Time from frame to frame, or from a software trigger to its frame, in seconds.
    patience_s : float
        How much later than twice that a frame may come, and how long the source may take to stop,
        in seconds.
    trigger : str
        What starts an exposure, if it is not what the request says: a camera that the plan lets go on at its own
        pace may wait for pulses.
    """

    stream: FrameStream

    def __init__(
        self,
        camera: str,
        source: FrameSource,
        stream: FrameStream,
        request: FrameRequest,
        wake: Callable[[], None],
        preview: PreviewStream | None = None,
        *,
        expected_s: float = 0.0,
        patience_s: float = PATIENCE_S,
        trigger: str = "",
    ) -> None:
        self.request = request
        self.wanted = None if request.retrospective else request.count
        self.stream = stream
        self._started = threading.Event()
        self._done = threading.Event()
        self._camera = camera
        self._source = source
        self._watch = SourceWatch(source, request, expected_s)
        self._patience_s = patience_s
        self._trigger = trigger or request.trigger
        self._wake = wake
        self._exposures = Exposures()
        self._preview = preview
        self._stopping = threading.Event()
        self._idle = threading.Event()
        self._thread: threading.Thread | None = None
        self._given_up = False
        self._hung = (
            "stop",
            patience_s,
        )  # what a source that hangs was told to do, and within how many s
        stream.add_listener(wake)
        stream.triggered = self.wanted or 0

    @property
    def preview(self) -> str:
        """Where the newest frame is shown until a trigger comes; empty where none is waited for."""
        return "" if self._preview is None else self._preview.address

    @property
    def started(self) -> bool:
        """Whether it exposes, or did."""
        return self._started.is_set()

    @property
    def done(self) -> bool:
        """Whether it has ended, and its subscribers are done with the stream."""
        return self._done.is_set()

    @property
    def running(self) -> bool:
        return self._thread is not None and not self.done

    def exposures(self, since: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the camera's numbers of the frames published, and the middles of their exposures.

        Parameters
        ----------
        since : int
            Index of the first frame to return.

        Returns
        -------
        numbers, times_ns : ndarray of int64, shape (n,)
            Counted from the camera's first number; and in ns by the camera's clock.
        """
        numbers, times_ns = self._exposures.since(since)
        return numbers - self.first_number, times_ns

    @property
    def first_number(self) -> int:
        """The camera's number of the first frame that it exposes."""
        declared = first_number_of(self._source)
        if declared is None:  # then it is that of the first frame that came
            declared = self._exposures.first_number
        return int(declared)

    def end(self) -> None:
        """Expose no more frames: those until now are all that the request is for."""
        if self.request.retrospective is not None:
            self.request_stop()  # Nothing is kept yet, or what is to be kept is not whole.
            return
        self._ending = True
        later = self.request.readout == "later" and self._thread is not None
        if later and self._trigger not in ("edge", "level"):
            return  # What is recorded is still to be read out; a source that was stopped gives no more.
        if later:
            self._stopping.set()  # It may wait for a pulse for ever.
        if self._thread is None and not self.done:
            self.start()  # It exposes nothing, and ends the stream in good order.
        self._watch.stop()

    @property
    def idle(self) -> bool:
        """Whether nothing is exposed any more."""
        return self._idle.is_set()

    async def ended(self) -> None:
        """Wait until nothing is exposed any more; frames may still become safe.

        Raises
        ------
        CameraError
            If the source does not stop.
        """
        if not await self._let_go():
            raise self.error or CameraError(self.hanging)

    @property
    def hangs(self) -> bool:
        return self._given_up and self._thread is not None and self._thread.is_alive()

    @property
    def hanging(self) -> str:
        told, within_s = self._hung
        return hanging(self._camera, self.request, self.exposed, self.wanted, within_s, told)

    def note_trigger(self) -> None:
        """Note that a frame was asked for by a software trigger."""
        self._watch.note_trigger()

    def check_silence(self) -> None:
        """Fail the acquisition if a frame was due long ago, or the source does not start or stop."""
        watch = self._watch
        if (told := watch.told) is not None and not self.done:
            # Who knows more of it, such as a source with deadlines of its own, may say so first.
            allowed_s = self._patience_s * (PREPARES if told[0] == "start" else 2)
            if time.monotonic() - told[1] > allowed_s and not self._given_up:
                self._hung = told[0], allowed_s
                self._give_up()
            return
        silent_s = watch.silent_s
        if silent_s <= 2 * watch.expected_s + self._patience_s or self.done:
            return
        if self.error is None:
            sentence = silent(
                self._camera, self.request, self._trigger, self.exposed, self.wanted, silent_s,
                watch.expected_s,
            )  # fmt: skip
            self._fail(CameraError(sentence))
            self.request_stop()
            self._wake()

    def start(self) -> None:
        """Start the thread.

        Raises
        ------
        CameraError
            If it was started before.
        """
        if self._thread is not None:
            raise CameraError(started_twice(self._camera, self.request))
        self._thread = threading.Thread(
            target=self._run, name=f"{self._camera} frames", daemon=True
        )
        self._thread.start()

    def request_stop(self) -> None:
        """Stop exposing; the stream ends soon. One that has ended leaves the source to the next."""
        if self.done:
            return
        self._stopping.set()
        self._watch.stop()
        if self._thread is None:
            self._end_preview()
            self.stream.close()
            self._done.set()

    async def stop(self) -> None:
        """Stop exposing, end the stream and wait until the subscribers are done with it.

        A source that does not stop is given up: its stream fails.
        """
        self.request_stop()
        if self._thread is None or not await self._let_go():
            return
        # Subscribers that do nothing for longer than their time-out fail the stream, which ends this.
        while not await happened(self._done, _SLICE_S):
            self._wake()

    async def _let_go(self) -> bool:
        """Wait until nothing is exposed any more; give the source up, and say so, if it hangs."""
        slice_s, stuck_s = min(_SLICE_S, self._patience_s / 4), 0.0
        while self._thread is not None and not self._given_up:
            if await happened(self._idle, slice_s):
                return True
            # A thread that waits for a slow subscriber is let; one that waits for the source is not.
            stuck_s = stuck_s + slice_s if self._watch.busy else 0.0
            if stuck_s >= self._patience_s:
                self._give_up()
        return not self._given_up

    def _give_up(self) -> None:
        """Leave the thread to a source that does not come back, and end what others wait for."""
        self._given_up = True
        self.error = self.error or CameraError(self.hanging)
        self.stream.fail(self.error)
        self._end_preview()
        self.stream.close()
        self._started.set()
        self._done.set()
        self._wake()

    def _run(self) -> None:
        try:
            try:
                if self._ending:
                    self.stream.triggered = 0
                else:
                    self._begin()
                    self._carry()
            except BaseException as error:
                if self.error is None:  # else it is known already why it was stopped
                    self._fail(error)
            finally:
                self._end_source()
                self._idle.set()
            if self._given_up:
                return
            self.ledger = self.stream.end()
            if self.error is None:
                self.error = self.stream.error
        except BaseException as error:
            self.error = self.error or error
        finally:
            self._end_preview()
            self._idle.set()
            self.stream.close()
            self._started.set()
            self._done.set()
            self._wake()

    def _end_source(self) -> None:
        try:
            self._watch.end()
        except BaseException as error:
            if self.error is None:
                self._fail(error)

    def _begin(self) -> None:
        self._watch.start()
        self.start_s = self._watch.started_s
        self._started.set()
        self._wake()
        if self.request.readout == "later":
            self._record()

    def _record(self) -> None:
        """Have all frames exposed into the camera's memory."""
        wanted = self.request.count or 0
        while self.stream.recorded < wanted and not (self._stopping.is_set() or self._ending):
            self.stream.recorded = self._watch.record(self.stream.recorded)
            self._wake()
        if self._ending:
            self.wanted = self.stream.recorded

    def _carry(self) -> None:
        stream = self.stream
        at_once = max(1, min(_BATCH_BYTES // stream.ring.frame_bytes, stream.capacity // 4))
        if self.request.retrospective is not None:
            self.wanted = hold_until_fired(
                self._camera, self._watch, stream, self.request, self._stopping, self._preview
            )
            places = [stream.ring.place(index) for index in range(stream.published)]
            shown = self._watch.shown(HostTimes(stream.ring.timestamps[places]))
            self._exposures.add(stream.ring.numbers[places], shown)
            self._end_preview()
            self._wake()
        if (reader := reads_rows(self._source)) is not None:
            reader.choose_rows = self._needed_rows
        wanted = self.wanted
        exposed = stream.published + len(stream.dropped)
        while (wanted is None or exposed < wanted) and not self._done_exposing():
            count = at_once if wanted is None else min(at_once, wanted - exposed)
            grab, times = self._watch.grab(stream.reserve(count))
            if self._given_up:
                return
            stream.note_dropped(grab.dropped, grab.why)
            stream.commit(len(grab.numbers), times.ns, grab.numbers)
            if len(grab.numbers):
                self._exposures.add(grab.numbers, CameraTimes(grab.timestamps))
            exposed += len(grab.numbers) + len(grab.dropped)
            self._wake()
        if self._ending and not self._stopping.is_set():
            stream.triggered = exposed
            return
        if wanted is not None and exposed < wanted:
            raise CameraError(
                f"Camera {self._camera} was stopped after {exposed} of {wanted} frames "
                f"of {self.request.kind}."
            )

    def _needed_rows(self, count: int) -> tuple[tuple[int, int], ...] | None:
        """Return which rows of the next frames those who take them need; None for all."""
        with self.stream.changed:
            return self.stream.flow.choose_rows(count)

    def _end_preview(self) -> None:
        if self._preview is not None:
            self._preview.end()

    def _done_exposing(self) -> bool:
        # What was recorded before the end is read out after it.
        ended = self._ending and self.request.readout != "later"
        return self._stopping.is_set() or ended

    def _fail(self, error: BaseException) -> None:
        stream = self.stream
        self.error = failure(
            error, self._camera, self.request, recorded=stream.recorded, published=stream.published
        )
        stream.fail(self.error)


async def happened(event: threading.Event, within_s: float) -> bool:
    """Wait for an event of another thread, in slices: what waits for ever would keep Python from ending.

    Returns
    -------
    bool
        Whether it happened.
    """
    deadline_s = time.monotonic() + within_s
    while not event.is_set():
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            return False
        await asyncio.to_thread(event.wait, min(left_s, _SLICE_S))
    return True
