"""Frames on their way: their documents, their time, and the beam that they need."""

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bluesky import Msg
from bluesky.utils import MsgGenerator, short_uid

from ._awaited import names_of
from ._cameras import CameraSet, collect_streams, wait_briefly
from ._hold import Hold
from ._protocols import Beam
from ._questions import AboutTheRun, frames_overdue, outcome
from ._safety import beam_off
from ._sample_use import MoreToCome

_FLUSH_S = 0.25
_LOOK_S = 0.05


def can_end_early(cameras: CameraSet, hold: Hold | None) -> bool:
    """Whether a pause may end a stream: several cameras would not agree on what is missing."""
    alone = not cameras.others and cameras.readout == "direct"
    return hold is not None and alone and hasattr(cameras.first, "stop")


def end_piece(cameras: CameraSet) -> MsgGenerator[None]:
    """Have the camera expose no more before all frames of a piece are taken; say first that more is to come."""
    yield Msg("null", None, MoreToCome())
    yield Msg("stop", cameras.first)


def stopped_by_others(cameras: CameraSet, count: int, stream: str) -> MsgGenerator[str]:
    """Say what is wrong when somebody else than its plan stopped a camera, else nothing; before it is unstaged.

    It is asked within the run: outside of one a camera still is as the last scan left it.
    """

    def stopped() -> str:
        for camera in cameras.cameras:
            if _ended_early(camera):
                taken = getattr(camera, "num_exposed", "not all")
                return (
                    f"Camera {camera.name} was stopped after {taken} of {count} frames of {stream}, "
                    "and not by the plan, which needs them all. Pause a scan with session.pause(), end it with "
                    "RE.abort(), and leave its camera alone meanwhile."
                )
        return ""

    names = names_of(cameras.cameras)
    told = yield from outcome(AboutTheRun(stopped, f"{names} were asked whether all is exposed"))
    return told or ""


@dataclass
class Taking:
    """Frames that are being taken.

    Parameters
    ----------
    cameras : CameraSet
        The cameras; they expose already.
    stream : str
        Name of the first one's stream.
    count : int
        Frames of each.
    within_s : float or None
        How long to wait for all exposures, in s; None: as long as frames come.
    beam : Beam or None
        Is on, and goes off as soon as nothing is exposed any more.
    hold, interrupted
        As for `take_frames`.
    early : bool
        Whether it was ended early.
    """

    cameras: CameraSet
    stream: str
    count: int
    within_s: float | None
    beam: Beam | None
    hold: Hold | None
    interrupted: Callable[[], MsgGenerator[Any]] | None
    early: bool = False

    def describe(self, collected: Callable[[], MsgGenerator[Any]] | None) -> MsgGenerator[bool]:
        """Put into documents what has become safe, until all has; tells whether a pause came between."""
        taken, done, began_s = short_uid("complete"), False, time.monotonic()
        can_end = can_end_early(self.cameras, self.hold)
        for each_camera in self.cameras.cameras:
            yield Msg("complete", each_camera, group=taken)
        while not done:
            due_s = time.monotonic() + _FLUSH_S
            while True:
                look_s = _LOOK_S if can_end or self.beam is not None else _FLUSH_S
                done = yield from wait_briefly(taken, look_s)
                if done or _exposed(self.cameras):
                    yield from self._switch_off()
                if self.hold is not None and can_end and self.hold.due and not (self.early or done):
                    yield from self._end_early()
                if done or time.monotonic() >= due_s:
                    break
            yield from collect_streams(self.cameras.streams(self.stream))
            if collected is not None:
                yield from collected()
            if not (done or self.early):
                self._check_time(began_s)
        return self.early

    def _switch_off(self) -> MsgGenerator[None]:
        if self.beam is not None:
            beam, self.beam = self.beam, None
            yield from beam_off(beam)

    def _end_early(self) -> MsgGenerator[None]:
        # When it returns nothing is exposed any more: now the beam spoils no frame when it goes off.
        yield from end_piece(self.cameras)
        yield from self._switch_off()
        if self.interrupted is not None:
            yield from self.interrupted()
        self.early = True

    def _check_time(self, began_s: float) -> None:
        if self.within_s is None or time.monotonic() - began_s < self.within_s:
            return
        late = [camera for camera in self.cameras.cameras if not getattr(camera, "exposed", True)]
        if late:
            raise frames_overdue(late, self.count, self.within_s)


def _exposed(cameras: CameraSet) -> bool:
    """Whether all cameras tell that they have exposed all that they were asked for."""
    return all(getattr(camera, "exposed", False) for camera in cameras.cameras)


def _ended_early(camera: Any) -> bool:
    """Whether a camera says so; it need not know, but an error in its answer is not taken for a no."""
    return inspect.getattr_static(camera, "ended_early", None) is not None and bool(
        camera.ended_early
    )
