"""Parameters of plans as options of a command: parsed as such, and explained by ``--help``."""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import typer
from typer.core import TyperCommand

from concertino._errors import ParameterError

#: Where `PlanCommand` leaves the parameters of the plan, in the context's ``meta``.
PARAMETERS = "concertino.plan_parameters"
_GIVEN = "the plan"
_SWITCHED = ("true", "false")
_UNIT = re.compile(r"plain number is in (?:the )?([^\s,;.]+(?: of the motor| unit)?)")


class PlanCommand(TyperCommand):
    """A command whose options are also those of the plan that its first argument names.

    What follows the name of a parameter is its value, whatever it begins with: ``--start-angle "-90 deg"``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the parameters of plans out of the arguments, and parse the others as ever."""
        own = {option for known in self.get_params(ctx) for option in known.opts}
        plans = _plans()
        parameters: dict[str, str] = {}
        others: list[str] = []
        parts = [part for plan in plans.values() for part in plan_parameters(plan).items()]
        known = {name for name, _ in parts}
        flags = {name for name, part in parts if part.kind == "bool"}
        rest = list(args)
        while rest:
            argument = rest.pop(0)
            option, equals, value = argument.partition("=")
            name = option[2:].replace("-", "_")
            if not argument.startswith("--") or option in own or name not in known:
                others.append(argument)
                continue
            if not equals and name in flags and not (rest and rest[0].lower() in _SWITCHED):
                value = "true"
            elif not equals:
                if not rest:
                    raise ParameterError(
                        f"{option} was given without a value; write {option} VALUE."
                    )
                value = rest.pop(0)
            if name in parameters:
                raise ParameterError(
                    f"{option} was given twice, as {parameters[name]!r} and {value!r}; give it once."
                )
            parameters[name] = value
        plan = next((one for one in others if one in plans), None)
        ctx.meta[PARAMETERS] = parameters
        ctx.meta[_GIVEN] = plan
        if plan is not None:
            _refuse_unknown(plan, [one for one in others if one.partition("=")[0] not in own])
        return super().parse_args(ctx, others)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the options, and before them the parameters of the plan, if one was named."""
        name = ctx.meta.get(_GIVEN)
        if name is not None:
            plan = _plans()[name]
            formatter.write_paragraph()
            formatter.write_text(f"{name}: {(inspect.getdoc(plan) or '').splitlines()[0]}")
            with formatter.section(f"Parameters of {name}"):
                formatter.write_dl([_explained(*one) for one in _with_defaults(plan)])
        super().format_options(ctx, formatter)


def given_parameters(context: typer.Context) -> dict[str, str]:
    """Return the parameters of the plan that were given, by name."""
    return dict(context.meta[PARAMETERS])


def given_options(context: typer.Context) -> set[str]:
    """Return the names of the command's own parameters that were given, and are no defaults."""
    return {
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) is not None
        and source.name == "COMMANDLINE"
    }


@dataclass
class PlanParameter:
    """What a plan's signature and its docstring say of a parameter.

    Attributes
    ----------
    default : Any
        ``inspect.Parameter.empty`` when it must be given.
    unit : str
        Of a plain number; ``""`` when it is no quantity.
    kind : str
        What it is, as the docstring says.
    text : str
        The docstring's sentences.
    """

    default: Any
    unit: str
    kind: str
    text: str


def plan_parameters(plan: Callable[..., Any]) -> dict[str, PlanParameter]:
    """Return the parameters of a plan that are no devices, out of its signature and its docstring.

    Examples
    --------
    >>> from concertino.plans import step_tomography
    >>> from concertino.cli._plan_options import plan_parameters
    >>> found = plan_parameters(step_tomography)["start_angle"]
    >>> found.default, found.unit, found.text
    ('0 deg', 'deg', 'First angle; a plain number is in deg.')
    """
    told = _docstring_parameters(inspect.getdoc(plan) or "")
    found: dict[str, PlanParameter] = {}
    unit_before = ""
    for name, parameter in inspect.signature(plan).parameters.items():
        if parameter.kind is not parameter.KEYWORD_ONLY or name == "md":
            continue
        kind, text = told[name]
        unit = ""
        if kind.startswith("quantity"):
            said = _UNIT.search(text)
            unit = said[1] if said else unit_before  # "likewise"
        elif kind.startswith("int"):
            unit = "count"
        unit_before = unit
        found[name] = PlanParameter(parameter.default, unit, kind, text)
    return found


def _docstring_parameters(text: str) -> dict[str, tuple[str, str]]:
    """Return kind and sentences of each parameter of a numpydoc docstring."""
    section = text.partition("Parameters\n----------\n")[2].partition("\n\n")[0]
    told: dict[str, tuple[str, str]] = {}
    names: list[str] = []
    for line in section.splitlines():
        if not line.startswith(" "):
            head, _, kind = line.partition(" : ")
            names = [name.strip() for name in head.split(",")]
            told |= dict.fromkeys(names, (kind, ""))
        else:
            for name in names:
                kind, before = told[name]
                told[name] = kind, f"{before} {line.strip()}".strip()
    return told


def _with_defaults(plan: Callable[..., Any]) -> list[tuple[str, PlanParameter]]:
    """Return the parameters of a plan as the command takes them, which knows its simulated beamline."""
    from ._run_command import DEFAULTS

    found = plan_parameters(plan)
    for name in found.keys() & DEFAULTS.keys():
        found[name].default = DEFAULTS[name]
    return list(found.items())


def _explained(name: str, parameter: PlanParameter) -> tuple[str, str]:
    what = parameter.unit.upper() if parameter.unit == "count" else parameter.unit
    if not what:
        what = parameter.kind.partition(", optional")[0]
    default = parameter.default
    if default is inspect.Parameter.empty:
        said = "required"
    elif default is None:
        said = ""
    else:
        said = f"default: {','.join(default) if isinstance(default, tuple) else default}"
    text = parameter.text.replace("``", "")
    return f"--{name.replace('_', '-')} [{what}]", f"{text}  [{said}]" if said else text


def _refuse_unknown(plan: str, arguments: Sequence[str]) -> None:
    """Say of an option that neither the command nor any plan has which ones there are."""
    unknown = next((one for one in arguments if one.startswith("--") and len(one) > 2), None)
    if unknown is None:
        return
    name = unknown[2:].partition("=")[0].replace("-", "_")
    known = list(plan_parameters(_plans()[plan]))
    near = get_close_matches(name, known, 1)
    meant = f" Did you mean --{near[0].replace('_', '-')}?" if near else ""
    raise ParameterError(
        f"The plan {plan} has no parameter {name!r}; it has {', '.join(known)}.{meant}"
    )


def _plans() -> dict[str, Callable[..., Any]]:
    from ._run_command import PLANS  # The devices behind it take a second to import.

    return PLANS
