"""Frames on their way: their documents, their time, and the beam that they need."""

import math
import time
from collections.abc import Mapping
from typing import Any

import bluesky.plan_stubs as bps
from bluesky import Msg
from bluesky.utils import MsgGenerator, short_uid

from concertino import CameraError
from concertino.documents import PER_FRAME
from concertino.plans._asides import said
from concertino.plans.core._awaited import names_of
from concertino.plans.core._cameras import (
    CameraSet,
    OnLost,
    Trigger,
    collect_ledgers,
    collect_streams,
    prepare_cameras,
    wait_briefly,
    wait_exposed,
)
from concertino.plans.core._device_queries import AboutTheRun, frames_overdue, outcome, run_in_loop
from concertino.plans.core._offers import CountsExposed, Stops
from concertino.plans.core._optional_attribute import optional_attribute
from concertino.plans.core._protocols import Beam
from concertino.plans.run._pause_request import PauseRequest
from concertino.plans.run._sample_use import MoreToCome
from concertino.plans.safety._safety import beam_off, beam_on

_FLUSH_S = 0.25
_LOOK_S = 0.05


class Taking:
    """The frames of one stream, from the request to the last document; its steps are done in their order.

    `open`, `light`, `start` and `expose`; `flush` until it has nothing more to come; `finish`. Between them a
    plan does what it has to do besides.

    Parameters
    ----------
    cameras : CameraSet
        The cameras.
    count : int
        Frames of each.
    stream : str
        Name of the first one's stream.
    on_lost : {"fail", "flag"}
        What lost frames do.
    trigger : {"internal", "edge"}
        Who starts an exposure.
    beam : Beam, optional
        On from `light` until nothing is exposed any more.
    hold : PauseRequest, optional
        Asks for pauses.
    within_s : float, optional
        How long to wait for all exposures, in s; by default as long as frames come.
    others : mapping of str to device
        What is described together with the frames, by stream.
    moving : bool
        Whether something moves while the camera exposes at its own pace.
    """

    def __init__(
        self,
        cameras: CameraSet,
        count: int,
        stream: str,
        on_lost: OnLost,
        trigger: Trigger = "internal",
        beam: Beam | None = None,
        hold: PauseRequest | None = None,
        within_s: float | None = None,
        others: Mapping[str, Any] | None = None,
        moving: bool = False,
    ) -> None:
        self._moving = moving
        self._cameras, self._count, self._stream = cameras, count, stream
        self._on_lost, self._trigger = on_lost, trigger
        self._beam, self._within_s = beam, within_s
        # Several cameras would not agree on what is missing.
        alone = not cameras.others and cameras.readout == "direct"
        self._hold = hold if alone and isinstance(cameras.first, Stops) else None
        self._frames = cameras.streams(stream)
        self._others = dict(others or {})
        values = cameras.values
        self._values = None if values is None else values.of(cameras.first, stream)
        if self._values is not None:
            self._others[PER_FRAME] = self._values
        self._early = False
        self._taken = ""
        self._overdue_s, self._flush_s = math.inf, 0.0

    def open(self, *axes: Any) -> MsgGenerator[None]:
        """Have the cameras make their streams, and describe them.

        Parameters
        ----------
        *axes : device
            What is read at each frame of the first camera, whose stream then is one of events that the plan makes.
        """
        yield from bps.stage_all(*self._cameras.cameras)
        yield from prepare_cameras(
            self._cameras, self._count, self._stream, self._trigger, self._on_lost,
            moving=self._moving,
        )  # fmt: skip
        for name, camera in self._frames.items():
            more = axes if camera is self._cameras.first else ()
            yield from bps.declare_stream(camera, *more, name=name)
        if axes:
            del self._frames[self._stream]
        yield from self.tell_values()
        self._flush_s = time.monotonic() + _FLUSH_S

    def tell_values(self) -> MsgGenerator[None]:
        """Have the values that are told for each frame be read from now on."""
        if self._values is not None:
            yield from bps.declare_stream(self._values, name=PER_FRAME, collect=True)
            yield from run_in_loop(self._values.begin, f"{self._values.name} was told to begin")

    def light(self) -> MsgGenerator[None]:
        """Switch the beam on, if the frames need it."""
        if self._beam is not None:
            yield from beam_on(self._beam)

    def start(self) -> MsgGenerator[None]:
        """Have the cameras expose, all together."""
        yield from bps.kickoff_all(*self._cameras.cameras)

    def expose(self) -> MsgGenerator[None]:
        """Wait for the exposures that are read out later: those are over before the first frame comes."""
        if self._cameras.readout == "later":
            yield from wait_exposed(self._cameras, self._count, self._within_s)
            yield from self.darken()

    def complete(self) -> MsgGenerator[None]:
        """Have the cameras give all their frames; who has nothing to do meanwhile leaves it to `flush`."""
        self._taken, now_s = short_uid("complete"), time.monotonic()
        self._flush_s, self._overdue_s = now_s + _FLUSH_S, now_s + (self._within_s or math.inf)
        for camera in self._cameras.cameras:
            yield Msg("complete", camera, group=self._taken)

    def flush(self) -> MsgGenerator[bool]:
        """Look after the cameras for a moment, and describe what has become safe; tells whether more is to come."""
        if not self._taken:
            yield from self.complete()
        done = yield from wait_briefly(self._taken, _LOOK_S)
        if done or _exposed(self._cameras):
            yield from self.darken()
        if done:
            self._flush_s = 0.0
        yield from self.describe()
        if not (done or self._early):
            self._check_time()
        return not done

    def describe(self) -> MsgGenerator[None]:
        """Describe what has become safe, if it is time for that."""
        if time.monotonic() >= self._flush_s:
            yield from collect_streams({**self._frames, **self._others})
            self._flush_s = time.monotonic() + _FLUSH_S

    def darken(self) -> MsgGenerator[None]:
        """Switch the beam off, as soon as nothing is exposed any more."""
        if self._beam is not None:
            beam, self._beam = self._beam, None
            yield from beam_off(beam)

    @property
    def held(self) -> bool:
        """Whether it is to be ended early, for a pause."""
        return self._hold is not None and not self._early and self._hold.pending

    def end_early(self) -> MsgGenerator[None]:
        """Have the camera expose no more; what it has exposed is still to come."""
        # Said first: the request to pause may be taken back at any moment.
        yield from said(MoreToCome())
        yield Msg("stop", self._cameras.first)
        # Nothing is exposed any more: now the beam spoils no frame when it goes off.
        yield from self.darken()
        self._early = True

    def finish(self) -> MsgGenerator[bool]:
        """End the streams; tells whether all frames were taken, and not a pause came between.

        Raises
        ------
        CameraError
            If somebody else stopped a camera.
        """
        stopped = ""
        if not self._early:
            # Within the run and before it is unstaged: else a camera is as another scan left it.
            names = names_of(self._cameras.cameras)
            stopped = yield from outcome(
                AboutTheRun(self._stopped, f"{names} were asked whether all is exposed")
            )
        # Unstaged first: only then is the last frame that anybody stored known.
        yield from bps.unstage_all(*self._cameras.cameras)
        if self._values is not None:
            yield from run_in_loop(self._values.end, f"{self._values.name} was told to end")
            yield from collect_streams({PER_FRAME: self._values})
        yield from collect_streams(self._frames)
        yield from collect_ledgers(self._cameras)
        if stopped:
            raise CameraError(stopped)
        return not self._early

    def _stopped(self) -> str:
        """Say what is wrong when somebody else than its plan stopped a camera, else nothing."""
        for camera in self._cameras.cameras:
            if optional_attribute(camera, "ended_early", False):
                taken = camera.num_exposed if isinstance(camera, CountsExposed) else "not all"
                return (
                    f"Camera {camera.name} was stopped after {taken} of {self._count} frames of {self._stream}, "
                    "and not by the plan, which needs them all. Pause a scan with session.pause(), end it with "
                    "RE.abort(), and leave its camera alone meanwhile."
                )
        return ""

    def _check_time(self) -> None:
        late = [
            camera
            for camera in self._cameras.cameras
            if not optional_attribute(camera, "exposed", True)
        ]
        if late and time.monotonic() >= self._overdue_s:
            raise frames_overdue(late, self._count, self._within_s or 0.0)


def _exposed(cameras: CameraSet) -> bool:
    """Whether all cameras tell that they have exposed all that they were asked for."""
    return all(optional_attribute(camera, "exposed", False) for camera in cameras.cameras)
