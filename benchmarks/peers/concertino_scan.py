"""One local radiography with concertino; run by ``benchmarks/local_scan.py``.

The session, camera, plan, writer and live page are those that users have; only the camera's source is of this
file: it copies frames made beforehand into the ring, in turn, and notes when it is started. Prints one line
of JSON.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino.callbacks import ImageWriter
from concertino.devices import Camera, CameraSettings, Grab, SimulatedBeamline
from concertino.frames import FrameRequest
from concertino.plans import radiography
from concertino.session import open_session

_PROBE_S = 0.005
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class PreparedSource:
    """Copies frames made beforehand, as a camera's driver copies them from its buffers.

    Parameters
    ----------
    frames : ndarray, shape (n, height, width)
        Served in turn.
    pace_hz : float
        Frames/s of the camera; 0 for as many as there is space for.

    Attributes
    ----------
    before_projections : callable
        Called before projections are started.
    started_ns : int
        When frames were asked for, after that.
    """

    pixel_size_um = 1.0

    def __init__(self, frames: NDArray[Any], pace_hz: float = 0.0) -> None:
        self._frames = frames
        self._pace_hz = pace_hz
        self.before_projections: Callable[[], None] = lambda: None
        self.shape: tuple[int, int] = frames.shape[1:]
        self.dtype = frames.dtype
        self.started_ns = 0
        self._next = 0
        self._kind = ""

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        """Accept anything."""
        self._next = 0
        self._kind = request.kind

    def start(self) -> None:
        """Note the time."""
        if self._kind == "projections":
            self.before_projections()
        self.started_ns = time.time_ns()

    def grab(self, out: NDArray[Any]) -> Grab:
        """Copy as many frames as there is space for, and as have been exposed."""
        if self._pace_hz:
            since_s = (time.time_ns() - self.started_ns) / 1e9
            if (wait_s := (self._next + 1) / self._pace_hz - since_s) > 0:
                time.sleep(wait_s)
                since_s += wait_s
            out = out[: max(1, int(since_s * self._pace_hz) - self._next)]
        numbers = np.arange(self._next, self._next + len(out))
        for slot, number in zip(out, numbers, strict=True):
            np.copyto(slot, self._frames[number % len(self._frames)])
        self._next += len(out)
        return Grab(np.full(len(out), time.time_ns()), numbers)

    def trigger(self) -> None:
        """Never used."""

    def stop(self) -> None:
        """Nothing to stop."""


class LoopProbe:
    """Asks the RunEngine's loop to call it back every 5 ms and notes how late that is.

    Attributes
    ----------
    worst_s : float
        The longest delay while it was not paused, in seconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._due_s = float("inf")
        self._paused = False
        self.worst_s = 0.0
        loop.call_soon_threadsafe(self._again)

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Count no delays."""
        self._paused = True
        yield
        self._loop.call_soon_threadsafe(self._resume)

    def _resume(self) -> None:
        self._paused = False
        self._due_s = self._loop.time()

    def _again(self) -> None:
        now = self._loop.time()
        if not self._paused:
            self.worst_s = max(self.worst_s, now - self._due_s)
        self._due_s = now + _PROBE_S
        self._loop.call_at(self._due_s, self._again)


class Heartbeat:
    """A process that does nothing but sleep 5 ms at a time: how late it wakes is the computer's doing."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it."""
        program = Path(__file__).with_name("heartbeat.py")
        self._process = subprocess.Popen(
            [sys.executable, "-S", str(program)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def stop(self) -> float:
        """Return its longest delay in seconds."""
        return 0.0 if self._process is None else float(self._process.communicate()[0])


def touch(size: int) -> None:
    """Have a process take so many bytes of memory and give them back."""
    program = Path(__file__).with_name("touch.py")
    subprocess.run([sys.executable, "-S", str(program), str(size)], check=True)


@contextlib.contextmanager
def browser(url: str) -> Iterator[int]:
    """Have a browser show a page; yields the group of its processes."""
    program = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if program is None:
        raise SystemExit(f"The live page needs a browser: one of {', '.join(_BROWSERS)}.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--window-size=1400,1000", f"--user-data-dir={profile}", url,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield process.pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(url: str, timeout_s: float = 30.0) -> None:
    """Return when a page answers."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=timeout_s):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@contextlib.contextmanager
def page(mode: str, session: Any, warm_up: Any) -> Iterator[None]:
    """Attach the live page; run the warm-up scan with it; leave the page as `mode` says.

    Parameters
    ----------
    mode : {"none", "open", "closed", "stalled"}
        No live page; a browser shows it; the browser was closed after the warm-up; the browser was
        stopped (SIGSTOP) after the warm-up, so that it takes nothing from its sockets any more.
    session : Session
        Gets the callback.
    warm_up : callable
        Runs the scan that does not count.
    """
    if mode == "none":
        warm_up()
        yield
        return
    from concertino.callbacks import LiveView

    with LiveView() as view, contextlib.ExitStack() as stack:
        session.subscribe(view)
        wait_for(view.url)
        group = stack.enter_context(browser(view.url))
        if not view.state.asked.wait(30):
            raise SystemExit("The browser did not show the page within 30 s.")
        warm_up()
        time.sleep(2)
        if mode == "closed":
            stack.close()
        elif mode == "stalled":
            os.killpg(group, signal.SIGSTOP)
        if mode != "open":
            time.sleep(2)
        yield


def scan(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run a small scan and the one that counts; return what is known of the latter."""
    size = arguments.size
    frames = np.random.default_rng(1).integers(0, 4096, (arguments.distinct, size, size), np.uint16)
    source = PreparedSource(frames, arguments.pace)
    camera = Camera(source)
    beamline = SimulatedBeamline(shape=(16, 16))
    directory = Path(arguments.directory)

    def run(session: Any, count: int) -> None:
        session.RE(
            radiography(
                camera, beamline.beam, beamline.sample_stage,
                radio_position=0, flat_position=0,
                num_darks=arguments.references, num_flats=arguments.references,
                num_projections=count,
            )
        )  # fmt: skip

    with open_session(directory, catalog=False, progress=False) as session:
        session.subscribe(ImageWriter(bytes_per_file=arguments.bytes_per_file))
        probe, heartbeat = LoopProbe(session.RE.loop), Heartbeat()

        def settle() -> None:
            with probe.pause():
                touch(arguments.touch)
                os.sync()  # what the warm-up wrote is not this scan's
                heartbeat.start()
                time.sleep(0.1)

        with page(arguments.live, session, lambda: run(session, arguments.warm_up)):
            first_blocked_s, probe.worst_s = probe.worst_s, 0.0
            source.before_projections = settle
            began_s = time.process_time()
            run(session, arguments.frames)
            returned_ns = time.time_ns()
            cpu_s = time.process_time() - began_s
        idle_blocked_s = heartbeat.stop()
        blocked_s = probe.worst_s
    return {
        "directory": str(directory / "scan_0002" / "projections"),
        "started_ns": source.started_ns,
        "returned_ns": returned_ns,
        "loop_blocked_s": blocked_s,
        "first_blocked_s": first_blocked_s,
        "idle_blocked_s": idle_blocked_s,
        "cpu_s": cpu_s,
    }


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--warm-up", type=int, required=True)
    parser.add_argument("--references", type=int, required=True)
    parser.add_argument("--distinct", type=int, required=True)
    parser.add_argument("--pace", type=float, default=0.0)
    parser.add_argument("--touch", type=int, default=0)
    parser.add_argument("--bytes-per-file", type=int, default=0)
    parser.add_argument("--live", choices=["none", "open", "closed", "stalled"], default="none")
    print(json.dumps(scan(parser.parse_args())))


if __name__ == "__main__":
    main()
