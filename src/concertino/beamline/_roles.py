"""The parts that devices play in plans, and the plans that know them."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from concertino.plans import served

#: The plans that take devices by the parts that they play, which `take_again` does not.
PLANS: Mapping[str, Callable[..., Any]] = {
    name: vars(served)[name] for name in served.__all__ if name != "take_again"
}
#: The parts that devices play, as plans name them.
ROLES = (
    "camera", "rotation", "beam", "sample_stage", "vertical_stage", "stepping", "axis_roll", "axis_pitch",
    "trigger", "measure", "stage",
)  # fmt: skip
#: Names that a prompt has besides those of devices and plans.
PROMPT = (
    "session", "beamline", "RE", "q", "bps", "bp", "status", "move", "start", "stop_all",
)  # fmt: skip
#: Parameters that are lists of devices, by their names.
LISTS = ("per_frame", "unmoved")
_NEITHER = ("run", "md", "root", "motors")


def device_parameters(plan: Callable[..., Any]) -> list[str]:
    """Return the parameters of a plan that are devices with roles.

    What starts the frames of most plans is a word or a device, and no role: without it the plan starts them itself.

    Examples
    --------
    >>> from concertino.plans import radiography
    >>> device_parameters(radiography)
    ['camera', 'beam', 'sample_stage']
    """
    parameters = inspect.signature(plan).parameters
    return [
        name
        for name in parameters
        if name in ROLES and not (name == "trigger" and parameters[name].default == "software")
    ]


def other_parameters(plan: Callable[..., Any]) -> list[str]:
    """Return the parameters of a plan that are values."""
    apart = (*device_parameters(plan), *_NEITHER)
    return [name for name in inspect.signature(plan).parameters if name not in apart]
