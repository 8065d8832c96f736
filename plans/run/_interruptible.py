"""Acquisitions that pause when they are asked to, and take again what was spoiled."""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import bluesky.plan_stubs as bps
import numpy as np
from bluesky.utils import MsgGenerator
from numpy.typing import NDArray

from concertino._clocks import CameraTimes, ClockCalibration, HostTimes
from concertino.plans._asides import said
from concertino.plans.core._device_queries import AboutTheRun, outcome
from concertino.plans.core._offers import HasClock, HasExposure, TellsExposures
from concertino.plans.core._parameters import read_number

from ._computed_readings import ComputedReadings
from ._pause_request import PauseRequest
from ._run import Block
from ._sample_use import SampleUse
from ._segments import AcquisitionSegment, RemainingFrames, Take
from ._settings import Settings

LOG = logging.getLogger(__name__)
PAUSES = "pauses"

#: What a run says of a pause: ``state`` (``paused``, ``resumed``; ``spoiled`` when frames were found to be spoiled and
#: the sample had left, so that they stay), ``reason``, ``stream`` and ``taken`` (the stream that was interrupted, and
#: how many frames of it there are), ``spoiled_since`` (in seconds since the epoch, 0 if nothing is), and ``again``:
#: what is missing, spoiled or to be taken again, as JSON, ``{"projections": [[57, 100]]}`` for the projections 57 to 99.
_COLUMNS: Mapping[str, Mapping[str, Any]] = {
    "state": {"dtype": "string", "dtype_numpy": "<U16"},
    "reason": {"dtype": "string", "dtype_numpy": "<U512"},
    "stream": {"dtype": "string", "dtype_numpy": "<U64"},
    "taken": {"dtype": "integer", "dtype_numpy": "<i8"},
    "spoiled_since": {"dtype": "number", "dtype_numpy": "<f8"},
    "again": {"dtype": "string", "dtype_numpy": "<U4096"},
}


