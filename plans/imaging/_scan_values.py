"""What the values of an imaging run are made of: numbers with units, counts, positions, as JSON and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

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
            raise parameter_error(error) from error

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
            raise


def parameter_error(error: ValidationError) -> ParameterError:
    """Return what is wrong with a value, as plans say it."""
    faults = error.errors(include_url=False)
    for fault in faults:
        cause = fault.get("ctx", {}).get("error")
        if isinstance(cause, ParameterError):
            return cause
    first = faults[0]
    where = ".".join(str(part) for part in first["loc"])
    return ParameterError(f"{where}: {first['msg']}; {first['input']!r} was given.")


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
class Place:
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


class _APlace:
    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.with_info_plain_validator_function(
            _read_place,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda place: quantity(place.value, place.unit)
            ),
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {
            "anyOf": [{"type": "number"}, {"type": "string"}, dict(_QUANTITY)],
            "description": "a quantity; a plain number is in the motor's unit",
        }


def _read_place(value: Any, info: core_schema.ValidationInfo) -> Place:
    name = info.field_name or ""
    if isinstance(value, Place):
        return value
    if isinstance(value, str):
        found = parse(value, parameter=name)
        return Place(float(found.magnitude), to_json(found)["unit"])
    if isinstance(value, Mapping) and value.get("unit") == "" and set(value) == {"value", "unit"}:
        return Place(convert(value["value"], "", parameter=name))
    if isinstance(value, Mapping):
        unit = str(value.get("unit", ""))
        return Place(convert(value, unit, parameter=name), unit)
    if is_quantity(value):
        unit = str(value.units)
        return Place(convert(value, unit, parameter=name), unit)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Place(convert(value, "", parameter=name))
    return Place(float(value))  # What is no finite number is refused in the motor's unit.


#: A position, in the unit of the motor that goes there when it is a plain number.
Position = Annotated[Place, _APlace()]
