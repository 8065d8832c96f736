"""The parameters of a plan as the texts of options give them."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from concertino._errors import ParameterError


def given_values(
    name: str,
    parameters: Mapping[str, str],
    known: Sequence[str],
    devices_of: Callable[[str], list[Any]],
) -> dict[str, Any]:
    """Return the parameters of a plan that options give.

    Parameters
    ----------
    name : str
        Of the plan.
    parameters : mapping of str to str
        Texts of the options.
    known : sequence of str
        Parameters that can be given.
    devices_of : callable
        Returns the devices that the text of ``per_frame`` names.

    Raises
    ------
    ParameterError
        If it has no such parameter.
    """
    values: dict[str, Any] = {}
    for key, text in parameters.items():
        if key not in known:
            raise ParameterError(
                f"The plan {name} has no parameter {key!r}; it has {', '.join(known)}."
            )
        values[key] = devices_of(text) if key == "per_frame" else _value(key, text)
    return values


def _value(key: str, text: str) -> Any:
    if key == "order":
        return [part.strip() for part in text.split(",")]
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text
