"""What an alarm says."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from concertino import ParameterError

Level = Literal["note", "warn", "pause", "fail"]

LEVELS: tuple[Level, ...] = get_args(Level)


@dataclass(frozen=True)
class Alarm:
    """That something in a scan passed a limit.

    Parameters
    ----------
    check : str
        What was watched: ``saturation``, ``flat drift``, ``sample moved``, ``beam current``,
        ``lost frames``.
    level : {"note", "warn", "pause", "fail"}
        What it does: stand in the record, be logged as a warning, pause the scan, or fail the run.
    stream : str
        Stream of the frame, or of the event; empty when it belongs to none.
    frame : int
        Index of the frame in the scan, from 0; -1 when it is about no frame.
    value, limit : float
        The figure, and what it may be, both in `unit`.
    unit : str
        Unit of both; empty for a ratio.
    message : str
        All of that in words.
    confidence : float
        How far the figure can be trusted, 0 to 1.
    """

    check: str
    level: Level
    stream: str
    frame: int
    value: float
    limit: float
    unit: str
    message: str
    confidence: float = 1.0

    def columns(self) -> dict[str, Any]:
        """Return the columns of its event."""
        return {
            **asdict(self),
            "value": float(self.value),
            "limit": float(self.limit),
            "confidence": float(self.confidence),
        }


def check_level(level: object) -> None:
    """Raise `ParameterError` unless it is a level."""
    if level not in LEVELS:
        raise ParameterError(
            f"level: {level!r} was given; give 'note' for the record only, 'warn', 'pause' to pause "
            "the scan, or 'fail' to fail the run."
        )


def check_positive(name: str, value: object, what: str) -> None:
    """Raise `ParameterError` unless a limit is a number above 0."""
    if not isinstance(value, (int, float)) or not value > 0:
        raise ParameterError(f"{name}: {value!r} was given; give {what}, more than 0.")
