"""What a display shows of a running scan, free of any display."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._picture import Panel, Picture, downsample
from ._progress import RunTracker

MAX_SLICES = 16
Control = Callable[[dict[str, Any]], Any]
_RATE_WINDOW_S = 2.0


class LiveState:
    """The newest of everything: run, progress, frames and slices.

    It is filled by a callback and read by displays (a page, a notebook widget, a window), from any
    threads. It holds one picture for each camera and at most sixteen slices, however long
    it is fed and however slowly it is read.

    Attributes
    ----------
    asked : threading.Event
        Set whenever a display asks for something; who fills the state may clear it and wait for it.

    Examples
    --------
    >>> import numpy as np
    >>> from concertino.viewers import LiveState
    >>> state = LiveState()
    >>> state.show_frame(np.ones((2, 3), np.uint16), camera="camera", stream="flats", number=7)
    >>> picture = state.newer("frames", 0)
    >>> picture.label, picture.stream, picture.number, picture.shape
    ('camera', 'flats', 7, (2, 3))
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tracker = RunTracker()
        self._pictures: dict[Panel, dict[str, Picture]] = {"frames": {}, "slices": {}}
        self._rates: dict[str, _Rate] = {}
        self._version = 0
        self._control: Control | None = None
        self._answer = ""
        self.asked = threading.Event()

    def document(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a document of a run; a few microseconds."""
        with self._lock:
            self._tracker(name, doc)
            if name == "start" and "derived_from" not in doc:
                self._answer = ""
                self._pictures["slices"].clear()
                self._rates.clear()

    def show_frame(
        self, frame: ArrayLike, *, camera: str, stream: str = "", number: int = 0
    ) -> None:
        """Make a frame the camera's newest.

        Parameters
        ----------
        frame : array_like, shape (height, width)
            It is copied.
        camera, stream : str
            Where it comes from.
        number : int
            Index of the frame in its stream, from 0. The rate is told from these.
        """
        self._show("frames", camera, frame, stream, number)

    def processes(self, run: str) -> bool:
        """Whether a run, by its uid, processes the data of another."""
        with self._lock:
            return self._tracker.processes(run)

    def show_slice(self, image: ArrayLike, *, label: str, number: int = 0) -> None:
        """Show one reconstructed slice, shape (y, x), beside those already there."""
        self._show("slices", label, image, "slices", number)

    def control(self, change: Control | None) -> None:
        """Let displays change settings of the reconstruction, by a function that takes them by name."""
        with self._lock:
            self._control = change

    def request(self, changes: Mapping[str, Any]) -> None:
        """Have settings changed, in a thread; what the control says to it is in the summary."""
        with self._lock:
            control = self._control
        if control is None:
            return

        def change() -> None:
            try:
                control(dict(changes))
            except Exception as error:
                answer = str(error) or repr(error)
            else:
                answer = ""
            with self._lock:
                self._answer = answer

        threading.Thread(target=change, name="live view control", daemon=True).start()

    def newer(self, panel: Panel, version: int) -> Picture | None:
        """Return the oldest picture of a panel that is newer than `version`, or None.

        Called again with the version returned, it gives all pictures in turn, and only their
        newest contents.
        """
        self.asked.set()
        with self._lock:
            pictures = [p for p in self._pictures[panel].values() if p.version > version]
        return min(pictures, key=lambda picture: picture.version, default=None)

    def summary(self) -> dict[str, Any]:
        """Return the state of the run and what pictures there are, JSON-able."""
        self.asked.set()
        with self._lock:
            processing = self._tracker.processing
            return {
                "found": asdict(self._tracker.found),
                "control": {"there": self._control is not None, "answer": self._answer},
                "run": self._tracker.run.summary(),
                "processing": None if processing is None else processing.summary(),
                "alarms": list(self._tracker.alarms),
                "received_hz": {camera: rate.value() for camera, rate in self._rates.items()},
                "labels": {panel: list(found) for panel, found in self._pictures.items()},
            }

    def _show(self, panel: Panel, label: str, image: ArrayLike, stream: str, number: int) -> None:
        array = np.asarray(image)
        pixels = downsample(array)
        shape = (array.shape[0], array.shape[1])
        with self._lock:
            self._version += 1
            pictures = self._pictures[panel]
            pictures[label] = Picture(panel, label, pixels, shape, stream, number, self._version)
            if panel == "frames":
                self._rates.setdefault(label, _Rate()).note(stream, number + 1)
            while len(pictures) > MAX_SLICES:
                del pictures[min(pictures, key=lambda key: pictures[key].version)]


class _Rate:
    """Frames a second, from the counts that were seen lately."""

    def __init__(self) -> None:
        self._stream = ""
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, stream: str, count: int) -> None:
        if stream != self._stream or (self._seen and count < self._seen[-1][1]):
            self._stream = stream
            self._seen.clear()
        now_s = time.monotonic()
        self._seen.append((now_s, count))
        while now_s - self._seen[0][0] > _RATE_WINDOW_S and len(self._seen) > 2:
            self._seen.popleft()

    def value(self) -> float:
        now_s = time.monotonic()
        if len(self._seen) < 2 or now_s - self._seen[-1][0] > _RATE_WINDOW_S:
            return 0.0
        (first_s, first), (last_s, last) = self._seen[0], self._seen[-1]
        return (last - first) / max(last_s - first_s, 1e-6)
