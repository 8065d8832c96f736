"""What parameters mean that many plans have, what they return and raise: written once, for all of their docstrings."""

import inspect
from collections.abc import Callable, Mapping
from textwrap import indent
from typing import Any, TypeVar

Plan = TypeVar("Plan", bound=Callable[..., Any])

_SECTION = "Parameters\n----------\n"
#: Kind and sentences of each, as numpydoc has them.
_PARAMETERS: Mapping[str, tuple[str, str]] = {
    "beam": ("device", "The shutter or tube: takes True for beam, False for none."),
    "sample_stage": (
        "device",
        "Moves the sample across the beam; linear (mm) or rotary (deg).",
    ),
    "radio_position": (
        "quantity",
        "Where the stage holds the sample in the beam; a plain number is in the stage's unit.",
    ),
    "flat_position": (
        "quantity",
        "Where the stage holds the sample out of the beam; a plain number is in the stage's unit.",
    ),
    "num_darks": ("int", "Number of frames without beam."),
    "num_flats": ("int", "Number of frames with beam and without sample."),
    "start_position_vertical": (
        "quantity",
        "Where the vertical stage is at the first projection; a plain number is in the stage's unit.",
    ),
    "vertical_shift_per_tomogram": (
        "quantity",
        "How far it moves per tomogram; negative for down; a plain number is in mm.",
    ),
    "sample_height": ("quantity", "Height to cover; a plain number is in mm."),
    "start_angle": ("quantity", "First angle; a plain number is in deg."),
    "half_acquisition": (
        "bool",
        "The rotation axis is near an edge of the frame: over a full turn, or more, the field is\n"
        "nearly twice as wide.",
    ),
    "rotation_axis": (
        "quantity, optional",
        "Column of the rotation axis, when it is known; a plain number is in px, counted from the\n"
        "middle of the first column.",
    ),
    "order": (
        "sequence of str",
        "The acquisitions and their order; one that is not named is left out. Darks and flats may come several\n"
        'times, and ``"flats every 100 projections"`` takes flats before each hundred projections.',
    ),
    "on_lost": (
        '{"fail", "flag"}',
        "What lost frames do: fail the run, or only stand in its ledger.",
    ),
    "per_frame": (
        "sequence of Readable",
        "Signals, such as ``ring.current``, of which each frame has a value in the stream ``per_frame``.",
    ),
    "max_blur": (
        "quantity, optional",
        "Refuse more motion blur than this; a plain number is in px. Without it, more than 1 px is\n"
        "warned about.",
    ),
    "readout": (
        '{"direct", "later"}',
        "Read frames out as they are taken, or record each stream into the camera's own memory at full speed,\n"
        "switch the beam off, and read it out then.",
    ),
    "md": ("dict, optional", 'Metadata for the run, such as ``{"sample": "tooth"}``.'),
}


#: What follows the parameters of each, where its docstring says nothing else.
_ENDS: Mapping[str, str] = {
    "Returns": "str\n    The run's uid.",
    "Raises": "ParameterError\n    If a parameter cannot work; nothing has moved then.",
}


def described(plan: Plan) -> Plan:
    """Describe what a plan's docstring only names or leaves out, as that of all plans; a decorator.

    Named parameters get their descriptions, and what it returns and raises is told where no such section stands.

    Examples
    --------
    >>> from concertino.plans.core._described import described
    >>> @described
    ... def warm_up(beam, seconds):
    ...     '''Have the beam on for a while.
    ...
    ...     Parameters
    ...     ----------
    ...     beam
    ...     seconds : float
    ...         How long, in s.
    ...     '''
    >>> for line in warm_up.__doc__.splitlines()[4:6]:
    ...     print(line)
    beam : device
        The shutter or tube: takes True for beam, False for none.
    """
    before, mark, rest = inspect.cleandoc(plan.__doc__ or "").partition(_SECTION)
    section, _, after = rest.partition("\n\n")
    told: list[str] = []
    for line in section.splitlines():
        if line.startswith(" ") or " : " in line:
            told.append(line)
            continue
        for name in line.split(", "):
            kind, text = _PARAMETERS[name]
            told += [f"{name} : {kind}", indent(text, "    ")]
    ends = [
        f"{title}\n{'-' * len(title)}\n{text}"
        for title, text in _ENDS.items()
        if f"{title}\n---" not in after
    ]
    parts = [before + mark + "\n".join(told), *ends, after]
    plan.__doc__ = "\n\n".join(part for part in parts if part)
    return plan
