"""Scans of any motors against any measures: bluesky's, with units, measures of frames and a beam."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
from bluesky import Msg
from bluesky.protocols import HasName, Movable, Readable
from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino.plans.core._arrival import arriving
from concertino.plans.core._parameters import (
    check_limits,
    check_motor,
    motor_position,
    motor_unit,
    read_number,
)
from concertino.plans.core._passed_on import passed_on
from concertino.plans.run._metadata import check_md
from concertino.plans.safety._safety import Cleanup
from concertino.units import QuantityLike, convert, convert_count

from ._measuring import Measuring

_DROPPED = ("stage", "unstage", "close_run")


def ascan(
    measures: Sequence[Readable[Any]],
    *args: Movable[Any] | QuantityLike,
    num: int,
    beam: Movable[Any] | None = None,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Move motors together from their start to their end positions, and read measures at each point.

    Parameters
    ----------
    measures : sequence of device
        Readable devices; `ImageMeasure` makes one of a function of frames.
    *args
        ``motor, start, end`` for each motor; plain numbers are in its unit.
    num : int
        Number of points, both ends included.
    beam : device, optional
        On during the scan, and off at each end of it.
    md : dict, optional
        Metadata for the run.

    Returns
    -------
    str
        The run's uid.

    Raises
    ------
    ParameterError
        If a parameter cannot work; nothing has moved then.

    Examples
    --------
    >>> import numpy as np
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import ImageMeasure, ascan
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> plan = ascan([ImageMeasure(b.camera, np.mean)], b.sample_stage, "-1 mm", "1 mm", num=11,
    ...              beam=b.beam)
    """
    return (yield from _together("ascan", measures, args, num, beam, md, relative=False))


