"""What a plan takes, as JSON schema: for forms, and for those who send plans to a server."""

import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, PydanticSchemaGenerationError, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from concertino import ParameterError

_ANY_CLASS = ConfigDict(arbitrary_types_allowed=True)


class _NamesForDevices(GenerateJsonSchema):
    """Has devices, which JSON cannot have, go by their names."""

    def is_instance_schema(self, schema: core_schema.IsInstanceSchema) -> JsonSchemaValue:
        return {"type": "string", "description": f"name of a {schema['cls'].__name__}"}

    def callable_schema(self, schema: core_schema.CallableSchema) -> JsonSchemaValue:
        return {"type": "string", "description": "name of a function"}


def plan_schema(plan: Callable[..., Any]) -> dict[str, Any]:
    """Return the parameters of a plan as JSON schema.

    Each is pydantic's schema of its annotation; a device goes by its name.

    Parameters
    ----------
    plan : callable
        A plan.

    Returns
    -------
    dict
        Of an object with a property for each parameter.

    Raises
    ------
    ParameterError
        If it is no function.

    Examples
    --------
    >>> from concertino.plans import plan_schema, radiography
    >>> schema = plan_schema(radiography)
    >>> schema["properties"]["on_lost"]["enum"]
    ['fail', 'flag']
    >>> schema["required"]
    ['camera', 'beam', 'sample_stage', 'radio_position', 'flat_position']
    """
    if not inspect.isfunction(plan):
        raise ParameterError(
            f"plan: {plan!r} was given. Give a plan itself, a function such as step_tomography."
        )
    hints = get_type_hints(plan, include_extras=True)
    properties: dict[str, Any] = {}
    shared: dict[str, Any] = {}
    required = []
    for name, parameter in inspect.signature(plan).parameters.items():
        properties[name] = parameter_schema(hints.get(name, Any))
        shared |= properties[name].pop("$defs", {})
        if parameter.default is inspect.Parameter.empty:
            required.append(name)
        else:
            default = parameter.default
            properties[name]["default"] = list(default) if isinstance(default, tuple) else default
    return {
        "title": plan.__name__,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
        **({"$defs": shared} if shared else {}),
    }


def parameter_schema(annotation: Any) -> dict[str, Any]:
    """Return the JSON schema of a parameter's annotation.

    Raises
    ------
    TypeError
        If it is of a kind that JSON cannot have, and no device.
    """
    # These have a configuration of their own.
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    own = is_model or is_dataclass(annotation)
    try:
        adapter = TypeAdapter(annotation, config=None if own else _ANY_CLASS)
    except PydanticSchemaGenerationError as error:
        raise TypeError(f"{annotation} has no JSON schema") from error
    return adapter.json_schema(schema_generator=_NamesForDevices)
