"""Plans that know their devices and defaults: ``continuous_tomography(num_projections=1500)``."""

import inspect
from collections.abc import Callable, Mapping
from functools import update_wrapper
from pathlib import Path
from typing import Any

from bluesky.utils import MsgGenerator

from concertino import ParameterError, ParameterTypeError
from concertino.storage import Run, open_run

from ._classes import among
from ._roles import PLANS, device_parameters, other_parameters

_STAGES = ("rotation", "vertical_stage", "stepping", "trigger")


class BoundPlan:
    """A plan with the devices and defaults of a beamline; what is given counts instead.

    Parameters
    ----------
    plan : callable
        The plan.
    roles : mapping of str to device
        Devices by the parts that they play.
    defaults : mapping of str
        Values of its other parameters.
    directory : path
        The data directory, in which `resume` looks for runs.
    """

    def __init__(
        self,
        plan: Callable[..., MsgGenerator[Any]],
        roles: Mapping[str, Any],
        defaults: Mapping[str, Any],
        directory: Path,
    ) -> None:
        self._plan, self._directory = plan, directory
        self._devices = {name: roles[name] for name in device_parameters(plan) if name in roles}
        self._defaults = dict(defaults)
        update_wrapper(self, plan)
        signature = inspect.signature(plan)
        known = self._devices | self._defaults
        self.__signature__ = signature.replace(
            parameters=[
                one.replace(kind=one.KEYWORD_ONLY, default=known.get(name, one.default))
                for name, one in signature.parameters.items()
            ]
        )

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters that are no devices."""
        return [*other_parameters(self._plan), "md"]

    def __call__(self, *given: object, **named: object) -> MsgGenerator[Any]:
        """Return the plan's messages.

        Parameters
        ----------
        *given
            Arguments of the plan, if the first of them are other devices.
        **named
            Its parameters.

        Raises
        ------
        ParameterError
            If it has no such parameter, or needs a device that the beamline's file names in no role.
        """
        signature = inspect.signature(self._plan)
        self._check_names(named)
        try:
            arguments = signature.bind_partial(*given, **named).arguments
        except TypeError as error:
            raise ParameterTypeError(
                f"{self._plan.__name__}: {error}. Give parameters by name, such as md={{'sample': 'foam'}}."
            ) from error
        devices = self._devices
        if self._plan is PLANS["resume"] and "run" in arguments:
            devices = self._of_run(arguments)
        arguments = devices | self._defaults | arguments
        for name, one in signature.parameters.items():
            if name not in arguments and one.default is one.empty:
                if name in device_parameters(self._plan):
                    raise ParameterError(
                        f"{name}: {self._plan.__name__} needs this device, and no role of the beamline's file names it. Add "
                        f"{name} = 'DEVICE' to [roles], or give {name}=device."
                    )
                raise ParameterError(
                    f"{name}: {self._plan.__name__} needs it, and nothing was given. Give it, or add it to [defaults] of the "
                    "beamline's file."
                )
        return self._plan(**arguments)

    def _check_names(self, named: Mapping[str, object]) -> None:
        known = inspect.signature(self._plan).parameters
        for name in named:
            if name not in known:
                raise ParameterError(
                    f"{name}: the plan {self._plan.__name__} has no such parameter; there are {among(known, name)} "
                    "Give one of these."
                )

    def _of_run(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the devices that a run was taken with; it is looked for in the data directory."""
        run = arguments["run"]
        if not isinstance(run, Run):
            run = arguments["run"] = open_run(run, arguments.pop("root", self._directory))
        recorded = run.start.get("plan_args", {})
        return {
            name: device
            for name, device in self._devices.items()
            if name not in _STAGES
            or (recorded.get(name) == device.name if name == "trigger" else name in recorded)
        }

    def __repr__(self) -> str:
        with_devices = ", ".join(f"{part}={_name(one)}" for part, one in self._devices.items())
        return f"<plan {self._plan.__name__} with {with_devices}>"


def _name(device: Any) -> str:
    return f"[{', '.join(one.name for one in device)}]" if isinstance(device, list) else device.name


def bound_plans(
    roles: Mapping[str, Any], defaults: Mapping[str, Any], directory: Path
) -> dict[str, BoundPlan]:
    """Return all plans with devices and defaults, by name.

    Parameters
    ----------
    roles : mapping of str to device
        Devices by the parts that they play.
    defaults : mapping
        Of the file: parameters of all plans, and tables of those of one.
    directory : path
        The data directory.
    """
    found = {}
    for name, plan in PLANS.items():
        own = defaults.get(name, {})
        all_plans = {key: value for key, value in defaults.items() if key not in PLANS}
        known = other_parameters(plan)
        values = {key: value for key, value in (all_plans | dict(own)).items() if key in known}
        found[name] = BoundPlan(plan, roles, values, directory)
    return found
