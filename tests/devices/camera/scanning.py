"""Short scans of one camera, and subscribers that misbehave."""

import threading
from collections.abc import Callable
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky import RunEngine
from bluesky.utils import MsgGenerator

from concertino.callbacks import announced_streams
from concertino.devices import Camera, SimulatedBeamline
from concertino.frames import Claim, FrameRequest, Subscription, subscribe
from concertino.simulation import Faults

CLAIM = Claim(
    "file://localhost/nowhere/",
    "multipart/related;type=image/tiff",
    {"template": "frame_{:06d}.tif", "chunk_shape": (1, 16, 16), "join_method": "concat"},
)


def make_camera(faults: Faults | None = None, **settings: Any) -> Camera:
    """Return a tiny and fast camera."""
    given: dict[str, Any] = {"exposure": 0.0, "frame_rate": 0.0, "ring_bytes": 2**16, **settings}
    return SimulatedBeamline(shape=(16, 16), faults=faults, **given).camera


def in_run(plan: MsgGenerator[None], *cameras: Camera) -> MsgGenerator[None]:
    """Run a plan as a run, the cameras staged."""
    yield from bpp.stage_wrapper(bpp.run_wrapper(plan), cameras)


def fly(camera: Camera, request: FrameRequest) -> MsgGenerator[None]:
    """Take frames at the camera's own pace, as one run."""

    def inner() -> MsgGenerator[None]:
        yield from bps.prepare(camera, request, wait=True)
        yield from bps.declare_stream(camera, name="frames")
        yield from bps.kickoff(camera, wait=True)
        try:
            yield from bps.complete(camera, wait=True)
        finally:
            yield from bps.unstage(camera, wait=True)
            yield from bps.collect(camera, name="frames")

    yield from in_run(inner(), camera)


class Scans:
    """A RunEngine and the documents that it emitted."""

    def __init__(self) -> None:
        self.RE = RunEngine({})
        self.documents: list[tuple[str, Any]] = []
        self.RE.subscribe(self._note)

    def _note(self, name: str, document: Any) -> None:
        self.documents.append((name, document))

    def find(self, kind: str) -> list[Any]:
        return [document for name, document in self.documents if name == kind]

    def described(self) -> list[int]:
        """Return the indices of the frames that are described."""
        indices = [document["indices"] for document in self.find("stream_datum")]
        return [i for each in indices for i in range(each["start"], each["stop"])]


class Reader:
    """A document callback that reads frames in a thread, as a test tells it to."""

    def __init__(
        self,
        take: Callable[[Subscription], None],
        *,
        name: str = "reader",
        claim: Claim | None = CLAIM,
    ) -> None:
        self._take, self._name, self._claim = take, name, claim
        self._start: Any = None
        self.threads: list[threading.Thread] = []

    def __call__(self, name: str, document: Any) -> None:
        if name == "start":
            self._start = document
        elif name == "descriptor":
            for stream in announced_streams(self._start, document):
                subscription = subscribe(stream.address, name=self._name, claim=self._claim)
                thread = threading.Thread(target=self._run, args=(subscription,), daemon=True)
                self.threads.append(thread)
                thread.start()

    def _run(self, subscription: Subscription) -> None:
        try:
            with subscription:
                self._take(subscription)
        except Exception:
            return  # The subscription has told the camera.


def read_all(subscription: Subscription) -> None:
    """Take every frame, as a good subscriber does."""
    for batch in subscription:
        subscription.acknowledge(batch.stop)
    subscription.finish()
