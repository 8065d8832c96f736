"""Angle schemes: which angles a tomography takes, and in which order."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from concertino import ParameterError
from concertino.units import convert


@runtime_checkable
class AngleScheme(Protocol):
    """A rule that gives the angles of a tomography.

    Attributes
    ----------
    name : str
        Stands in the `TomoBlock`.
    """

    name: ClassVar[str]

    def angles(self, number: int, start_deg: float, range_deg: float) -> list[float]:
        """Return as many angles, in deg, in the order in which they are taken."""
        ...


@dataclass(frozen=True)
class Equidistant:
    """Equal steps over the range, the end excluded: ``start + i * range / N``.

    Examples
    --------
    >>> from concertino.plans import Equidistant
    >>> Equidistant().angles(4, 0, 180)
    [0.0, 45.0, 90.0, 135.0]
    """

    name: ClassVar[str] = "equidistant"

    def angles(self, number: int, start_deg: float, range_deg: float) -> list[float]:
        """Return the angles, in deg."""
        return [start_deg + index * range_deg / number for index in range(number)]


@dataclass(frozen=True)
class GoldenRatio:
    """Each angle is the golden ratio of the range further, modulo the range.

    Any number of projections in a row cover the range almost evenly, so that a scan may be cut short
    or in pieces.

    References
    ----------
    T. Köhler, A projection access scheme for iterative reconstruction based on the golden section,
    doi:10.1109/NSSMIC.2004.1466745

    Examples
    --------
    >>> from concertino.plans import GoldenRatio
    >>> [round(angle, 2) for angle in GoldenRatio().angles(4, 0, 180)]
    [0.0, 111.25, 42.49, 153.74]
    """

    name: ClassVar[str] = "golden_ratio"

    def angles(self, number: int, start_deg: float, range_deg: float) -> list[float]:
        """Return the angles, in deg."""
        golden = (math.sqrt(5) - 1) / 2
        return [start_deg + math.fmod(index * golden, 1.0) * range_deg for index in range(number)]


@dataclass(frozen=True)
class Timbir:
    """Interlaced views: the range in several coarse rounds that fall between one another.

    Parameters
    ----------
    rounds : int
        A power of two that divides the number of projections.

    References
    ----------
    K. A. Mohan et al., TIMBIR: a method for time-space reconstruction from interlaced views,
    doi:10.1109/TCI.2015.2431913

    Examples
    --------
    >>> from concertino.plans import Timbir
    >>> Timbir(rounds=2).angles(4, 0, 180)
    [0.0, 90.0, 45.0, 135.0]
    """

    name: ClassVar[str] = "timbir"
    rounds: int = 8

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.rounds & (self.rounds - 1):
            raise ParameterError(
                f"rounds: {self.rounds} was given; give a power of two, such as 8."
            )

    def angles(self, number: int, start_deg: float, range_deg: float) -> list[float]:
        """Return the angles, in deg."""
        if number % self.rounds:
            raise ParameterError(
                f"num_projections: {number} cannot be shared by {self.rounds} interlaced rounds; "
                f"give a multiple of {self.rounds}."
            )
        bits = self.rounds.bit_length() - 1
        per_round, step = number // self.rounds, range_deg / number
        found = []
        for index in range(number):
            turn, place = divmod(index, per_round)
            shift = int(f"{turn:0{bits}b}"[::-1], 2) if bits else 0
            found.append(start_deg + (place * self.rounds + shift) * step)
        return found


@dataclass(frozen=True)
class AngleList:
    """Angles of the user's own, in deg.

    Parameters
    ----------
    listed : tuple of float
        In the order in which they are to be taken.
    """

    name: ClassVar[str] = "list"
    listed: tuple[float, ...]

    def angles(self, number: int, start_deg: float, range_deg: float) -> list[float]:
        """Return the angles, in deg; start and range are not looked at."""
        if number != len(self.listed):
            raise ParameterError(
                f"num_projections: {number} was given for a list of {len(self.listed)} angles. Give "
                "as many."
            )
        return list(self.listed)


_NAMED: dict[str, AngleScheme] = {
    scheme.name: scheme for scheme in (Equidistant(), GoldenRatio(), Timbir())
}


def angle_scheme(value: Any) -> AngleScheme:
    """Return the scheme that a parameter means: a scheme, the name of one, or angles.

    Raises
    ------
    ParameterError
        If it is none of them.
    """
    if isinstance(value, AngleScheme):
        return value
    if isinstance(value, str) and value in _NAMED:
        return _NAMED[value]
    if isinstance(value, Sequence) and not isinstance(value, str) and value:
        return AngleList(tuple(convert(angle, "deg", parameter="scheme") for angle in value))
    raise ParameterError(
        f"scheme: {value!r} was given; give {', '.join(map(repr, _NAMED))}, a scheme such as "
        "Timbir(rounds=4), or a list of angles in deg."
    )
