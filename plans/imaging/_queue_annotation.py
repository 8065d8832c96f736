"""What a queue server is told of a plan's parameters, so that it refuses what cannot work when the plan is added."""

import asyncio
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from bluesky.protocols import HasName

from concertino import ParameterError
from concertino.plans.core._cameras import Cameras
from concertino.plans.core._device_queries import query, without_run_engine
from concertino.plans.core._motor_facts import position_limits, unit_of
from concertino.plans.stubs._triggers import TriggerLike
from concertino.units import (
    ChecksMembers,
    ChecksPosition,
    ChecksQuantity,
    ChecksScanArguments,
    MotorPlace,
    ParameterCheck,
    convert,
    convert_count,
)

from ._scheme_values import SchemeLike, angle_scheme, scheme_names

#: How long a motor may take to tell its unit and limits, in seconds.
_TELLS_S = 5.0
_MOST = 10**8
_QUANTITY = "typing.Union[float, str, typing.Dict[str, typing.Any]]"

#: Of which kind parameters are, by name: their unit, and whether they must be positive.
_UNITS: Mapping[str, tuple[str, bool]] = {
    "angular_range": ("deg", False),
    "start_angle": ("deg", False),
    "rotation_axis": ("px", False),
    "max_blur": ("px", True),
    "vertical_shift_per_tomogram": ("mm", False),
    "sample_height": ("mm", True),
    "grating_period": ("um", True),
    "analyser_period": ("um", True),
    "propagation_distance": ("mm", True),
    "tolerance": ("deg", True),
    "max_wait": ("s", True),
    "trigger_above": ("", False),
    "trigger_below": ("", False),
}
#: Which motor goes to a position.
_GOES: Mapping[str, str] = {
    "radio_position": "sample_stage",
    "flat_position": "sample_stage",
    "start_position_vertical": "vertical_stage",
    "stepping_start_position": "stepping",
    "start": "stage",
    "end": "stage",
}
#: Which motor goes to each of several positions.
_GOES_TO_EACH: Mapping[str, str] = {"x_positions": "x_stage", "y_positions": "y_stage"}
#: What counts frames.
_FRAMES = ("num_darks", "num_flats", "num_projections", "num_before", "num_after")
#: Smallest numbers of what is counted, where they are not 1.
_LEAST = {"num_steps_per_period": 3}
_LEAST_OF = {("focus", "num"): 5, ("align_rotation_axis", "num_views"): 5}
#: Parameters of scans after their motors.
_SCANS = {"ascan": (False, False), "dscan": (False, True), "scan": (True, False)}


def queue_annotation(
    plan: Callable[..., Any],
    roles: Mapping[str, Sequence[str]],
    places: Sequence[MotorPlace] = (),
) -> dict[str, Any]:
    """Return what bluesky's queue server is to check of a plan's parameters when the plan is added.

    It is for its ``parameter_annotation_decorator``: devices by their names, quantities by their dimensions,
    positions by the motors' limits, numbers by their least. Descriptions it takes from the
    plan's docstring.

    Parameters
    ----------
    plan : callable
        A plan of `concertino.plans`, or another with parameters of the same names.
    roles : mapping of str to sequence of str
        For each parameter that is a device or several, the names of those that may stand there. For cameras
        that may be several, ``cameras``; for a device that gives pulses, ``pulses``; for the motors of scans,
        ``motors``; for the plan that a director runs, ``plan``: these are names of plans.
    places : sequence of MotorPlace
        Units and limits of what moves, as `motor_places` returns them.

    Returns
    -------
    dict
        With a description of each parameter that the queue server cannot check by itself.

    Examples
    --------
    >>> from concertino.plans import queue_annotation, radiography
    >>> told = queue_annotation(radiography, {"beam": ["shutter"]}, [("sample_stage", "mm", -5, 5)])
    >>> told["parameters"]["beam"]
    {'annotation': 'Beam', 'devices': {'Beam': ['shutter']}}
    >>> told["parameters"]["num_darks"]
    {'annotation': 'int', 'min': 1, 'max': 100000000}
    """
    writer = _Writer(plan.__name__, roles, tuple(places))
    told = {
        name: writer.told(parameter)
        for name, parameter in inspect.signature(plan).parameters.items()
    }
    return {"parameters": {name: each for name, each in told.items() if each}}


