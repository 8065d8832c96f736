"""What the settings of a source shall be at the next request, and what frames would be like with others."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, get_args

from concertino import CameraError
from concertino.frames import FrameRequest

from ._camera_checks import as_the_mode_says
from ._camera_setting import (
    TIMING,
    CameraSetting,
    ChoiceSetting,
    IntegerSetting,
    NumberSetting,
    Region,
    RegionSetting,
    SettableFrameSource,
    SettingValue,
)
from ._frame_source import FrameSource

_KINDS: dict[str, tuple[type[CameraSetting], ...]] = {
    "region": (RegionSetting,),
    "binning": (IntegerSetting,),
    "gain": (NumberSetting, IntegerSetting),
    "bit_depth": (IntegerSetting,),
    "mirror": (ChoiceSetting,),
    "rotate": (IntegerSetting,),
    "trigger_mode": (ChoiceSetting,),
    "exposure": (NumberSetting,),
    "frame_rate": (NumberSetting,),
}
_WORDS = {
    "mirror": {"none", "horizontal", "vertical", "both"},
    "trigger_mode": {"plan", "internal", "software", "edge", "level"},
}
_TURNS = {0, 90, 180, 270}
_ASIDE = (90, 270)


class FramesIf(NamedTuple):
    """What the frames of a camera would be like, were it set otherwise.

    Parameters
    ----------
    frame_shape : tuple of int
        Height and width in pixels.
    frame_bytes : int
        Size of a frame in bytes.
    pixel_size_um : float
        Size of a pixel in the plane of the sample, in um; 0 when unknown.
    ring_bytes : int
        Memory that the camera would take for frames on their way, in bytes.
    """

    frame_shape: tuple[int, int]
    frame_bytes: int
    pixel_size_um: float
    ring_bytes: int


class HeldSettings:
    """What the settings of a source are, and what they shall be at the next request.

    Parameters
    ----------
    source : FrameSource
        One that is no `SettableFrameSource` has none.

    Raises
    ------
    CameraError
        If it describes a setting twice, or one of the `STANDARD_SETTINGS` as something else.
    """

    def __init__(self, source: FrameSource) -> None:
        self._source = source
        self.described: dict[str, CameraSetting] = {}
        self.ask()
        self.values: Mapping[str, SettingValue] = held_of(self.described)
        self._taken: Mapping[str, SettingValue] = self.values

    @property
    def some(self) -> bool:
        """Whether the source has any."""
        return bool(self.described)

    def ask(self) -> None:
        """Ask the source what can be set; may take as long as the source does.

        Raises
        ------
        CameraError
            As for the class.
        """
        if not isinstance(self._source, SettableFrameSource):
            return
        before = self.described
        self.described = _checked_descriptions(self._source, self._source.settings())
        if before and set(before) != set(self.described):
            raise CameraError(
                f"{type(self._source).__name__} describes the settings {', '.join(self.described) or 'none'}, and described "
                f"{', '.join(before)} before. Have its settings() return the same ones always; their limits may change."
            )

    def check(self, camera: str, name: str, value: object) -> SettingValue:
        """Return what a setting shall be, as the source takes it.

        Raises
        ------
        CameraError
            If it cannot be that, or there is no such setting.
        """
        if name not in self.described:
            raise no_setting(camera, name, self.values)
        return self.described[name].checked(camera, value)

    def get(self, name: str) -> SettingValue:
        """Return what a setting shall be."""
        return self.values[name]

    def put(self, camera: str, name: str, value: object) -> SettingValue:
        """Note what a setting shall be; it comes to the camera with the next request.

        Raises
        ------
        CameraError
            As `check`.
        """
        checked = self.check(camera, name, value)
        self.values = {**self.values, name: checked}
        return checked

    def checked(
        self,
        camera: str,
        exposure_s: float,
        rate_hz: float,
        values: Mapping[str, SettingValue] | None = None,
    ) -> dict[str, SettingValue]:
        """Return what all settings shall be, with exposure time and frame rate checked, too.

        Parameters
        ----------
        camera : str
            Name of the camera in messages.
        exposure_s, rate_hz : float
            In s and Hz.
        values : mapping of str to value, optional
            What settings would be, instead of what they shall be.

        Raises
        ------
        CameraError
            If one cannot be that, or cannot any more.
        """
        for name, value in zip(TIMING, (exposure_s, rate_hz), strict=True):
            # A frame rate of 0 is as fast as it can.
            if name in self.described and (name == "exposure" or value):
                self.described[name].checked(camera, value)
        return {
            name: self.described[name].checked(camera, value)
            for name, value in self.with_these(values or {}).items()
        }

    def with_these(self, values: Mapping[str, SettingValue]) -> dict[str, SettingValue]:
        """Return what settings shall be, but for some; what is no setting of the source is left out."""
        return {name: values.get(name, value) for name, value in self.values.items()}

    def taken(self, values: Mapping[str, SettingValue]) -> None:
        """Note that the source has taken over values: its frames have the shape that it says."""
        self._taken = values

    def to_json(self) -> list[dict[str, Any]]:
        """Return the descriptions of all settings with what they shall be, JSON-safe."""
        return [
            setting.model_copy(update={"value": self.values.get(name, setting.value)}).model_dump(
                mode="json"
            )
            for name, setting in self.described.items()
        ]

    def as_the_mode_says(
        self, camera: str, request: FrameRequest, values: Mapping[str, SettingValue] | None = None
    ) -> FrameRequest:
        """Return a request with the trigger that the setting ``trigger_mode`` makes of the plan's.

        It is what it shall be, or what it would be among `values`.

        Raises
        ------
        CameraError
            If the camera has no such trigger, or its mode is for something else.
        """
        setting = self.described.get("trigger_mode")
        mode = str(self.with_these(values or {}).get("trigger_mode", "plan"))
        known = setting if isinstance(setting, ChoiceSetting) else None
        return as_the_mode_says(camera, request, known, mode)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (height, width) of the next request's frames, in pixels."""
        if self.values == self._taken or not isinstance(self.values.get("region"), Region):
            return self._source.shape
        return self._shape_of(self.values)

    def pictured(self, values: Mapping[str, SettingValue]) -> tuple[tuple[int, int], int, float]:
        """Return what frames would be like, were some settings other than they shall be.

        Returns
        -------
        shape : tuple of int
            Height and width in pixels.
        pixel_bytes : int
            Size of a pixel of a frame, in bytes.
        pixel_size_um : float
            Size of a pixel in the plane of the sample, in um; 0 when unknown.
        """
        there, source = self.with_these(values), self._source
        pixel_bytes, bits = source.dtype.itemsize, there.get("bit_depth")
        if bits != self._taken.get("bit_depth") and isinstance(bits, int):
            pixel_bytes = next((size for size in (1, 2, 4) if bits <= 8 * size), 8)
        wider = _binning(there) / _binning(self._taken)
        shape = self.shape if there == self.values else self._shape_of(there)
        return shape, pixel_bytes, source.pixel_size_um * wider

    def _shape_of(self, values: Mapping[str, SettingValue]) -> tuple[int, int]:
        """Return the shape that frames have by the region, the binning and the rotation."""
        region, by, turned = values.get("region"), _binning(values), values.get("rotate") in _ASIDE
        if isinstance(region, Region):
            height, width = region.height // by, region.width // by
        else:
            height, width = (size * _binning(self._taken) // by for size in self._source.shape)
            turned = turned != (self._taken.get("rotate") in _ASIDE)
        return (width, height) if turned else (height, width)


def _binning(values: Mapping[str, SettingValue]) -> int:
    by = values.get("binning")
    return int(by) if isinstance(by, int | float) and by else 1


def held_of(described: Mapping[str, CameraSetting]) -> dict[str, SettingValue]:
    """Return what settings are, but for exposure time and frame rate, which a camera has anyway."""
    return {name: setting.value for name, setting in described.items() if name not in TIMING}


class NoSettingError(CameraError, AttributeError):
    """A camera has no such setting."""


def no_setting(camera: str, name: str, known: Mapping[str, object]) -> NoSettingError:
    """Return the error that says which settings a camera has."""
    has = f"has {', '.join(known)}" if known else "has none: its source describes no settings"
    return NoSettingError(
        f"Camera {camera} was asked for its setting {name}; it {has}. Use one of these, or set it with the "
        "camera's own software."
    )


def _checked_descriptions(
    source: object, described: Sequence[CameraSetting]
) -> dict[str, CameraSetting]:
    """Return settings by their names, each once and of the kind that its name means."""
    kind = type(source).__name__
    if not isinstance(described, Sequence) or not all(
        isinstance(setting, get_args(CameraSetting)) for setting in described
    ):
        raise CameraError(
            f"{kind} describes its settings as {described!r}. Have its settings() return a list of NumberSetting, "
            "RegionSetting and the like of concertino.devices."
        )
    settings = {setting.name: setting for setting in described}
    if len(settings) < len(described):
        names = ", ".join(setting.name for setting in described)
        raise CameraError(f"{kind} describes the settings {names}. Name each of them once.")
    for name, setting in settings.items():
        kinds = _KINDS.get(name, (type(setting),))
        if not isinstance(setting, kinds):
            wanted = " or ".join(each.__name__ for each in kinds)
            raise CameraError(
                f"{kind} describes its setting {name} as {type(setting).__name__}. Make it a {wanted}, or give "
                "it another name."
            )
        choices = setting.choices if isinstance(setting, ChoiceSetting) else ()
        turns = setting.choices if isinstance(setting, IntegerSetting) else ()
        if unknown := [word for word in choices if word not in _WORDS.get(name, {word})]:
            raise CameraError(
                f"{kind} describes its setting {name} with {', '.join(unknown)}. Choose from "
                f"{', '.join(sorted(_WORDS[name]))}."
            )
        if name == "rotate" and not (turns and set(turns) <= _TURNS):
            raise CameraError(
                f"{kind} describes its setting rotate with {turns or 'no choices'}. Choose from 0, 90, 180 and 270 deg."
            )
    return settings
