"""Give an axis a velocity, and see that it took it."""

import asyncio
import time
from functools import partial
from typing import Any

from bluesky import Msg
from bluesky.utils import FailedStatus, MsgGenerator, short_uid

from concertino import DeviceError
from concertino.guard import named_with_address
from concertino.plans.core._device_queries import number, run_in_loop
from concertino.plans.core._epics_fields import gives_up
from concertino.plans.core._motor_facts import unit_of
from concertino.plans.core._offers import HasVelocity, name_of

#: How long a control system may take to show a velocity, in s; and how close it is to what was asked for.
_WITHIN_S = 5.0
_LOOK_S = 0.05
_CLOSE = 0.01


def set_velocity(axis: HasVelocity, velocity: float) -> MsgGenerator[None]:
    """Give an axis a velocity.

    Parameters
    ----------
    axis : device
        Has a ``velocity``.
    velocity : float
        In its unit per second.

    Raises
    ------
    DeviceError
        If it has another one 5 s later: records and controllers refuse one silently, or take the greatest they allow.
    """
    group = short_uid("velocity")
    refusal: FailedStatus | None = None
    try:
        yield Msg("set", axis.velocity, velocity, group=group, **gives_up(axis.velocity, _WITHIN_S))
        yield Msg("wait", None, group=group)
    except FailedStatus as error:
        refusal = error
    yield from run_in_loop(
        partial(_check, axis, velocity, refusal),
        f"{named_with_address(name_of(axis), axis)} was asked for its velocity",
    )


async def _check(axis: Any, wanted: float, refusal: FailedStatus | None) -> None:
    until_s = time.monotonic() + _WITHIN_S
    while (has := await number(axis.velocity)) is not None:
        if abs(has - wanted) <= _CLOSE * abs(wanted):
            return
        if refusal is not None or time.monotonic() > until_s:
            unit = f"{await unit_of(axis)}/s"
            raise DeviceError(
                f"{named_with_address(name_of(axis), axis)} was to take a velocity of {wanted:g} {unit} and has {has:g} {unit}. "
                "Its record or controller refuses it (in EPICS see VMAX and VBAS, and the controller's own limits): "
                "choose another frame rate, number of projections or range."
            ) from refusal
        await asyncio.sleep(_LOOK_S)
    if refusal is not None:
        raise refusal
