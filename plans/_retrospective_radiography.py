"""Retrospective radiography: expose without end, and keep the frames around an event."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import bluesky.plan_stubs as bps
from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino.frames import FrameRequest, RecordingTrigger, Retrospective
from concertino.units import QuantityLike, convert, convert_count

from ._acquisitions import Acquisitions, imaging_plan
from ._cameras import OnLost, camera_set
from ._frames import move_together
from ._hold import Hold
from ._imaging import DEFAULT_ORDER, Imaging, imaging_numbers
from ._metadata import quantity
from ._parameters import check_request
from ._pieces import Piece
from ._retrospective import WatchedSignal, take_retrospective_frames

OnTimeout = Literal["fail", "keep"]


def retrospective_radiography(
    camera: Readable[Any],
    beam: Movable[Any],
    sample_stage: Movable[Any],
    trigger: Any,
    *,
    radio_position: QuantityLike,
    flat_position: QuantityLike,
    num_darks: int = 200,
    num_flats: int = 200,
    num_before: int = 100,
    num_after: int = 100,
    trigger_above: float | None = None,
    trigger_below: float | None = None,
    max_wait: QuantityLike = "10 min",
    on_timeout: OnTimeout = "fail",
    order: Sequence[str] = DEFAULT_ORDER,
    on_lost: OnLost = "fail",
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Take darks and flats, then expose until a trigger and keep the frames around it, as one run.

    The camera exposes into its ring, of which the newest frames are shown and none is stored. When the
    trigger fires, `num_before` frames from before it and `num_after` from after it become the stream
    ``projections``, with their true times and the camera's numbers. The stream ``recording`` says when
    and why it fired and how many frames were let go. The beam is on meanwhile.

    Parameters
    ----------
    camera : device
        The camera, with a frame stream; its ``ring_bytes`` must hold the frames from before.
    beam : device
        The shutter or tube: takes True for beam, False for none.
    sample_stage : device
        Moves the sample across the beam; linear (mm) or rotary (deg).
    trigger : RecordingTrigger or device
        What is fired by the user (``trigger.fire("the crack opened")``) or a callback such as
        `ChangeTrigger`; or a signal, whose value is watched.
    radio_position : quantity
        Where the stage holds the sample in the beam; a plain number is in the stage's unit.
    flat_position : quantity
        Where the stage holds the sample out of the beam; likewise.
    num_darks, num_flats : int
        Number of frames without beam, and without sample.
    num_before, num_after : int
        Number of frames to keep from before and from after the trigger. Fewer are from before when
        fewer had been exposed.
    trigger_above, trigger_below : float, optional
        When `trigger` is a signal: it fires when the value is above, or below, in the signal's unit.
    max_wait : quantity
        How long to wait for the trigger; a plain number is in s.
    on_timeout : {"fail", "keep"}
        What then: fail the run, or keep the frames around that time.
    order : sequence of str
        The acquisitions and their order; one that is not named is left out.
    on_lost : {"fail", "flag"}
        What lost frames do: fail the run, or only stand in its ledger. Those let go are not lost.
    md : dict, optional
        Metadata for the run, such as ``{"sample": "tooth"}``.

    Returns
    -------
    str
        The run's uid.

    Raises
    ------
    ParameterError
        If a parameter cannot work; nothing has moved then.
    CameraError
        If the camera's ring is too small for the frames from before; likewise. Or if the camera fails.
    DeviceError
        If the trigger did not fire within `max_wait`.

    Examples
    --------
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.frames import RecordingTrigger
    >>> from concertino.plans import retrospective_radiography
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> trigger = RecordingTrigger()
    >>> plan = retrospective_radiography(b.camera, b.beam, b.sample_stage, trigger,
    ...                                  radio_position="0 mm", flat_position="1 cm", num_before=50)
    """
    before = convert_count(num_before, parameter="num_before")
    after = convert_count(num_after, parameter="num_after")
    asked = Imaging(
        camera_set(camera), beam, sample_stage, radio_position, flat_position,
        imaging_numbers(num_darks, num_flats, before + after), order, on_lost, md,
    )  # fmt: skip
    frames = asked.checked_counts()
    asked.check_one_camera("frames are kept by the ring of one")
    wait_s = convert(max_wait, "s", parameter="max_wait")
    if not wait_s > 0:
        raise ParameterError(
            f"max_wait: {wait_s:g} s was given; give the longest time to wait for the trigger, more "
            "than 0 s."
        )
    if on_timeout not in ("fail", "keep"):
        raise ParameterError(
            f"on_timeout: {on_timeout!r} was given; give 'fail' to fail the run when the trigger does "
            "not fire, or 'keep' to keep the frames around that time."
        )
    watched = _watched(trigger, trigger_above, trigger_below)
    recording = trigger if watched is None else RecordingTrigger()
    request = FrameRequest(
        before + after, "projections", on_lost=on_lost,
        retrospective=Retrospective(before, after, recording),
    )  # fmt: skip
    if "projections" in frames:
        yield from check_request(asked.cameras.first, request)

    def take(radio: float, piece: Piece, hold: Hold | None) -> MsgGenerator[bool]:
        yield from move_together((sample_stage, radio))
        yield from take_retrospective_frames(
            asked.cameras.first, request, watched=watched, max_wait_s=wait_s, on_timeout=on_timeout,
            beam=asked.beam,
        )  # fmt: skip
        return True

    def disarm() -> MsgGenerator[None]:
        recording.disarm()
        yield from bps.null()

    limits: Mapping[str, Any] = {"trigger_above": trigger_above, "trigger_below": trigger_below}
    acquisitions = Acquisitions(
        "retrospective_radiography",
        asked.around(take),
        tomo={"scheme": "radiography", "acquisition": "single"},
        plan_args={
            "num_before": before,
            "num_after": after,
            "trigger": getattr(trigger, "name", "") or "fired by hand or by a callback",
            **{name: limit for name, limit in limits.items() if limit is not None},
            "max_wait": quantity(wait_s, "s"),
            "on_timeout": on_timeout,
        },
        restore=[disarm],
        interruptible=False,
    )
    return (yield from imaging_plan(asked, frames, acquisitions))


def _watched(trigger: Any, above: Any, below: Any) -> WatchedSignal | None:
    """Return the signal that fires, or None when the trigger is fired by somebody."""
    limits = {"trigger_above": above, "trigger_below": below}
    if isinstance(trigger, RecordingTrigger):
        for name, limit in limits.items():
            if limit is not None:
                raise ParameterError(
                    f"{name}: {limit!r} was given with a RecordingTrigger, which has no value. Give a "
                    "signal as trigger, or leave the limit out."
                )
        return None
    if not isinstance(trigger, Readable):
        raise ParameterError(
            f"trigger: {trigger!r} can neither be fired nor read. Give a RecordingTrigger, or a signal "
            "with trigger_above or trigger_below."
        )
    given = {
        name: convert(limit, "", parameter=name)
        for name, limit in limits.items()
        if limit is not None
    }
    if not given:
        raise ParameterError(
            f"trigger: the value of {trigger.name} is to be watched, but no limit was given. Give "
            "trigger_above or trigger_below, in the signal's unit."
        )
    return WatchedSignal(trigger, given.get("trigger_above"), given.get("trigger_below"))
