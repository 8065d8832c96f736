"""What the numbers of simulated devices must be."""

import math

from concertino import ParameterError


def check_positive(*, finite: bool = False, **values: float) -> None:
    """Raise `ParameterError` unless all are more than 0, and finite if they must be."""
    for name, value in values.items():
        if not value > 0 or (finite and not math.isfinite(value)):
            raise ParameterError(f"{name}: {value} was given; give more than 0.")


def check_not_negative(**values: float) -> None:
    """Raise `ParameterError` unless all are finite and 0 or more."""
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise ParameterError(f"{name}: {value} was given; give 0 or more.")