@dataclass(frozen=True)
class _Writer:
    """Writes what is checked of a plan's parameters."""

    plan: str
    roles: Mapping[str, Sequence[str]]
    places: tuple[MotorPlace, ...]

    def told(self, parameter: inspect.Parameter) -> dict[str, Any]:
        """Return what is said of a parameter; nothing if its annotation says all."""
        name, optional = parameter.name, parameter.default is None
        if parameter.kind is parameter.VAR_POSITIONAL and self.plan in _SCANS:
            return self._scan_arguments()
        if name == "order" and parameter.default is not parameter.empty:
            return _in_order(parameter.default)
        if parameter.annotation == SchemeLike:
            return _a_scheme()
        if name == "plan" and "plan" in self.roles:
            return {"annotation": "Plan", "plans": {"Plan": list(self.roles["plan"])}}
        if (role := self._role(parameter)) in self.roles:
            return _devices(name, role, self.roles[role], optional)
        if parameter.annotation == TriggerLike:
            return {"annotation": "typing.Literal['software', 'edge']"}
        if name == "parameters":
            return self._parameters()
        if name in _GOES_TO_EACH:
            each = _checked(
                _QUANTITY, ChecksPosition(_GOES_TO_EACH[name], self._of(_GOES_TO_EACH[name]))
            )
            return {"annotation": f"typing.List[{each}]"}
        if name == "samples":
            each = _checked(_QUANTITY, ChecksPosition("sample_changer", self._of("sample_changer")))
            return {"annotation": f"typing.Dict[str, {each}]"}
        if name == "run":
            return {"annotation": "typing.Union[int, str]"}
        if parameter.annotation is int:
            return {"annotation": "int", "min": self.least(name), "max": _MOST}
        check = self.check(name, optional)
        return {} if check is None else {"annotation": _checked(_QUANTITY, check)}

    @staticmethod
    def _role(parameter: inspect.Parameter) -> str:
        if parameter.annotation == Cameras:
            return "cameras"
        # What is fired is another thing than what gives pulses.
        if parameter.name == "trigger" and parameter.default is not parameter.empty:
            return "pulses"
        return parameter.name

    def least(self, name: str) -> int:
        """Return the smallest number of what a parameter counts."""
        return _LEAST_OF.get((self.plan, name), _LEAST.get(name, 1))

    def check(self, name: str, optional: bool) -> ParameterCheck | None:
        """Return the check of a quantity; None of what is none."""
        if name in _GOES:
            return ChecksPosition(_GOES[name], self._of(_GOES[name]))
        if (self.plan, name) == ("focus", "tolerance"):
            return ChecksPosition("stage", self._of("stage"), relative=True)
        if name == "start_angle":
            angles = tuple(_in_degrees(place) for place in self._of("rotation"))
            return ChecksPosition("rotation", angles)
        if name in _UNITS:
            unit, positive = _UNITS[name]
            return ChecksQuantity(unit, positive, optional)
        return None

    def _of(self, role: str) -> tuple[MotorPlace, ...]:
        """Return what is known of the motors that may play a role."""
        names = self.roles.get(role)
        return tuple(place for place in self.places if names is None or place[0] in names)

    def _parameters(self) -> dict[str, Any]:
        """Return what is checked of the parameters of another plan, by their names, and which are devices."""
        checks = [(name, self.check(name, True)) for name in (*_UNITS, *_GOES)]
        members = tuple((name, check) for name, check in checks if check is not None)
        names = {name for role, names in self.roles.items() if role != "plan" for name in names}
        return {
            "annotation": _checked(
                "typing.Dict[str, typing.Union[Devices, typing.Any]]", ChecksMembers(members)
            ),
            "devices": {"Devices": sorted(names)},
        }

    def _scan_arguments(self) -> dict[str, Any]:
        counted, relative = _SCANS[self.plan]
        names, places = list(self.roles.get("motors", ())), self._of("motors")
        return {
            "annotation": _checked(
                f"typing.Union[Motors, {_QUANTITY}]", ChecksScanArguments(places, counted, relative)
            ),
            "devices": {"Motors": names},
        }


def check_parameter(plan: Callable[..., Any], name: str, value: object) -> None:
    """Refuse a value of a plan's parameter that would work with no devices.

    Parameters
    ----------
    plan : callable
        A plan of `concertino.plans`, or another with parameters of the same names.
    name : str
        Of the parameter.
    value
        What is to be given. Devices are not looked at, nor are positions in their units and limits.

    Raises
    ------
    ParameterError
        If it is of the wrong kind, in a wrong unit, too small, or none of the words that may stand there.

    Examples
    --------
    >>> from concertino.plans import check_parameter, radiography
    >>> check_parameter(radiography, "num_darks", "many")
    Traceback (most recent call last):
    ...
    concertino.ParameterError: num_darks: 'many' is no quantity. Give a number with a unit, such as '10 mm'.
    """
    parameter = inspect.signature(plan).parameters[name]
    writer = _Writer(plan.__name__, {}, ())
    check = writer.check(name, parameter.default is None)
    words = get_args(parameter.annotation) if get_origin(parameter.annotation) is Literal else ()
    if check is not None:
        check.check(value, name, {})
    elif parameter.annotation is int:
        unit = "frame" if name in _FRAMES else ""
        given: Any = value  # It refuses all that is no number.
        convert_count(given, parameter=name, minimum=writer.least(name), unit=unit)
    elif parameter.annotation == SchemeLike:
        angle_scheme(value)
    elif name == "order" and parameter.default is not parameter.empty:
        pattern = re.compile(_order_pattern(parameter.default))
        if not isinstance(value, list) or not all(
            isinstance(each, str) and pattern.match(each) for each in value
        ):
            raise ParameterError(
                f"order: {value!r} was given. Give a list such as {list(parameter.default)}."
            )
    elif words and value not in words:
        raise ParameterError(
            f"{name}: {value!r} was given. Give one of {', '.join(map(repr, words))}."
        )
    elif parameter.annotation is bool and not isinstance(value, bool):
        raise ParameterError(f"{name}: {value!r} was given. Give true or false.")


