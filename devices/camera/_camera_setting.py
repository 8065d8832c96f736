"""What can be set of a camera besides exposure time and frame rate: each setting, with what it may be."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
    TypeGuard,
    cast,
    runtime_checkable,
)

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from concertino import CameraError, ParameterError
from concertino.units import convert, is_quantity, is_unit

#: Settings that mean the same for every camera: they are attributes of `Camera`, if its source has them.
STANDARD_SETTINGS = (
    "region", "binning", "gain", "bit_depth", "mirror", "rotate", "trigger_mode",
)  # fmt: skip
#: These two every camera has; a source describes them to tell what they may be.
TIMING = ("exposure", "frame_rate")


class Region(NamedTuple):
    """A region of interest: in pixels of the sensor, before binning, mirroring and rotation.

    Parameters
    ----------
    row, column : int
        Of its first pixel.
    height, width : int
        Its size.
    """

    row: int
    column: int
    height: int
    width: int


SettingValue: TypeAlias = bool | int | float | str | Region


class _Setting(BaseModel, ABC):
    """What is the same for each kind of setting."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)

    def checked(self, camera: str, value: object) -> SettingValue:
        """Return a value as the source takes it.

        Parameters
        ----------
        camera : str
            Name of the camera in messages.
        value : object
            What is asked for, by anybody: a number in the setting's unit, or with a unit of its own.

        Raises
        ------
        CameraError
            If the setting cannot be that; with what it can be.
        """
        meant = self._meant(camera, value)
        if possible := self.refusal(meant):
            asked = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
            raise CameraError(
                f"Camera {camera} was asked for {self.name} {asked!r}; it takes {possible}. Set "
                f"{self.name} to one of these."
            )
        return self._taken(meant)

    def _meant(self, camera: str, value: object) -> object:
        """Return a value in the setting's unit, if it has one."""
        return value

    @abstractmethod
    def refusal(self, value: object) -> str:
        """Return what the setting can be, in a few words, if it cannot be this value; else nothing."""

    @abstractmethod
    def _taken(self, value: Any) -> SettingValue:
        """Return a value that is not refused, of our type."""


class NumberSetting(_Setting):
    """A number.

    Parameters
    ----------
    name : str
        One of `STANDARD_SETTINGS`, or the vendor's name.
    value : float
        What it is now, in `unit`.
    unit : str
        Empty for a plain number.
    lowest, highest : float, optional
        What it may be, in `unit`.
    """

    kind: Literal["number"] = "number"
    value: float
    unit: str = ""
    lowest: float | None = None
    highest: float | None = None

    def refusal(self, value: object) -> str:
        """Return what the number may be, if it may not be that."""
        return _outside(value, self.lowest, self.highest, "numbers", self.unit)

    def _meant(self, camera: str, value: object) -> object:
        return in_unit(camera, self.name, value, self.unit)

    def _taken(self, value: Any) -> float:
        return float(value)


class IntegerSetting(_Setting):
    """A whole number.

    Parameters
    ----------
    name, value, unit, lowest, highest
        As for `NumberSetting`.
    step : int
        It is `lowest`, or 0 without one, and a multiple of this.
    choices : tuple of int
        Instead: all that it may be.
    """

    kind: Literal["integer"] = "integer"
    value: int
    unit: str = ""
    lowest: int | None = None
    highest: int | None = None
    step: int = Field(1, ge=1)
    choices: tuple[int, ...] = ()

    def refusal(self, value: object) -> str:
        """Return what the number may be, if it may not be that."""
        if self.choices:
            fits = is_number(value) and value in self.choices
            return "" if fits else _listed(self.choices, self.unit)
        begin = self.lowest or 0
        what = "whole numbers" if self.step == 1 else f"{begin} + n · {self.step}"
        if outside := _outside(value, self.lowest, self.highest, what, self.unit):
            return outside
        return what if is_number(value) and (value - begin) % self.step else ""

    def _meant(self, camera: str, value: object) -> object:
        return in_unit(camera, self.name, value, self.unit)

    def _taken(self, value: Any) -> int:
        return int(value)


class ChoiceSetting(_Setting):
    """One of some words.

    Parameters
    ----------
    name, value
        As for `NumberSetting`.
    choices : tuple of str
        What it may be.
    """

    kind: Literal["choice"] = "choice"
    value: str
    choices: tuple[str, ...] = Field(min_length=1)

    def refusal(self, value: object) -> str:
        """Return the words, if it is none of them."""
        return "" if value in self.choices else _listed(self.choices)

    def _taken(self, value: Any) -> str:
        return str(value)


class TextSetting(_Setting):
    """Any text.

    Parameters
    ----------
    name, value
        As for `NumberSetting`.
    """

    kind: Literal["text"] = "text"
    value: str

    def refusal(self, value: object) -> str:
        """Say so if it is no text."""
        return "" if isinstance(value, str) else "a text"

    def _taken(self, value: Any) -> str:
        return str(value)


class SwitchSetting(_Setting):
    """On or off.

    Parameters
    ----------
    name, value
        As for `NumberSetting`.
    """

    kind: Literal["switch"] = "switch"
    value: bool

    def refusal(self, value: object) -> str:
        """Say so if it is neither true nor false."""
        return "" if isinstance(value, bool | np.bool_) else "True or False"

    def _taken(self, value: Any) -> bool:
        return bool(value)


