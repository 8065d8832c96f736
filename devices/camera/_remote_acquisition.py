"""An acquisition that a Tango server carries out, and how far it is."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from concertino import CameraError, ConcertinoError, DeviceError
from concertino._tango_client import TangoClient, error_of
from concertino.frames import Claim, FrameRequest, Ledger, SubscriberLedger

from ._acquisition import Acquisition
from ._acquisition_failures import started_twice
from ._exposing import Exposing

T = TypeVar("T")
_LOOK_S = 0.02
_LOOK_TRIGGERED_S = 0.003
_GONE_S = 6.0
_SLICE_S = 0.25


@dataclass(frozen=True)
class AcquisitionProgress:
    """State and counters of an acquisition and its stream, at one moment.

    Parameters
    ----------
    started, idle, done : bool
        Whether it exposes, or did; whether nothing is exposed any more; whether all has ended.
    start_s : float
        When it started, in seconds since the epoch; 0 before.
    recorded, published, acknowledged, dropped, claims
        As of a `FrameStream`.
    error : BaseException or None
        Why it failed.
    ledger : Ledger or None
        The ledger of the stream, when it has ended.
    """

    started: bool = False
    idle: bool = False
    done: bool = False
    start_s: float = 0.0
    recorded: int = 0
    published: int = 0
    acknowledged: int = 0
    dropped: tuple[int, ...] = ()
    claims: tuple[Claim, ...] = ()
    error: BaseException | None = None
    ledger: Ledger | None = None

    @classmethod
    def of(cls, acquisition: Acquisition) -> Self:
        """Return how far an acquisition of this process is."""
        stream = acquisition.stream
        return cls(
            # What was done when this is looked at has its last error and its ledger already.
            done=acquisition.done,
            started=acquisition.started,
            idle=acquisition.idle,
            start_s=acquisition.start_s,
            recorded=stream.recorded,
            published=stream.published,
            acknowledged=stream.acknowledged,
            dropped=stream.dropped,
            claims=stream.claims,
            error=acquisition.error or stream.error,
            ledger=acquisition.ledger,
        )

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        error = self.error and [type(self.error).__name__, str(self.error)]
        return asdict(replace(self, error=None)) | {"error": error}

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> Self:
        """Return what a server said."""
        ledger = said["ledger"]
        if ledger is not None:
            parties = tuple(SubscriberLedger(**party) for party in ledger["subscribers"])
            told = {"subscribers": parties, "dropped": tuple(ledger["dropped"])}
            ledger = Ledger(**ledger | told)
        return cls(
            **said
            | {
                "dropped": tuple(said["dropped"]),
                "claims": tuple(Claim(**claim) for claim in said["claims"]),
                "error": said["error"] and error_of(*said["error"]),
                "ledger": ledger,
            }
        )


class RemoteStream:
    """The counters of a frame stream that is published elsewhere; as those of a `FrameStream`."""

    def __init__(self, name: str, made: dict[str, Any]) -> None:
        height, width = made["shape"]
        self.name = name
        self.address: str = made["address"]
        self.shape: tuple[int, int] = (height, width)
        self.dtype: np.dtype[Any] = np.dtype(made["dtype"])
        self.error: BaseException | None = None
        self.follow(AcquisitionProgress())

    def follow(self, progress: AcquisitionProgress) -> None:
        """Count what the server counts."""
        self.recorded, self.published = progress.recorded, progress.published
        self.acknowledged = progress.acknowledged
        self.dropped, self.claims = progress.dropped, progress.claims
        self.error = progress.error or self.error

    def ledger(self) -> Ledger:
        """Return what is known when the server gave no ledger."""
        reason = "" if self.error is None else str(self.error)
        exposed = max(self.published + len(self.dropped), self.recorded)
        return Ledger(
            self.address, self.name, 0, exposed, self.published, self.dropped, "", (), reason,
            recorded=self.recorded,
        )  # fmt: skip


class RemoteAcquisition(Exposing):
    """An acquisition at the server, followed from here.

    Parameters
    ----------
    client : TangoClient
        The server.
    camera : str
        Name of the camera in messages.
    request : FrameRequest
        What was asked.
    made : dict
        The server's answer to ``Prepare``.
    wake : callable
        Called in any thread whenever a counter changed.
    """

    stream: RemoteStream
    #: Its server knows of sources that hang.
    hangs = False
    hanging = ""
    #: It waits for no trigger.
    preview = ""

    def __init__(
        self,
        client: TangoClient,
        camera: str,
        request: FrameRequest,
        made: dict[str, Any],
        wake: Callable[[], None],
    ) -> None:
        self.request = request
        self.wanted = request.count
        self.stream = RemoteStream(f"{camera}/{request.kind}", made)
        self._client = client
        self._camera = camera
        self._wake = wake
        self._asked_to_start = self._stopping = False
        self._unheard_s, self._looked_s = 0.0, time.monotonic()
        #: Why its server was given up.
        self.lost: CameraError | None = None
        self._progress = AcquisitionProgress()
        self._changed = threading.Condition()
        threading.Thread(target=self._follow, name=f"{camera} progress", daemon=True).start()

    @property
    def started(self) -> bool:
        """Whether it exposes, or did."""
        return self._progress.started

    @property
    def running(self) -> bool:
        return self._asked_to_start and not self.done

    @property
    def idle(self) -> bool:
        """Whether nothing is exposed any more."""
        return self._progress.idle

    @property
    def done(self) -> bool:
        """Whether it has ended, and its subscribers are done with the stream."""
        return self._progress.done

    def exposures(self, since: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ask the server for numbers and times of the frames, as `Acquisition.exposures` returns them."""
        told = self._client.call("Exposures", since=since)
        return np.array(told["numbers"], np.int64), np.array(told["times_ns"], np.int64)

    def start(self) -> None:
        """Start exposing."""
        if self._asked_to_start:
            raise CameraError(started_twice(self._camera, self.request))
        self._asked_to_start = True
        self._client.call("Start")

    def request_stop(self) -> None:
        """Stop exposing; the stream ends soon."""
        if not self._stopping and not self.done:
            self._stopping = True
            # Not in the RunEngine's loop: a server that is gone answers late.
            threading.Thread(target=self._tell, args=("Stop",), name=f"{self._camera} stop").start()

    async def stop(self) -> None:
        """Stop exposing, and wait until the subscribers are done with the stream."""
        self.request_stop()
        # The server gives up a source that hangs, and `_follow` a server that does.
        await self._until(lambda progress: progress.done)

    def end(self) -> None:
        """Expose no more frames: those until now are all that the request is for."""
        self._ending = True
        threading.Thread(target=self._tell, args=("End",), name=f"{self._camera} end").start()

    async def ended(self) -> None:
        """Wait until nothing is exposed any more; frames may still become safe."""
        await self._until(lambda progress: progress.idle or progress.done)

    async def answer(self, ask: Callable[[], T]) -> T:
        """Return what the server answers; who waits for it has beam, and waits for one that is lost no longer than others.

        Parameters
        ----------
        ask : callable
            Asks it, in a thread.

        Raises
        ------
        CameraError
            If the server is lost meanwhile.
        """
        lost = self.lost
        asked = asyncio.ensure_future(asyncio.to_thread(ask))
        while not (await asyncio.wait({asked}, timeout=_SLICE_S))[0]:
            self.check_silence()
            if self.lost is not lost:
                asked.add_done_callback(lambda late: late.cancelled() or late.exception())
                assert self.lost is not None
                raise self.lost
        return asked.result()

    def note_trigger(self) -> None:
        """Do nothing: the server watches its source."""

    def check_silence(self) -> None:
        """Fail the acquisition if its server is silent: a call of one that is cut off takes longer than it is waited for."""
        now_s = time.monotonic()
        # In small steps: a session that was stopped itself has heard nobody meanwhile.
        self._unheard_s += min(now_s - self._looked_s, 2 * _SLICE_S)
        self._looked_s = now_s
        if self._unheard_s > _GONE_S and not self.done:
            silent = DeviceError(
                f"The server at {self._client.address} has not answered for {_GONE_S:g} s. See whether 'concertino tango "
                "camera' runs there and is not stopped, and the network to it."
            )
            self._note(self._lost(silent))

    def _tell(self, command: Literal["Stop", "End"]) -> None:
        try:
            self._client.call(command)
        except ConcertinoError as error:
            self.error = self.error or error
            if command == "End":
                self.request_stop()

    async def _until(self, reached: Callable[[AcquisitionProgress], bool]) -> None:
        """Wait for a progress; in slices, as what waits for ever would keep Python from ending."""
        while not await asyncio.to_thread(self._wait, reached, _SLICE_S):
            self._wake()

    def _wait(self, reached: Callable[[AcquisitionProgress], bool], within_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: reached(self._progress), within_s)

    def _follow(self) -> None:
        heard_s = time.monotonic()
        pause_s = _LOOK_TRIGGERED_S if self.request.trigger == "software" else _LOOK_S
        while not self.done:
            try:
                self._note(AcquisitionProgress.from_json(self._client.call("Progress")))
                heard_s, self._unheard_s = time.monotonic(), 0.0
            except ConcertinoError as error:
                gone = time.monotonic() - heard_s > _GONE_S
                if gone or "is not prepared for this session" in str(error):
                    self._note(self._lost(error))
            except (
                Exception
            ) as error:  # What it says cannot be read; nobody else would end the wait.
                self._note(
                    self._lost(CameraError(f"its server said what cannot be read: {error!r}"))
                )
            self._wake()
            self._wait(lambda progress: progress.done, pause_s)

    def _lost(self, error: ConcertinoError) -> AcquisitionProgress:
        """Return how far it was when its server was gone."""
        progress = self._progress
        lost = CameraError(
            f"Camera {self._camera} was lost after {progress.published} frames of {self.request.kind}, "
            f"{progress.acknowledged} of them safe: {error}"
        )
        self.lost = self.lost or lost
        return replace(progress, started=True, done=True, error=lost)

    def _note(self, progress: AcquisitionProgress) -> None:
        if self.done:  # What a server says that was given up comes too late.
            return
        self.stream.follow(progress)
        self.error = progress.error or self.error
        self.ledger = progress.ledger or self.ledger
        self.start_s = progress.start_s
        with self._changed:
            self._progress = progress
            self._changed.notify_all()


AnyAcquisition = Acquisition | RemoteAcquisition
