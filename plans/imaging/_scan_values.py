"""What the values of an imaging run are made of: numbers with units, counts, positions, as JSON and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticSerializationError, core_schema

from concertino import ParameterError
from concertino.plans.run._metadata import quantity
from concertino.units import QuantityLike, convert, convert_count, is_quantity, parse, to_json

_QUANTITY: Mapping[str, Any] = {
    "type": "object",
    "properties": {"value": {"type": "number"}, "unit": {"type": "string"}},
    "required": ["value", "unit"],
    "additionalProperties": False,
}


class ScanValue(BaseModel):
    """A frozen value that goes through JSON and back; what cannot work is a `ParameterError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise parameter_error(error, tuple(type(self).model_fields)) from error

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other fields, which are checked as those of a new value are.

        Raises
        ------
        ParameterError
            If something cannot work.
        """
        return type(self)(**{**dict(self), **(update or {})})

    def to_json(self) -> dict[str, Any]:
        """Return it as a start document has it.

        Raises
        ------
        ParameterError
            If something in it cannot go through JSON.
        """
        try:
            return self.model_dump(mode="json")
        except PydanticSerializationError as error:
            if isinstance(error.__cause__, ParameterError):
                raise error.__cause__ from error
            raise ParameterError(
                f"{type(self).__name__} cannot be written as JSON: {error}. Give its fields numbers, text, or lists "
                "and mappings of such."
            ) from error


def parameter_error(error: ValidationError, fields: Sequence[str]) -> ParameterError:
    """Return what is wrong with a value that has these fields, as plans say it."""
    faults = error.errors(include_url=False)
    for fault in faults:
        cause = fault.get("ctx", {}).get("error")
        if isinstance(cause, ParameterError):
            return cause
    # A name that is wrong before the one that is missed for it.
    first = min(faults, key=lambda fault: fault["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in first["loc"])
    has = f"{error.title} has {', '.join(fields)}"
    if first["type"] == "extra_forbidden":
        return ParameterError(f"{where}: there is no such field. {has}. Use one of these.")
    if first["type"] == "missing":
        return ParameterError(f"{where}: this was not given. {has}. Give it, too.")
    if first["type"] == "value_error":
        told = str(first["ctx"]["error"]).rstrip(".") + "."
        return ParameterError(f"{where}: {told}")
    return ParameterError(
        f"{where}: {first['input']!r} was given ({first['msg']}). Give what it can be."
    )


@dataclass(frozen=True)
class In:
    """Has a field take any quantity and keep a plain number in one unit.

    Parameters
    ----------
    unit : str
        The unit.
    positive : bool
        Whether zero and negative values are refused.
    """

    unit: str
    positive: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Convert before all else, and write value and unit."""

        def read(value: Any, info: core_schema.ValidationInfo) -> float:
            name = info.field_name or ""
            return convert(value, self.unit, parameter=name, positive=self.positive)

        return core_schema.with_info_before_validator_function(
            read,
            handler(source),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: quantity(value, self.unit)
            ),
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """Say what it is in JSON."""
        if not self.unit:
            return {"type": "number"}
        return {
            "anyOf": [{"type": "number"}, {"type": "string"}, dict(_QUANTITY)],
            "description": f"a quantity; a plain number is in {self.unit}",
        }


@dataclass(frozen=True)
class Counted:
    """Has a field take any whole number.

    Parameters
    ----------
    parameter : str
        What plans call it, for messages.
    minimum : int
        Smallest number allowed.
    unit : str
        What is counted.
    """

    parameter: str
    minimum: int = 1
    unit: str = "frame"

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Convert before all else."""

        def read(value: Any) -> int:
            return convert_count(
                value, parameter=self.parameter, minimum=self.minimum, unit=self.unit
            )

        return core_schema.no_info_before_validator_function(read, handler(source))


@dataclass(frozen=True)
class MotorPosition:
    """A position of a motor, as it was asked for.

    Parameters
    ----------
    value : float
        The number.
    unit : str
        Its unit; empty for that of the motor.
    """

    value: float
    unit: str = ""

    @property
    def asked(self) -> QuantityLike:
        """The position as `convert` takes it."""
        return quantity(self.value, self.unit) if self.unit else self.value


class _AMotorPosition:
    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.with_info_plain_validator_function(
            _read_motor_position,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda place: quantity(place.value, place.unit)
            ),
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {
            "anyOf": [{"type": "number"}, {"type": "string"}, dict(_QUANTITY)],
            "description": "a quantity; a plain number is in the motor's unit",
        }


def _read_motor_position(value: Any, info: core_schema.ValidationInfo) -> MotorPosition:
    name = info.field_name or ""
    if isinstance(value, MotorPosition):
        return value
    if isinstance(value, str):
        found = parse(value, parameter=name)
        convert(found, str(found.units), parameter=name)
        return MotorPosition(float(found.magnitude), to_json(found)["unit"])
    if isinstance(value, Mapping) and value.get("unit") == "" and set(value) == {"value", "unit"}:
        return MotorPosition(convert(value["value"], "", parameter=name))
    if isinstance(value, Mapping):
        unit = value.get("unit")
        unit = unit if isinstance(unit, str) and unit else "mm"
        return MotorPosition(convert(value, unit, parameter=name), unit)
    if is_quantity(value):
        unit = str(value.units)
        return MotorPosition(convert(value, unit, parameter=name), unit)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ParameterError(
            f"{name}: {value!r} is no position. Give a number in the motor's unit, or a quantity such as '10 mm'."
        )
    return MotorPosition(float(value))  # What is no finite number is refused in the motor's unit.


#: A position, in the unit of the motor that goes there when it is a plain number.
Position = Annotated[MotorPosition, _AMotorPosition()]
