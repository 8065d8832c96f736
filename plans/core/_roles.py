"""Whether each device can play the part that it was given: what switches, and what has a position."""

import inspect
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Literal

import numpy as np
from bluesky.utils import MsgGenerator, maybe_await

from concertino import ParameterError
from concertino.documents import check_device_name
from concertino.units import convert

from ._awaited import names_of
from ._device_queries import query
from ._motor_facts import described, main_key, unit_of
from ._offers import SaysIfBeam
from ._protocols import Beam

Kind = Literal["switch", "text", "position"]


def check_roles(beam: Any, motors: Mapping[str, Any]) -> MsgGenerator[None]:
    """Refuse a beam that has a position, a motor that has none, and a rotation swapped with a stage.

    A beam is what says so (``is_beam``), as the shutters and tubes of `concertino.devices` and `SignalBeam` do, or
    reads as one of two states: true or false, or one of named ones. A motor
    reads as a number, or does not say.

    Parameters
    ----------
    beam : Beam or None
        What is to switch the beam, if anything.
    motors : mapping of str to device
        What is to move, by its part in the plan.

    Raises
    ------
    ParameterError
        If a device is none for its part.
    """
    if beam is not None:
        check_beam(beam)

    for part, device in {"beam": beam, **motors}.items():
        if device is not None:
            check_device_name(device.name, part)
    # One after the other, so that one that does not answer is named.
    if beam is not None and not _is_beam(beam):
        kinds = yield from query(partial(_kinds, beam), _what_it_is(beam))
        if not kinds & {"switch", "text"}:
            raise ParameterError(_no_beam(beam, kinds))
    for part, motor in motors.items():
        is_beam = _is_beam(motor)
        kinds = (
            {"switch"}
            if is_beam
            else (yield from query(partial(_kinds, motor), _what_it_is(motor)))
        )
        if kinds and "position" not in kinds:
            raise ParameterError(_no_motor(motor, part, kinds))
    if {"rotation", "sample_stage"} <= set(motors):
        pair = motors["rotation"], motors["sample_stage"]
        refusal = yield from query(
            partial(_swapped, *pair), f"{names_of(pair)} were asked for units"
        )
        if refusal:
            raise ParameterError(refusal)


def _what_it_is(device: Any) -> str:
    return f"{names_of([device])} was asked what it is"


async def _swapped(rotation: Any, sample_stage: Any) -> str:
    unit, stage_unit = await unit_of(rotation), await unit_of(sample_stage)
    if not (_is(unit, "mm") and _is(stage_unit, "deg")):
        return ""
    return (
        f"rotation: {rotation.name} moves in {unit!r}, and the sample_stage {sample_stage.name} in {stage_unit!r}: they "
        "were swapped. Give what turns as rotation."
    )


def _is(unit: str, like: str) -> bool:
    try:
        convert({"value": 1.0, "unit": unit}, like, parameter="")
    except ParameterError:
        return False
    return True


def check_beam(beam: object) -> None:
    """Check that a beam is a device that can be set, and then says when that is done.

    Raises
    ------
    ParameterError
        If it is none, for instance a name.
    """
    if not isinstance(beam, Beam):
        raise ParameterError(
            f"beam: {beam!r} cannot be switched. Give a shutter or tube that takes True and False, or "
            "wrap yours in concertino.devices.SignalBeam."
        )
    if inspect.iscoroutinefunction(beam.set):
        raise ParameterError(
            f"beam: the set of {beam.name} is a coroutine, and must return a status, as those of "
            "bluesky do. Decorate it with @AsyncStatus.wrap of ophyd_async.core."
        )


def _no_beam(beam: Any, kinds: set[Kind]) -> str:
    found = "reads as a number, as a position does" if kinds else "does not say what it reads as"
    return (
        f"beam: {beam.name} {found}, and a beam is on or off. Give the shutter or tube here, and motors "
        "in their own places; if it is what switches the beam, wrap it in "
        "concertino.devices.SignalBeam(device, on=…, off=…)."
    )


def _no_motor(motor: Any, part: str, kinds: set[Kind]) -> str:
    found = "switches between states" if "switch" in kinds else "reads as text"
    return (
        f"{part}: {motor.name} {found}, and what moves has a position. Give a motor here: a device whose "
        "reading of its own name is a number; and the shutter or tube as beam."
    )


async def _kinds(device: Any) -> set[Kind]:
    """Return what a device reads as: its own reading, or if none of several is, each of them."""
    keys = await described(device)
    own = main_key(device, keys)
    if own is not None:
        keys = {own: keys[own]}
    bools = (
        await _bools(device) if any(key.get("dtype") == "integer" for key in keys.values()) else ()
    )
    found: set[Kind] = set()
    for name, key in keys.items():
        dtype = key.get("dtype")
        if dtype == "boolean" or name in bools or key.get("choices") or key.get("enum_strs"):
            found.add("switch")
        elif dtype == "string":
            found.add("text")
        elif dtype in ("number", "integer") and not key.get("shape"):
            found.add("position")
    return found


async def _bools(device: Any) -> set[str]:
    """Return which readings are true or false, which ophyd describes as integers."""
    with suppress(Exception):
        reading = await maybe_await(device.read())
        return {
            name for name, field in reading.items() if isinstance(field["value"], bool | np.bool_)
        }
    return set()


def _is_beam(device: Any) -> bool:
    return isinstance(device, SaysIfBeam) and device.is_beam