class RegionSetting(_Setting):
    """A region of interest.

    Parameters
    ----------
    name
        As for `NumberSetting`; ``region`` by default.
    value : Region
        What it is now.
    sensor : tuple of int
        Height and width of the whole sensor, in pixels.
    smallest : tuple of int
        Smallest height and width.
    step : tuple of int
        Its first row and its height are multiples of the first, its first column and its width of the second.
    """

    kind: Literal["region"] = "region"
    name: str = "region"
    value: Region
    sensor: tuple[int, int]
    smallest: tuple[int, int] = (1, 1)
    step: tuple[int, int] = (1, 1)

    def refusal(self, value: object) -> str:
        """Return which regions there are, if it is none of them."""
        if not is_region(value):
            return "four whole numbers: row, column, height and width, in pixels of the sensor"
        region = self._taken(value)
        height, width = self.sensor
        rows, columns = self.step
        fits = (
            min(region.row, region.column) >= 0
            and region.row + region.height <= height
            and region.column + region.width <= width
            and region.height >= self.smallest[0]
            and region.width >= self.smallest[1]
        )
        if fits and not any(
            (region.row % rows, region.height % rows, region.column % columns, region.width % columns)
        ):  # fmt: skip
            return ""
        steps = ""
        if (rows, columns) != (1, 1):
            steps = f", rows in steps of {rows} and columns in steps of {columns}"
        return (
            f"regions (row, column, height, width) of at least {self.smallest[0]} x {self.smallest[1]} "
            f"pixels within its sensor of {height} x {width}{steps}"
        )

    def _taken(self, value: Any) -> Region:
        return Region(*(int(number) for number in value))


#: One setting of a camera; its field `kind` tells which.
CameraSetting: TypeAlias = (
    NumberSetting | IntegerSetting | ChoiceSetting | TextSetting | SwitchSetting | RegionSetting
)

#: Reads descriptions of settings from JSON.
SETTINGS: TypeAdapter[tuple[CameraSetting, ...]] = TypeAdapter(
    tuple[Annotated[CameraSetting, Field(discriminator="kind")], ...]
)


@runtime_checkable
class SettableFrameSource(Protocol):
    """A source with settings besides exposure time and frame rate.

    `prepare` is given a value for each of them in its ``settings.values``, and takes them over: it is only then that
    they come to the camera. `shape`, `dtype` and `pixel_size_um` follow there: a binning of 2 doubles the pixel size.
    """

    def settings(self) -> Sequence[CameraSetting]:
        """Describe what can be set, and what it may be now.

        Asked when the `Camera` is made, when something is set and before each request, in any thread; not while
        frames are taken. Which settings there are does not change; their limits and choices may. ``exposure`` and
        ``frame_rate``, as `NumberSetting` in s and Hz, tell the limits of these two.
        """


def trigger_mode(
    modes: Sequence[Literal["internal", "software", "edge", "level"]],
) -> ChoiceSetting:
    """Return the setting ``trigger_mode`` of a source that has these; the plan chooses until it is set.

    What a request's ``trigger`` is follows from it: a source looks there, and nowhere else.

    Parameters
    ----------
    modes : sequence of str
        ``"edge"``: each pulse at its input starts an exposure; ``"level"``: and ends it.
    """
    return ChoiceSetting(name="trigger_mode", value="plan", choices=("plan", *modes))


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether something is a finite number, and no switch."""
    number = isinstance(value, int | float | np.integer | np.floating)
    return number and not isinstance(value, bool) and math.isfinite(cast(float, value))


def in_unit(camera: str, name: str, value: object, unit: str) -> object:
    """Return the number that something with a unit is, such as ``"4 ms"``; what has none as it is.

    Parameters
    ----------
    camera, name : str
        Of the camera and its setting, in messages.
    value : object
        What is asked for, by anybody.
    unit : str
        In which the setting counts; empty for a plain number, which takes no units.

    Raises
    ------
    CameraError
        If it has another unit, or is text and no number with a unit.
    """
    if not unit or not (isinstance(value, str | Mapping) or is_quantity(value)):
        return value
    if isinstance(value, str) and value.rstrip().endswith(unit):
        with suppress(ValueError):  # so that units which only the vendor knows are taken, too
            return float(value.rstrip().removesuffix(unit))
    if not is_unit(unit):
        return value
    try:
        return convert(cast(Any, value), unit, parameter=name)
    except ParameterError as error:
        raise CameraError(f"Camera {camera} cannot be set to that: {error}") from error


def is_region(value: object) -> bool:
    """Whether something is four whole numbers."""
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str) or len(value) != 4:
        return False
    return all(is_number(part) and int(part) == part for part in value)


def _outside(
    value: object, lowest: float | None, highest: float | None, what: str, unit: str
) -> str:
    """Return what numbers may be, if a value is none of them."""
    if (
        is_number(value)
        and (what == "numbers" or int(value) == value)
        and (lowest is None or value >= lowest)
        and (highest is None or value <= highest)
    ):
        return ""
    limits = ""
    if lowest is not None and highest is not None:
        limits = f" of {lowest:g} to {highest:g}"
    elif lowest is not None:
        limits = f" of {lowest:g} or more"
    elif highest is not None:
        limits = f" of {highest:g} or less"
    return f"{what}{limits}" + (f" in {unit}" if unit else "")


def _listed(choices: Sequence[object], unit: str = "") -> str:
    return " or ".join(map(repr, choices)) + (f" {unit}" if unit else "")
