"""Angle schemes: which angles a tomography takes, and in which order."""

import itertools
import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from concertino import ParameterError


@runtime_checkable
class AngleScheme(Protocol):
    """A rule that gives the angles of a tomography.

    Attributes
    ----------
    name : str
        Stands in the `TomoBlock`.
    """

    @property
    def name(self) -> str:
        """What the scheme is called."""
        ...

    def angles(self, number: int, start_deg: float, range_deg: float) -> list[float]:
        """Return as many angles, in deg, in the order in which they are taken.

        A scheme for stages that turn steadily has a method ``passed`` with the same parameters, whose angles
        go on and on in one direction.
        """
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

    name: Literal["equidistant"] = "equidistant"

    def angles(self, number: int, start_deg: float, range_deg: float) -> list[float]:
        """Return the angles, in deg."""
        return [start_deg + index * range_deg / number for index in range(number)]

    passed = angles


@dataclass(frozen=True)
class MultiTurn:
    """Several times over the range in equal steps: each time falls between the angles of the others.

    Altogether the angles are those of `Equidistant`, modulo the range; each turn by itself covers
    the range evenly, so that a scan may be cut short, and what changes slowly shows everywhere alike.

    Parameters
    ----------
    turns : int
        How many times; has no factor in common with the number of projections.

    Examples
    --------
    >>> from concertino.plans import MultiTurn
    >>> MultiTurn(turns=2).angles(5, 0, 180)
    [0.0, 72.0, 144.0, 216.0, 288.0]
    """

    turns: int = 7
    name: Literal["multi_turn"] = "multi_turn"

    def __post_init__(self) -> None:
        if self.turns < 1:
            raise ParameterError(f"turns: {self.turns} was given; give 1 or more.")

    def angles(self, number: int, start_deg: float, range_deg: float) -> list[float]:
        """Return the angles, in deg."""
        common = math.gcd(self.turns, number)
        if common > 1:
            other = next(n for n in itertools.count(number + 1) if math.gcd(self.turns, n) == 1)
            raise ParameterError(
                f"num_projections: {number} and the {self.turns} turns have the factor {common} in common, "
                f"so that turns would repeat angles of others. Give {other}, or other turns."
            )
        step = range_deg * self.turns / number
        return [start_deg + index * step for index in range(number)]

    passed = angles


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

    name: Literal["golden_ratio"] = "golden_ratio"

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

    rounds: int = 8
    name: Literal["timbir"] = "timbir"

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.rounds & (self.rounds - 1):
            raise ParameterError(
                f"rounds: {self.rounds} was given; give a power of two, such as 8."
            )

    def angles(self, number: int, start_deg: float, range_deg: float) -> list[float]:
        """Return the angles, in deg."""
        step = range_deg / number
        return [
            start_deg + (place * self.rounds + shift) * step
            for _, place, shift in self._places(number)
        ]

    def passed(self, number: int, start_deg: float, range_deg: float) -> list[float]:
        """Return the angles of a stage that turns on and on, in deg: the rounds follow one another."""
        step = range_deg / number
        return [
            start_deg + turn * range_deg + (place * self.rounds + shift) * step
            for turn, place, shift in self._places(number)
        ]

    def _places(self, number: int) -> list[tuple[int, int, int]]:
        """Return round, place in it, and shift of the round, of each projection."""
        if number % self.rounds:
            raise ParameterError(
                f"num_projections: {number} cannot be shared by {self.rounds} interlaced rounds; "
                f"give a multiple of {self.rounds}."
            )
        bits = self.rounds.bit_length() - 1
        found = []
        for index in range(number):
            turn, place = divmod(index, number // self.rounds)
            shift = int(f"{turn:0{bits}b}"[::-1], 2) if bits else 0
            found.append((turn, place, shift))
        return found


@dataclass(frozen=True)
class AngleList:
    """Angles of the user's own, in deg.

    Parameters
    ----------
    listed : tuple of float
        In the order in which they are to be taken.
    """

    listed: tuple[float, ...]
    name: Literal["list"] = "list"

    def angles(self, number: int, start_deg: float, range_deg: float) -> list[float]:
        """Return the angles, in deg; start and range are not looked at."""
        if number != len(self.listed):
            raise ParameterError(
                f"num_projections: {number} was given for a list of {len(self.listed)} angles. Give "
                "as many."
            )
        return list(self.listed)


def scheme_angles(
    scheme: AngleScheme, number: int, start_deg: float, range_deg: float
) -> list[float]:
    """Return the angles of a scheme, in deg, after checking that there are as many as projections.

    Raises
    ------
    ParameterError
        If there are more, or fewer.
    """
    return _as_many(scheme, list(scheme.angles(number, start_deg, range_deg)), number)


def _as_many(scheme: AngleScheme, angles: list[float], number: int) -> list[float]:
    if len(angles) != number:
        raise ParameterError(
            f"scheme: {scheme.name!r} gave {len(angles)} angles for {number} projections. Have it give one "
            "for each."
        )
    return angles


@dataclass(frozen=True)
class PassedAngles:
    """The angles that a stage passes while it turns steadily.

    Parameters
    ----------
    scheme : str
        Name of the scheme.
    angles : tuple of float
        In deg, in one direction.
    step : float
        The smallest distance of neighbours, with its sign, in deg.
    even : bool
        Whether all are so far apart.
    """

    scheme: str
    angles: tuple[float, ...]
    step: float
    even: bool

    @property
    def span(self) -> float:
        """Angle of all projections, the last one included, in deg."""
        return abs(self.angles[-1] - self.angles[0]) + abs(self.step)

    def check(self, by_position: bool) -> None:
        """Raise unless exposures can be started at these angles.

        Raises
        ------
        ParameterError
            If they are not even, and no trigger device starts exposures at positions.
        """
        if not self.even and not by_position:
            raise ParameterError(
                f"scheme: {self.scheme!r} was given, whose angles are not equally far apart, as those of a "
                "camera at a steady pace are. Give a trigger device that knows the rotation's position, "
                "or use MultiTurn(turns=…), which interlaces turns at a steady pace."
            )


def passed_angles(
    scheme: AngleScheme, number: int, start_deg: float, range_deg: float, times: int = 1
) -> PassedAngles:
    """Return the angles at which a stage that turns steadily takes a scheme's projections.

    Parameters
    ----------
    scheme : AngleScheme
        The rule.
    number : int
        Projections of each tomogram.
    start_deg, range_deg : float
        First angle, and range of each tomogram, in deg.
    times : int
        Tomograms, one after the other: each begins a whole number of ranges after the one before.

    Raises
    ------
    ParameterError
        If a stage that turns steadily cannot take them, or there are not as many as projections.
    """
    passed = getattr(scheme, "passed", None)
    if passed is None:
        angles = scheme_angles(scheme, number, start_deg, range_deg)
        steps = [after - before for before, after in itertools.pairwise(angles)] or [0.0]
        raise ParameterError(
            f"scheme: {scheme.name!r} was given, whose neighbours are {min(steps):.4g} to {max(steps):.4g} deg "
            "apart; a stage that turns steadily passes angles in one direction and in small steps. Use "
            "step_tomography, or 'equidistant', MultiTurn(turns=…) or Timbir(rounds=…)."
        )
    one = _as_many(scheme, list(passed(number, start_deg, range_deg)), number)
    ranges = math.ceil(round((one[-1] - one[0]) / range_deg + 1 / number / 2, 9))
    every = [angle + k * ranges * range_deg for k in range(times) for angle in one]
    steps = [after - before for before, after in itertools.pairwise(every)] or [range_deg]
    step = min(steps, key=abs)
    even = max(map(abs, steps)) - abs(step) < 1e-6 * abs(step)
    return PassedAngles(scheme.name, tuple(every), sum(steps) / len(steps) if even else step, even)