class Interruptible:
    """The acquisitions of a run, as the blocks of `imaging_run`.

    Parameters
    ----------
    camera : FrameCamera
        Takes the frames.
    takes : mapping of str to callable
        What takes a piece of each stream.
    work : RemainingFrames
        What is to be taken.
    hold : PauseRequest or None
        Asks for pauses, and says that frames are spoiled.
    may_pause : bool
        False: the run hears only that frames are spoiled.
    axes : sequence of device
        What moves: as the camera, it must be set after a pause as it was before.
    """

    def __init__(
        self,
        camera: Any,
        takes: Mapping[str, Take],
        work: RemainingFrames,
        hold: PauseRequest | None,
        may_pause: bool,
        axes: Sequence[Any],
    ) -> None:
        self._told, self._hold = hold, hold if may_pause else None
        self._settings = Settings(camera, axes)
        self._clock = ClockCalibration(
            CameraTimes, camera.clock if isinstance(camera, HasClock) else None
        )
        self._camera, self._takes, self._work = camera, takes, work
        self._figures = ComputedReadings("pause", _COLUMNS, PAUSES)
        self._sample = SampleUse(self._hold)
        self._last: AcquisitionSegment | None = None
        self._reached = 0
        self._ended_early = False
        self._late: tuple[str, float] | None = None

    def blocks(self) -> Iterator[Block]:
        """Yield what is to be done next, until all is taken."""
        if self._told is not None and not self._told.requested:
            self._told.take_spoiled()  # Before the run nothing was exposed.
        while not self._sample.left:  # What is found spoiled then stays: see `flag_spoiled`.
            # A pause that ended what was taken is one, even if it has been released meanwhile.
            if self._hold is not None and (self._hold.pending or self._ended_early):
                yield partial(self._pause, self._hold)
            elif (piece := self._work.next()) is not None:
                yield partial(self._take, piece)
            else:
                return

    def flag_spoiled(self) -> MsgGenerator[None]:
        """Say in the run which frames were found to be spoiled too late to be taken again; a clean-up.

        Another sample may be on its way then, the run has failed, or it cannot pause.
        """
        if self._told is not None and (since_s := self._told.take_spoiled()) is not None:
            reason = self._told.reason
            if self._work.spoil(since_s):
                self._late = reason, since_s
        if self._late is not None:
            yield from self._say("spoiled", *self._late)
            LOG.warning(
                "%s: frames are spoiled and could not be taken again, as that was found too late: %s. "
                "They are flagged in the run's stream %s.",
                self._late[0], json.dumps(self._work.missing()), PAUSES,
            )  # fmt: skip
            self._late = None

    def _take(self, piece: AcquisitionSegment) -> MsgGenerator[None]:
        if self._hold is not None and self._settings.lasting:
            yield from self._settings.note()
            if not (yield from self._unchanged(self._hold)):
                return
        self._sample.last = self._work.is_last(piece)
        yield from said(self._sample)
        self._work.begin(piece)
        began = HostTimes(time.time_ns())
        if self._told is not None and isinstance(self._camera, TellsExposures):
            yield from self._look_at_clock()
        complete = yield from self._takes[piece.base](piece, self._hold)
        numbers, ends = np.arange(piece.count if complete else 0), HostTimes([])
        if self._told is not None:
            numbers, ends = yield from self._exposed(numbers)
        self._work.note(piece, complete, began, numbers, ends)
        self._last = piece
        self._reached = len(numbers)
        self._ended_early = not complete

    def _exposed(
        self, otherwise: NDArray[np.int64]
    ) -> MsgGenerator[tuple[NDArray[np.int64], HostTimes]]:
        """Ask which frames of the last stream there are, and when their exposures ended."""
        if not isinstance(self._camera, TellsExposures):
            return otherwise, HostTimes([])
        told = yield from outcome(
            AboutTheRun(
                self._camera.exposures, f"{self._camera.name} was asked which frames it has exposed"
            )
        )
        yield from self._look_at_clock()
        if told is None:
            return otherwise, HostTimes([])
        half_s = 0.0
        if isinstance(self._camera, HasExposure):
            half_s = (yield from read_number(self._camera.exposure)) / 2
        middles, _ = self._clock.to_host(CameraTimes(told[1]))
        return told[0], middles.later(half_s)

    def _look_at_clock(self) -> MsgGenerator[None]:
        yield from outcome(
            AboutTheRun(
                self._clock.look, f"{self._camera.name} was asked for the time of its clock"
            )
        )

    def _pause(self, hold: PauseRequest) -> MsgGenerator[None]:
        self._ended_early = False
        reason, since_s = hold.reason, hold.take_spoiled()
        self._work.spoil(since_s)
        yield from self._say("paused", reason, since_s)
        yield from self._wait(hold)
        self._work.spoil(hold.take_spoiled())
        yield from self._say("resumed", reason, since_s)

    def _wait(self, hold: PauseRequest) -> MsgGenerator[None]:
        """Wait until the scan may go on: nobody holds it, and all is set as it was."""
        yield from self._settings.note()
        with hold.checking(self._settings.check):
            while True:
                yield from hold.wait()
                yield from bps.clear_checkpoint()
                if (yield from self._unchanged(hold)):
                    return
                yield from self._say("paused", hold.reason, None)

    def _unchanged(self, hold: PauseRequest) -> MsgGenerator[bool]:
        """Tell whether all is set as it was; if not, ask for a pause."""
        changed = yield from self._settings.differences()
        if changed:
            LOG.warning("The scan pauses: %s", changed)
            hold.request(changed, owner="the scan")
        return not changed

    def _say(self, state: str, reason: str, since_s: float | None) -> MsgGenerator[None]:
        yield from self._figures.note(
            state=state,
            reason=reason[:512],
            stream="" if self._last is None else self._last.stream,
            taken=self._reached,
            spoiled_since=since_s or 0.0,
            again=json.dumps(self._work.missing()),
        )
