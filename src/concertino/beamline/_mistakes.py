"""What is wrong in a beamline's file: each a sentence, with the line where it stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from concertino import ParameterError

#: Where something stands in a file, such as ``("devices", "rotation", "class")``.
Place: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, order=True)
class Mistake:
    """One thing that is wrong.

    Attributes
    ----------
    line : int
        Where, counted from 1; 0 when it stands in no line, as what comes from the environment.
    sentence : str
        What is wrong, and what to do.
    """

    line: int
    sentence: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.sentence}" if self.line else self.sentence


class BeamlineFileError(ParameterError):
    """A beamline's file has mistakes.

    Attributes
    ----------
    mistakes : tuple of Mistake
        All of them, in the order of the lines.
    """

    def __init__(self, path: Path, mistakes: Sequence[Mistake]) -> None:
        self.path = path
        self.mistakes = tuple(sorted(set(mistakes)))
        number = "a mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        listed = "".join(f"\n  {one}" for one in self.mistakes)
        super().__init__(f"{path} has {number}:{listed}")


def dotted(place: Place) -> str:
    """Return a place as one writes it in TOML.

    Examples
    --------
    >>> dotted(("callbacks", "alarms", 0, "class"))
    'callbacks.alarms[0].class'
    """
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
