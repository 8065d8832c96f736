"""Retrospective radiography: expose without end, and keep the frames around an event."""

from collections.abc import Sequence
from typing import Any

from bluesky.protocols import Movable, Readable
from bluesky.utils import MsgGenerator

from concertino.frames import RecordingTrigger
from concertino.units import QuantityLike

from .core._cameras import OnLost
from .core._described import described
from .imaging._acquisition import Darks, Flats
from .imaging._imaging_scan import DEFAULT_ORDER, ImagingScan
from .imaging._recorded_radiographs import OnTimeout, RetrospectiveRadiographs
from .imaging._take_scan import take_scan


@described
def retrospective_radiography(
    camera: Readable[Any],
    beam: Movable[Any],
    sample_stage: Movable[Any],
    trigger: RecordingTrigger | Readable[Any],
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
    per_frame: Sequence[Readable[Any]] = (),
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
    beam, sample_stage
    trigger : RecordingTrigger or device
        What is fired by the user (``trigger.fire("the crack opened")``) or a callback such as
        `ChangeTrigger`; or a signal, whose value is watched.
    radio_position, flat_position
    num_darks, num_flats
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
        The acquisitions and their order; one that is not named is left out. Darks and flats may come several
        times.
    on_lost : {"fail", "flag"}
        What lost frames do: fail the run, or only stand in its ledger. Those let go are not lost.
    per_frame, md

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
    recorded = RetrospectiveRadiographs(
        num_before=num_before, num_after=num_after,
        trigger_above=trigger_above, trigger_below=trigger_below,
        max_wait=max_wait, on_timeout=on_timeout,
    )  # fmt: skip
    scan = ImagingScan(
        plan="retrospective_radiography",
        acquisitions=[Darks(number=num_darks), Flats(number=num_flats), recorded],
        radio_position=radio_position, flat_position=flat_position, order=order, on_lost=on_lost,
    )  # fmt: skip
    return (
        yield from take_scan(
            scan, camera, beam, sample_stage, trigger=trigger, per_frame=per_frame, md=md
        )
    )
