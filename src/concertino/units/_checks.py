"""Checks of quantities that pydantic does, and that leave the value as it was given.

For who validates a plan's parameters without the plan, such as bluesky's queue server when a plan is added: it
compares what comes out with what went in, and makes checks anew from what they look like as text.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from concertino._errors import ParameterError

from ._convert import QuantityLike, convert, convert_count, parse

#: A motor's name, its unit, and its lowest and highest position in it; None where it tells none.
MotorPlace: TypeAlias = tuple[str, str, float | None, float | None]

_ROUNDING = 1e-9


class ParameterCheck(ABC):
    """A check of one of several parameters, as metadata of `typing.Annotated`."""

    @abstractmethod
    def check(self, value: object, parameter: str, before: Mapping[str, object]) -> None:
        """Refuse a value that cannot work.

        Parameters
        ----------
        value : object
            Of the parameter.
        parameter : str
            Its name, for the message.
        before : mapping
            The parameters before it, by name.

        Raises
        ------
        ParameterError
            If it cannot work.
        """

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> Any:
        """Have pydantic check, and leave the value alone."""
        from pydantic_core import core_schema

        def unchanged(value: Any, info: core_schema.ValidationInfo) -> Any:
            self.check(value, info.field_name or "value", info.data)
            return value

        return core_schema.with_info_plain_validator_function(unchanged)


@dataclass(frozen=True)
class ChecksQuantity(ParameterCheck):
    """Has pydantic check that a parameter is a quantity of a kind.

    Parameters
    ----------
    unit : str
        In which a plain number is.
    positive : bool
        Whether zero and negative values are refused.
    optional : bool
        Whether it may be None.

    Examples
    --------
    >>> from typing import Annotated
    >>> from pydantic import TypeAdapter
    >>> from concertino.units import ChecksQuantity
    >>> TypeAdapter(Annotated[float | str, ChecksQuantity("mm")]).validate_python("1 cm")
    '1 cm'
    """

    unit: str
    positive: bool = False
    optional: bool = False

    def check(self, value: object, parameter: str, before: Mapping[str, object]) -> None:
        """Refuse what is of another kind."""
        if not (value is None and self.optional):
            convert(_given(value), self.unit, parameter=parameter, positive=self.positive)


@dataclass(frozen=True)
class ChecksPosition(ParameterCheck):
    """Has pydantic check that a motor can go where a parameter says.

    Parameters
    ----------
    motor : str
        The parameter before it that names the motor.
    places : sequence of MotorPlace
        What each motor tells. Of others only whether it is a quantity is checked.
    relative : bool
        Whether it is a distance, to which no limits apply, and may be None.
    """

    motor: str
    places: Sequence[MotorPlace]
    relative: bool = False

    def check(self, value: object, parameter: str, before: Mapping[str, object]) -> None:
        """Refuse what is of another kind than the motor's unit, or beyond its limits."""
        if value is None and self.relative:
            return
        given = before.get(self.motor)
        motor = given.value if isinstance(given, Enum) else given
        _check_place(value, motor, self.places, parameter, self.relative)


@dataclass(
    frozen=True, eq=False
)  # Or `typing`, which keeps what is equal, would give another one's count.
class ChecksScanArguments(ParameterCheck):
    """Has pydantic check the arguments of a scan, one after the other: motor, start, end, and so on for each.

    One is for one scan, whose arguments it counts; no two are equal.

    Parameters
    ----------
    places : sequence of MotorPlace
        What each motor tells.
    counted : bool
        Whether the number of points follows for each motor.
    relative : bool
        Whether start and end are distances, to which no limits apply.
    """

    places: Sequence[MotorPlace]
    counted: bool = False
    relative: bool = False
    _seen: list[object] = field(default_factory=list, init=False, repr=False)

    def check(self, value: object, parameter: str, before: Mapping[str, object]) -> None:
        """Refuse an argument that is not what its place asks for."""
        parts = ("motor", "start", "end", *(("number",) if self.counted else ()))
        index = len(self._seen)
        self._seen.append(value)
        part, motor = parts[index % len(parts)], self._seen[index // len(parts) * len(parts)]
        if part == "motor":
            known = [place[0] for place in self.places]
            if motor not in known:
                raise ParameterError(
                    f"{parameter}: {motor!r} is no motor. Give {', '.join(parts)} for each motor; the motors are "
                    f"{', '.join(known)}."
                )
        elif part == "number":
            convert_count(_given(value), parameter=f"number of {motor}", unit="")
        else:
            _check_place(value, motor, self.places, f"{part} of {motor}", self.relative)


@dataclass(frozen=True)
class ChecksMembers(ParameterCheck):
    """Has pydantic check members of a mapping, such as the parameters of a plan that another one runs.

    Parameters
    ----------
    members : sequence of tuple of str and ParameterCheck
        The check of each member that has one. Others are left alone, and none has to be there.
    """

    members: Sequence[tuple[str, ParameterCheck]]

    def check(self, value: object, parameter: str, before: Mapping[str, object]) -> None:
        """Refuse a member that cannot work."""
        if not isinstance(value, Mapping):
            raise ParameterError(
                f"{parameter}: {value!r} was given. Give parameters by name, such as {{'num_darks': 10}}."
            )
        for name, check in self.members:
            if name in value:
                check.check(value[name], name, value)


def _given(value: object) -> QuantityLike:
    """Return a value as it is, for `convert`, which refuses all that is no quantity."""
    given: Any = value
    return given  # type: ignore[no-any-return]


def _check_place(
    value: object, motor: object, places: Sequence[MotorPlace], parameter: str, relative: bool
) -> None:
    """Check that a motor can go somewhere, as far as it is known."""
    found = next((place for place in places if place[0] == motor), None)
    if found is None:
        if isinstance(value, str):
            parse(value, parameter=parameter)  # Which unit it is to have, nobody knows.
        elif not isinstance(value, Mapping):
            convert(_given(value), "", parameter=parameter)
        return
    name, unit, low, high = found
    position = convert(_given(value), unit, parameter=parameter)
    slack = _ROUNDING * abs(position)
    below = low is not None and position < low - slack
    above = high is not None and position > high + slack
    if not relative and (below or above):
        raise ParameterError(
            f"{parameter}: Motor {name} was asked to move to {position:g} {unit}; its limits are "
            f"{'-inf' if low is None else f'{low:g}'} to {'inf' if high is None else f'{high:g}'} {unit}."
        )
