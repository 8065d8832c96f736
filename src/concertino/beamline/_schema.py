"""The JSON schema of beamlines' files."""

from typing import Any

from ._roles import PLANS, ROLES, other_parameters
from ._settings import BeamlineSettings


def beamline_schema() -> dict[str, Any]:
    """Return the JSON schema of beamlines' files, by which an editor completes them and marks mistakes.

    It names the roles, and the parameters of plans that may have defaults.

    Returns
    -------
    dict
        By JSON Schema 2020-12.

    Examples
    --------
    >>> from concertino.beamline import beamline_schema
    >>> sorted(beamline_schema()["properties"])[:4]
    ['baseline', 'callbacks', 'data', 'defaults']
    """
    schema = BeamlineSettings.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "A beamline of Concertino"
    properties = schema["properties"]
    names = properties["roles"].pop("additionalProperties")
    properties["roles"] |= {
        "properties": dict.fromkeys(ROLES, names),
        "additionalProperties": False,
    }
    own = {name: dict.fromkeys(other_parameters(plan), True) for name, plan in PLANS.items()}
    shared = {key: True for parameters in own.values() for key in parameters}
    tables = {
        name: {"type": "object", "properties": parameters, "additionalProperties": False}
        for name, parameters in own.items()
    }
    properties["defaults"] |= {"properties": shared | tables, "additionalProperties": False}
    return schema