def _checked(annotation: str, check: ParameterCheck) -> str:
    """Return an annotation with a check, for a server that has Concertino; others see the annotation only."""
    here = "__import__('importlib.util', fromlist=['find_spec']).find_spec('concertino')"
    # Of its names no other: some are made when they are asked for.
    made = re.sub(
        r"\b(?=Checks\w+\()",
        "__import__('concertino.units', fromlist=['MotorPlace']).",
        f"{check!r}",
    )
    return f"typing.Annotated[{annotation}, {here} and {made}]"


def _devices(name: str, role: str, names: Sequence[str], optional: bool) -> dict[str, Any]:
    kind = role.title().replace("_", "")
    if role == "cameras":
        annotation = f"typing.Union[{kind}, typing.List[{kind}]]"
    elif role in ("unmoved", "per_frame", "measures", "devices"):
        annotation = f"typing.List[{kind}]"
    elif role == "motors":
        annotation = f"typing.Dict[str, {kind}]"
    elif role == "pulses" and not optional:
        annotation = f"typing.Union[typing.Literal['software', 'edge'], {kind}]"
    else:
        annotation = kind
    if optional:
        annotation = f"typing.Optional[{annotation}]"
    return {"annotation": annotation, "devices": {kind: list(names)}}


def _a_scheme() -> dict[str, Any]:
    names = ", ".join(map(repr, scheme_names()))
    angles = f"typing.List[{_checked('typing.Union[float, str]', ChecksQuantity('deg'))}]"
    return {
        "annotation": f"typing.Union[typing.Literal[{names}], {angles}, typing.Dict[str, typing.Any]]"
    }


def _in_order(streams: Sequence[str]) -> dict[str, Any]:
    """Return that each entry names a stream, or one that comes between parts of another."""
    field = f"__import__('pydantic').Field(pattern={_order_pattern(streams)!r})"
    return {"annotation": f"typing.List[typing.Annotated[str, {field}]]"}


def _order_pattern(streams: Sequence[str]) -> str:
    name = "|".join(streams)
    return f"^({name})( every ([1-9][0-9]* )?({name}|{'|'.join(s.removesuffix('s') for s in streams)}))?$"


def motor_places(motors: Mapping[str, HasName]) -> tuple[MotorPlace, ...]:
    """Return the units and limits that motors tell now; of one that does not answer in 5 s, nothing.

    Parameters
    ----------
    motors : mapping of str to device
        What moves, by the name that a queue server knows it by.

    Returns
    -------
    tuple of MotorPlace
        Name, unit, lowest and highest position of each.

    Examples
    --------
    >>> from concertino.devices import SimulatedBeamline
    >>> from concertino.plans import motor_places
    >>> motor_places({"stage": SimulatedBeamline(shape=(16, 16)).sample_stage})
    (('stage', 'mm', -100.0, 100.0),)
    """

    async def tell(name: str, motor: HasName) -> MotorPlace | None:
        with suppress(Exception):
            async with asyncio.timeout(_TELLS_S):
                low, high = await position_limits(motor)
                unit = await unit_of(motor)
            return (name, unit, _finite(low), _finite(high))
        return None

    async def tell_all() -> list[MotorPlace | None]:
        return list(await asyncio.gather(*(tell(name, motor) for name, motor in motors.items())))

    names = ", ".join(motors)
    found = without_run_engine(query(tell_all, f"{names} were asked for their units and limits"))
    return tuple(place for place in found if place is not None)


def _finite(limit: float) -> float | None:
    return float(limit) if math.isfinite(limit) else None


def _in_degrees(place: MotorPlace) -> MotorPlace:
    """Return what a motor tells in deg; without limits if its unit is no angle."""
    name, unit, low, high = place
    try:
        degrees = [
            None
            if limit is None
            else convert({"value": limit, "unit": unit}, "deg", parameter=name)
            for limit in (low, high)
        ]
    except ParameterError:
        return (name, "deg", low, high)
    return (name, "deg", degrees[0], degrees[1])