def dscan(
    measures: Sequence[Readable[Any]],
    *args: Movable[Any] | QuantityLike,
    num: int,
    beam: Movable[Any] | None = None,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Do as `ascan` does, with positions relative to the present ones, and bring the motors back.

    Parameters
    ----------
    measures : sequence of device
        Readable devices; `ImageMeasure` makes one of a function of frames.
    *args
        ``motor, start, end`` for each motor, from where it is; plain numbers are in its unit.
    num : int
        Number of points, both ends included.
    beam : device, optional
        On during the scan, and off at each end of it.
    md : dict, optional
        Metadata for the run.

    Returns
    -------
    str
        The run's uid.

    Raises
    ------
    ParameterError
        If a parameter cannot work; nothing has moved then.
    """
    return (yield from _together("dscan", measures, args, num, beam, md, relative=True))


def scan(
    measures: Sequence[Readable[Any]],
    *args: Movable[Any] | QuantityLike,
    snake: bool = False,
    beam: Movable[Any] | None = None,
    md: dict[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Read measures at each point of a grid of any number of motors.

    Parameters
    ----------
    measures : sequence of device
        Readable devices; `ImageMeasure` makes one of a function of frames.
    *args
        ``motor, start, end, number`` for each motor; the last one moves fastest.
    snake : bool
        Every other line backwards.
    beam : device, optional
        On during the scan, and off at each end of it.
    md : dict, optional
        Metadata for the run.

    Returns
    -------
    str
        The run's uid.

    Raises
    ------
    ParameterError
        If a parameter cannot work; nothing has moved then.

    Examples
    --------
    >>> import numpy as np
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import ImageMeasure, scan
    >>> b = SimulatedBeamline(shape=(16, 16))
    >>> plan = scan([ImageMeasure(b.camera, np.std)], b.vertical_stage, 0, 1, 3,
    ...             b.sample_stage, "-1 mm", "1 mm", 5, snake=True, beam=b.beam)
    """
    measuring = Measuring(measures, _motors(args, 4), beam)
    positions: list[Any] = []
    for motor, start, end, number in _grouped(args, 4):
        points = convert_count(number, parameter=f"number of {motor.name}", unit="")
        low = yield from motor_position(motor, start, f"start of {motor.name}")
        high = yield from motor_position(motor, end, f"end of {motor.name}")
        positions.extend((motor, low, high, points))
    total = math.prod(positions[3::4])
    grid = partial(bp.grid_scan, measuring.measures, *positions, snake_axes=snake)
    return (yield from _run("scan", measuring, grid, positions, total, {"snake": snake}, md))


def _together(
    name: str,
    measures: Any,
    args: Sequence[Any],
    num: int,
    beam: Any,
    md: Mapping[str, Any] | None,
    *,
    relative: bool,
) -> MsgGenerator[str]:
    measuring = Measuring(measures, _motors(args, 3), beam)
    points = convert_count(num, parameter="num", unit="")
    positions: list[Any] = []
    restore: list[Cleanup] = []
    for motor, *ends in _grouped(args, 3):
        positions.append(motor)
        origin = 0.0
        if relative:
            origin = yield from read_number(motor)
            restore.append(partial(bps.mv, motor, origin))
        unit = yield from motor_unit(motor)
        for end, which in zip(ends, ("start", "end"), strict=True):
            parameter = f"{which} of {motor.name}"
            position = origin + convert(end, unit, parameter=parameter)
            yield from check_limits(motor, position, parameter)
            positions.append(position)
    line = partial(bp.scan, measuring.measures, *positions, num=points)
    return (yield from _run(name, measuring, line, positions, points, {"num": points}, md, restore))


def _run(
    name: str,
    measuring: Measuring,
    plan: Callable[..., MsgGenerator[Any]],
    positions: Sequence[Any],
    total: int,
    plan_args: Mapping[str, Any],
    md: Mapping[str, Any] | None,
    restore: Sequence[Cleanup] = (),
) -> MsgGenerator[str]:
    check_md(md)
    yield from measuring.check()

    points = itertools.count(1)

    def per_step(detectors: Any, step: Any, pos_cache: Any) -> MsgGenerator[None]:
        yield from arriving(list(step.items()), bps.move_per_step(step, pos_cache))
        yield from measuring.take(last=next(points) == total)

    messages = plan(per_step=per_step)
    # What bluesky knows about the scan stands in the message that opens its run; ours opens it.
    while (message := next(messages)).command != "open_run":
        pass
    beam = {} if measuring.beam is None else {"beam": measuring.beam.name}
    metadata = {
        **{k: v for k, v in message.kwargs.items() if k not in ("detectors", "motors")},
        "plan_name": name,
        "plan_args": {
            "measures": [measure.name for measure in measuring.measures],
            "args": [part.name if isinstance(part, HasName) else part for part in positions],
            **beam,
            **plan_args,
        },
        **(md or {}),
    }
    if "dimensions" in metadata.get("hints", {}):
        dimensions = metadata["hints"]["dimensions"]
        metadata["hints"] = {**metadata["hints"], "dimensions": [list(part) for part in dimensions]}
    return (
        yield from measuring.run(lambda: _points(messages, measuring.pausable), metadata, restore)
    )


def _points(messages: MsgGenerator[Any], pausable: bool) -> MsgGenerator[None]:
    """Pass on what a plan of bluesky does at its points; the rest is the business of the run."""
    dropped = _DROPPED if pausable else (*_DROPPED, "checkpoint")

    def do(message: Msg) -> MsgGenerator[Any]:
        return None if message.command in dropped else (yield message)

    yield from passed_on(messages, do)


def _grouped(args: Sequence[Any], size: int) -> list[tuple[Any, ...]]:
    form = "motor, start, end, number" if size == 4 else "motor, start, end"
    if not args or len(args) % size:
        raise ParameterError(
            f"args: {len(args)} were given. Give {form} for each motor, one after the other."
        )
    return [tuple(args[i : i + size]) for i in range(0, len(args), size)]


def _motors(args: Sequence[Any], size: int) -> list[Any]:
    motors = [group[0] for group in _grouped(args, size)]
    for motor in motors:
        check_motor(motor, "motor")
    if len(set(map(id, motors))) != len(motors):
        raise ParameterError(
            f"args: {', '.join(motor.name for motor in motors)} were given; name each motor once."
        )
    return motors
