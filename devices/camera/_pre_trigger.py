"""A camera exposes into its ring until a trigger says which frames are wanted."""

from __future__ import annotations

import math
import re
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino import CameraError, FrameStreamError
from concertino._clocks import HostTimes
from concertino.frames import FrameRequest, FrameStream, PreTriggerBuffer, Recording

from ._camera_checks import HELD_SPARE
from ._source_watch import SourceWatch

_BATCH_BYTES = 4 * 2**20
#: A camera that exposes nothing later than the trigger's time is not waited for longer than this.
_LATEST_S = 5.0
#: A trigger may be fired so long before the camera exposes its first frame, in seconds.
_SOON_S = 1.0


class PreviewStream:
    """A frame stream of its own that shows some of the frames while nothing is published.

    Only those who want the ``latest`` frame are served: nobody may hold up the camera.

    Parameters
    ----------
    address : str
        As of `FrameStream`; another port of its host is taken.
    frames : FrameStream
        Whose frames they are.
    rate_hz : float
        Frames a second that are shown, at most.
    """

    def __init__(self, address: str, frames: FrameStream, rate_hz: float) -> None:
        self._stream = FrameStream(
            _beside(address),
            shape=frames.shape,
            dtype=frames.dtype,
            name=f"{frames.name}/preview",
            ring_bytes=2 * frames.ring.frame_bytes,
        )
        self.address = self._stream.address
        self._period_s = 1 / rate_hz
        self._due_s = 0.0
        self._ended = False

    def show(self, frame: NDArray[Any], timestamp_ns: int, number: int) -> None:
        """Show a frame if it is time."""
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        self._due_s = now_s + self._period_s
        try:
            self._stream.reserve(1, timeout_s=0)[0] = frame
            self._stream.commit(1, [timestamp_ns], [number])
        except FrameStreamError:
            return  # Somebody wants every frame of it, and is slow; the camera is not.

    def end(self) -> None:
        """Say that no more frames come; idempotent."""
        if not self._ended:
            self._ended = True
            self._stream.end(timeout_s=0)
            self._stream.close()


def hold_until_fired(
    camera: str,
    source: SourceWatch,
    stream: FrameStream,
    request: FrameRequest,
    stopping: threading.Event,
    preview: PreviewStream | None,
) -> int:
    """Expose into the ring until the trigger fires, then publish what is wanted of it.

    Parameters
    ----------
    camera : str
        Name of the camera in messages.
    source : SourceWatch
        Exposes already.
    stream : FrameStream
        Nothing was published on it.
    request : FrameRequest
        A retrospective one.
    stopping : threading.Event
        Set when the camera is to stop.
    preview : PreviewStream, optional
        Shows frames meanwhile.

    Returns
    -------
    int
        Frames that are to be on the stream in the end, lost ones included.

    Raises
    ------
    CameraError
        If the camera is stopped before.
    """
    asked = request.retrospective
    assert asked is not None
    held = PreTriggerBuffer(stream)
    at_once = max(1, min(_BATCH_BYTES // stream.ring.frame_bytes, HELD_SPARE))
    if asked.trigger.event is None:
        asked.trigger.arm()
    newest, deadline_s = HostTimes(0), math.inf
    # Frames exposed before the trigger may be delivered after it.
    while (event := asked.trigger.event) is None or (
        newest <= event.time and time.monotonic() < deadline_s
    ):
        if event is not None and deadline_s == math.inf:
            deadline_s = time.monotonic() + _LATEST_S
        if stopping.is_set():
            raise CameraError(
                f"Camera {camera} was stopped while it waited for a trigger to keep frames of "
                f"{request.kind}; it had exposed {held.stop}, and none is kept."
            )
        slots = held.slots(at_once)
        grab, times = source.grab(slots)
        count = len(grab.numbers)
        held.keep(count, times.ns, grab.numbers, grab.dropped)
        newest = times[-1] if count else newest
        if preview is not None and count:
            preview.show(slots[count - 1], int(newest.ns), int(grab.numbers[-1]))
    since = held.position_after(event.time)
    # The oldest may have been written over in part.
    oldest = max(held.first, held.stop + at_once - stream.capacity)
    late_s = 0.0
    if since <= oldest:  # Nothing before it is there: was the event before all that is?
        since = oldest
        late_s = _late_s(stream, since, held.stop, event.time)
    first = max(oldest, since - asked.before)
    stop = min(held.stop, since + asked.after)
    held.publish(first, stop)
    before = since - first
    lost_before = sum(1 for number in stream.dropped if number < _number_at(stream, before))
    wanted = before + lost_before + asked.after
    stream.triggered = max(wanted, stream.published + len(stream.dropped))
    asked.trigger.note(camera, Recording(event, before, asked.after, stream.discarded, late_s))
    return wanted


def _late_s(stream: FrameStream, first: int, stop: int, event: HostTimes) -> float:
    """Return how long after an event the first frame was exposed that is there, in s; 0 if that is soon."""
    if first >= stop:
        return 0.0
    times = HostTimes(stream.ring.timestamps[np.arange(first, stop)[:2] % stream.capacity])
    late_s = float(times[0].since(event))
    period_s = float(times[-1].since(times[0]))
    return late_s if late_s > max(_SOON_S, 2 * period_s) else 0.0


def _beside(address: str) -> str:
    """Return an address at the same host that nobody has yet."""
    return re.sub(r"^(tcp://[^/]*:)\d+.*$", r"\g<1>0", address)


def _number_at(stream: FrameStream, index: int) -> int:
    """Return the camera's number of a published frame; of the last and one more if it is not there."""
    ring = stream.ring
    if index < stream.published:
        return int(ring.numbers[ring.place(index)])
    return int(ring.numbers[ring.place(index - 1)]) + 1 if index else int(np.iinfo(np.int64).min)
