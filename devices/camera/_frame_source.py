"""What a camera must be able to do to publish frames: the part that each kind of camera writes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from concertino.frames import FrameRequest

from ._camera_setting import Region, SettingValue

_SHAKE_S = 0.1


@dataclass(frozen=True)
class CameraSettings:
    """How a camera shall expose.

    Parameters
    ----------
    exposure_s : float
        Exposure time in seconds.
    frame_rate_hz : float
        Frames per second when it triggers itself; 0 for as fast as it can.
    values : mapping of str to value
        What its settings shall be, by their names, checked against what the source described; empty for a source
        that is no `SettableFrameSource`.
    """

    exposure_s: float
    frame_rate_hz: float
    values: Mapping[str, SettingValue] = field(default_factory=dict)

    @property
    def region(self) -> Region | None:
        """The region of interest in pixels of the sensor; None when there is no such setting."""
        value = self.values.get("region")
        return value if isinstance(value, Region) else None

    @property
    def binning(self) -> int:
        """Pixels of the sensor that make one of a frame, along each side."""
        return int(self.number("binning") or 1)

    @property
    def bit_depth(self) -> int | None:
        """Bits of a pixel; None when there is no such setting."""
        bits = self.number("bit_depth")
        return None if bits is None else int(bits)

    @property
    def mirror(self) -> str:
        """``none``, ``horizontal`` (left and right change places), ``vertical`` or ``both``."""
        return str(self.values.get("mirror", "none"))

    @property
    def rotate(self) -> int:
        """By how many deg the image is turned counter-clockwise, after mirroring: 0, 90, 180 or 270."""
        return int(self.number("rotate") or 0)

    def number(self, name: str) -> float | None:
        """Return a setting that is a number, in its unit; None when there is no such setting."""
        value = self.values.get(name)
        return value if isinstance(value, int | float) else None

    def expected_s(self, trigger: str) -> float:
        """Return the time from frame to frame, or from a software trigger to its frame, in seconds."""
        own_pace = trigger == "internal" and self.frame_rate_hz > 0
        return max(self.exposure_s, 1 / self.frame_rate_hz) if own_pace else self.exposure_s

    def patience_s(self, request: FrameRequest) -> float | None:
        """Return how long in all those who only look may hold the camera up, in seconds; None if that costs time only.

        While something moves it costs angles: a frame may come half a step late, or by what a busy computer shakes.
        """
        if not request.moving or request.readout == "later":
            return None
        return max(_SHAKE_S, self.expected_s(request.trigger) / 2)


@dataclass(frozen=True)
class Grab:
    """Frames that a source just wrote.

    Parameters
    ----------
    timestamps : ndarray of int64, shape (n,)
        Middle of each exposure in nanoseconds, by the source's own clock if it has a ``clock``, else by the
        computer's.
    numbers : ndarray of int64, shape (n,)
        The camera's own frame numbers.
    dropped : tuple of int
        Numbers of frames that were exposed and lost since the last grab.
    why : str
        Why they were, as a clause for the message; empty when the camera does not tell.
    """

    timestamps: NDArray[np.int64]
    numbers: NDArray[np.int64]
    dropped: tuple[int, ...] = ()
    why: str = ""


@runtime_checkable
class FrameSource(Protocol):
    """A camera as `Camera` drives it: called from one thread, but `stop` from any.

    One with software triggers has a method more, see `TriggeredFrameSource`; `trigger`, too, is called
    from any thread. What else a source may offer is a protocol each: `TellsFirstNumber`, `TellsClock`,
    `TellsMemory`, `TellsReadoutRate`, `SettableFrameSource`. Nobody derives from them.

    Attributes
    ----------
    shape : tuple of int
        Frame shape (height, width) in pixels; may change in `prepare`.
    dtype : dtype
        Type of a pixel.
    pixel_size_um : float
        Effective pixel size in micrometres; 0 when unknown.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    pixel_size_um: float

    def prepare(self, request: FrameRequest, settings: CameraSettings) -> None:
        """Check and take over what is asked, before anything moves; nothing is exposed, and nothing armed.

        It may be called any number of times before `start`, and once more after it: a plan asks first whether
        all its streams can be taken, and each is prepared then. What must happen once a stream, such as arming
        a detector, belongs to `start`.

        Raises
        ------
        CameraError
            If it cannot be done; with what can.
        """

    def start(self) -> None:
        """Begin to expose, or to wait for triggers."""

    def grab(self, out: NDArray[Any]) -> Grab:
        """Wait for at least one frame and write it, and those that follow already, into `out`.

        Parameters
        ----------
        out : ndarray, shape (n, height, width)
            Slots of the ring.

        Returns
        -------
        Grab
            For the frames written; none only after `stop`.

        Raises
        ------
        CameraError
            If the camera died.
        """

    def stop(self) -> None:
        """Stop exposing and let a waiting `grab` return; harmless when stopped."""


@runtime_checkable
class TellsFirstNumber(Protocol):
    """A source that tells the number of the first frame that is exposed after `start`.

    Without it, or with None, that is whichever comes first.
    """

    first_number: int | None


ChooseRows: TypeAlias = Callable[[int], tuple[tuple[int, int], ...] | None]


@runtime_checkable
class ReadsRows(Protocol):
    """A source that can leave out the rows of its frames that nobody needs, and saves something by it.

    Attributes
    ----------
    choose_rows : callable
        Called by `grab` with the number of frames that it is about to write, once, when they are there. Returns the
        stretches of rows, begin and end, that have to be written; None for all.
    """

    choose_rows: ChooseRows


@runtime_checkable
class TellsClock(Protocol):
    """A source whose time stamps are by a clock of its own, not the computer's.

    It is asked about once a second by the thread that grabs, and by plans in another; the times of the
    frames are converted to the computer's before anybody else sees them.
    """

    def clock(self) -> float:
        """Return what that clock shows now, in seconds."""


@runtime_checkable
class TellsMemory(Protocol):
    """A source that tells how large the memory of its camera is, in bytes; 0 for none."""

    memory_bytes: int


@runtime_checkable
class TellsReadoutRate(Protocol):
    """A source that tells how many frames it reads out of its camera's memory in a second; 0 for as fast as it can."""

    readout_rate_hz: float


def first_number_of(source: FrameSource) -> int | None:
    """Return the number that the next first frame will have; None when the source does not tell."""
    return source.first_number if isinstance(source, TellsFirstNumber) else None


def memory_bytes_of(source: FrameSource) -> int:
    """Return the size of a camera's own memory in bytes; 0 when it has none."""
    return int(source.memory_bytes) if isinstance(source, TellsMemory) else 0


@runtime_checkable
class TriggeredFrameSource(FrameSource, Protocol):
    """A camera that takes software triggers.

    Prepared with a request whose `trigger` is ``"software"`` it exposes one frame for each call of
    `trigger`, and none else. A source that has no such method is refused by plans that step.
    """

    def trigger(self) -> None:
        """Start one exposure."""


@runtime_checkable
class BufferedFrameSource(FrameSource, Protocol):
    """A camera with a memory of its own, into which it may record faster than it can be read out.

    Prepared with a request whose `readout` is ``"later"`` and started, it has `record` called until all
    frames are in its memory, and then `grab`, which gives them in order. `stop` ends both.

    Attributes
    ----------
    memory_bytes : int
        Size of the memory in bytes; 0 for a camera that has none.
    """

    memory_bytes: int

    def record(self) -> int:
        """Wait until at least one more frame is recorded.

        Returns
        -------
        int
            Exposures since `start`, the lost ones included; more than before unless `stop` was called.

        Raises
        ------
        CameraError
            If the camera died.
        """
