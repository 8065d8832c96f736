"""How long what may take."""

import math
from dataclasses import dataclass, fields

from concertino import CameraError, OverdueError, ParameterError, ParameterTypeError


@dataclass(frozen=True)
class Deadlines:
    """How long a plan waits for what, in seconds, beyond twice what the devices tell of themselves.

    A shutter that tells how long it takes (``set_duration_s``), an axis with a velocity, a camera with
    an exposure and a frame rate are waited for as long as that takes, and these times more. When one has
    passed, the plan fails with a sentence that names the device; the beam goes off first.

    Parameters
    ----------
    off_s : float
        For a beam to go off. Once more at the end of a plan, and once more by the RunEngine.
    on_s : float
        For a beam to come on, or a trigger device to start.
    still_s : float
        For an axis with a velocity that does not come nearer to its target: one that moves is waited
        for, however long its way.
    silent_s : float
        For what moves on a control system to answer when it is asked where it is, also while frames are taken. An IOC
        or device server that is gone longer ends the scan.
    frame_s : float
        For a frame, or for the pulses of a sweep.
    safe_s : float
        For the next frame to be safe once all are due, and for the end of a stream. Subscribers have
        time-outs of their own, 30 s by default, and cameras 15 s.
    ready_s : float
        For a device to be staged, prepared or kicked off.
    answer_s : float
        For a device to answer a question.
    stop_s : float
        For a device to stop.
    other_s : float
        For whatever tells nothing of itself: a device without velocity that is moved, a detector without
        exposure that is triggered.

    Examples
    --------
    >>> from concertino.plans import Deadlines, set_deadlines
    >>> before = set_deadlines(Deadlines(off_s=60))   # a slow photon shutter
    >>> set_deadlines(before).off_s
    60
    """

    off_s: float = 20.0
    on_s: float = 120.0
    still_s: float = 30.0
    silent_s: float = 10.0
    frame_s: float = 15.0
    safe_s: float = 120.0
    ready_s: float = 150.0
    answer_s: float = 150.0
    stop_s: float = 30.0
    other_s: float = 600.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            said = f"{each.name}: {value!r} was given; a deadline is a number of seconds, more than 0 and finite."
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ParameterTypeError(said)
            if not 0 < value < math.inf:
                raise ParameterError(said)


class CameraOverdueError(CameraError, OverdueError):
    """A camera took longer than its deadline."""


_now = Deadlines()


def deadlines() -> Deadlines:
    """Return the deadlines that hold now."""
    return _now


def set_deadlines(new: Deadlines) -> Deadlines:
    """Have other deadlines hold for all plans of this process.

    Parameters
    ----------
    new : Deadlines
        Hold from now on, also for plans that run.

    Returns
    -------
    Deadlines
        Those that held before.

    Raises
    ------
    ParameterTypeError
        If it is something else.
    """
    global _now
    if not isinstance(new, Deadlines):
        raise ParameterTypeError(f"new: {new!r} was given; give Deadlines(off_s=60), or such.")
    before, _now = _now, new
    return before
