"""The frames around a trigger, as a value."""

from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import bluesky.plan_stubs as bps
from bluesky.protocols import Readable
from bluesky.utils import MsgGenerator
from pydantic import field_validator

from concertino import ParameterError
from concertino.documents import PROJECTIONS
from concertino.frames import FrameRequest, RecordingTrigger, Retrospective
from concertino.plans.core._offers import name_of
from concertino.plans.core._parameters import check_request
from concertino.plans.run._metadata import quantity
from concertino.plans.run._pause_request import PauseRequest
from concertino.plans.run._segments import AcquisitionSegment
from concertino.plans.stubs._frames import move_together
from concertino.plans.stubs._retrospective import WatchedSignal, take_retrospective_frames
from concertino.plans.stubs._scan_setup import ScanSetup

from ._acquisition import Acquisition, Ready, register_acquisition
from ._scan_values import Counted, In

OnTimeout = Literal["fail", "keep"]


@register_acquisition
class RetrospectiveRadiographs(Acquisition):
    """Frames of the sample at rest, around a trigger.

    Parameters
    ----------
    num_before, num_after : int
        Number of frames to keep from before and from after the trigger.
    trigger_above, trigger_below : float, optional
        When the trigger is a signal: it fires when the value is above, or below, in the signal's unit.
    max_wait : quantity
        How long to wait for the trigger; a plain number is in s.
    on_timeout : {"fail", "keep"}
        What then: fail the run, or keep the frames around that time.
    """

    PAUSES: ClassVar[bool] = False

    kind: Literal["retrospective_radiographs"] = "retrospective_radiographs"
    num_before: Annotated[int, Counted("num_before")] = 100
    num_after: Annotated[int, Counted("num_after")] = 100
    trigger_above: Annotated[float, In("")] | None = None
    trigger_below: Annotated[float, In("")] | None = None
    max_wait: Annotated[float, In("s")] = 600.0
    on_timeout: OnTimeout = "fail"

    @field_validator("max_wait")
    @classmethod
    def _waits(cls, value: float) -> float:
        if not value > 0:
            raise ParameterError(
                f"max_wait: {value:g} s was given; give the longest time to wait for the trigger, more "
                "than 0 s."
            )
        return value

    @field_validator("on_timeout", mode="before")
    @classmethod
    def _known_end(cls, value: Any) -> Any:
        if value not in ("fail", "keep"):
            raise ParameterError(
                f"on_timeout: {value!r} was given; give 'fail' to fail the run when the trigger does "
                "not fire, or 'keep' to keep the frames around that time."
            )
        return value

    @property
    def count(self) -> int:
        """Number of its frames."""
        return self.num_before + self.num_after

    @property
    def needs_trigger(self) -> bool:
        """Whether a device starts its exposures: what fires it is one, or a `RecordingTrigger`."""
        return True

    def plan_args(self) -> dict[str, Any]:
        """Return its parameters for the start document's ``plan_args``."""
        limits = {"trigger_above": self.trigger_above, "trigger_below": self.trigger_below}
        return {
            "num_before": self.num_before,
            "num_after": self.num_after,
            **{name: limit for name, limit in limits.items() if limit is not None},
            "max_wait": quantity(self.max_wait, "s"),
            "on_timeout": self.on_timeout,
        }

    def ready(self, setup: ScanSetup) -> MsgGenerator[Ready]:
        """Check the trigger, and the camera's ring."""
        setup.cameras.check_one("frames are kept by the ring of one")
        trigger = setup.trigger
        watched = self._watched(trigger)
        recording = trigger if watched is None else RecordingTrigger()
        request = FrameRequest(
            self.count, PROJECTIONS, on_lost=setup.on_lost,
            retrospective=Retrospective(self.num_before, self.num_after, recording),
        )  # fmt: skip
        if self.stream in setup.streams:
            yield from check_request(setup.cameras.first, request)

        def disarm() -> MsgGenerator[None]:
            recording.disarm()
            yield from bps.null()

        name = name_of(trigger, "") or "fired by hand or by a callback"
        return Ready(
            self,
            partial(self._record, request, watched),
            plan_args={**self.plan_args(), "trigger": name},
            restore=[disarm],
        )

    def _record(
        self,
        request: FrameRequest,
        watched: WatchedSignal | None,
        setup: ScanSetup,
        piece: AcquisitionSegment,
        hold: PauseRequest | None,
    ) -> MsgGenerator[bool]:
        yield from move_together((setup.sample_stage, setup.radio))
        yield from take_retrospective_frames(
            setup.cameras, request, watched=watched, max_wait_s=self.max_wait,
            on_timeout=self.on_timeout, beam=setup.beam,
        )  # fmt: skip
        return True

    def _watched(self, trigger: Any) -> WatchedSignal | None:
        """Return the signal that fires, or None when the trigger is fired by somebody."""
        limits = {"trigger_above": self.trigger_above, "trigger_below": self.trigger_below}
        if isinstance(trigger, RecordingTrigger):
            for name, limit in limits.items():
                if limit is not None:
                    raise ParameterError(
                        f"{name}: {limit:g} was given with a RecordingTrigger, which has no value. Give a "
                        "signal as trigger, or leave the limit out."
                    )
            return None
        if not isinstance(trigger, Readable):
            raise ParameterError(
                f"trigger: {trigger!r} can neither be fired nor read. Give a RecordingTrigger, or a signal "
                "with trigger_above or trigger_below."
            )
        if self.trigger_above is None and self.trigger_below is None:
            raise ParameterError(
                f"trigger: the value of {trigger.name} is to be watched, but no limit was given. Give "
                "trigger_above or trigger_below, in the signal's unit."
            )
        return WatchedSignal(trigger, self.trigger_above, self.trigger_below)
