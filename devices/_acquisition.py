"""One acquisition: the thread that carries frames from a source to a frame stream."""

import asyncio
import threading
import time
from collections.abc import Callable

from concertino import CameraError, ConcertinoError
from concertino.frames import FrameRequest, FrameStream, Ledger

from ._frame_source import FrameSource

_BATCH_BYTES = 4 * 2**20


class Acquisition:
    """Publishes the frames of one request; the RunEngine's loop only sees counters.

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
    """

    def __init__(
        self,
        camera: str,
        source: FrameSource,
        stream: FrameStream,
        request: FrameRequest,
        wake: Callable[[], None],
    ) -> None:
        self.request = request
        self.stream = stream
        self.error: BaseException | None = None
        self.ledger: Ledger | None = None
        self.start_s = 0.0
        self.started = threading.Event()
        self.done = threading.Event()
        self._camera = camera
        self._source = source
        self._wake = wake
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        stream.add_listener(wake)
        stream.triggered = request.count or 0

    @property
    def running(self) -> bool:
        """Whether the thread has been started and has not ended."""
        return self._thread is not None and not self.done.is_set()

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(
            target=self._run, name=f"{self._camera} frames", daemon=True
        )
        self._thread.start()

    def request_stop(self) -> None:
        """Stop exposing; the stream ends soon."""
        self._stopping.set()
        self._source.stop()
        if self._thread is None:
            self.stream.close()
            self.done.set()

    async def stop(self) -> None:
        """Stop exposing, end the stream and wait until the subscribers are done with it."""
        self.request_stop()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        try:
            try:
                self._source.start()
                self.start_s = time.time()
                self.started.set()
                self._wake()
                self._carry()
            except BaseException as error:
                self.error = self._as_camera_error(error)
                self.stream.fail(self.error)
            finally:
                self._source.stop()
            self.ledger = self.stream.end()
            if self.error is None:
                self.error = self.stream.error
        except BaseException as error:
            self.error = self.error or error
        finally:
            self.stream.close()
            self.started.set()
            self.done.set()
            self._wake()

    def _carry(self) -> None:
        stream, wanted = self.stream, self.request.count
        at_once = max(1, min(_BATCH_BYTES // stream.ring.frame_bytes, stream.capacity // 4))
        exposed = 0
        while (wanted is None or exposed < wanted) and not self._stopping.is_set():
            count = at_once if wanted is None else min(at_once, wanted - exposed)
            grab = self._source.grab(stream.reserve(count))
            stream.note_dropped(grab.dropped)
            stream.commit(len(grab.numbers), grab.timestamps, grab.numbers)
            exposed += len(grab.numbers) + len(grab.dropped)
            self._wake()
        if wanted is not None and exposed < wanted:
            raise CameraError(
                f"Camera {self._camera} was stopped after {exposed} of {wanted} frames "
                f"of {self.request.kind}."
            )

    def _as_camera_error(self, error: BaseException) -> BaseException:
        if isinstance(error, ConcertinoError):
            return error
        wrapped = CameraError(
            f"Camera {self._camera} failed after {self.stream.published} frames of "
            f"{self.request.kind}: {type(error).__name__}: {error}"
        )
        wrapped.__cause__ = error
        return wrapped

    def check(self) -> None:
        """Raise what went wrong: the camera's failure, a subscriber's, or lost frames."""
        error = self.error or self.stream.error
        if error is not None:
            raise error
        if self.ledger is not None and self.request.on_lost == "fail":
            self.ledger.check()
