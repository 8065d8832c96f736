"""What a beamline's file may say, and what it is when it says nothing."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from concertino.units import QuantityLike, convert

#: Environment variables that override the file begin so: ``CONCERTINO_BEAMLINE_DATA__DIRECTORY``.
ENVIRONMENT = "CONCERTINO_BEAMLINE_"


def _seconds(value: QuantityLike) -> float:
    return convert(value, "s", parameter="time", positive=True)


def _names(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _switch(value: object) -> object:
    """Take true and false for a table that says nothing, or that it is not wanted."""
    return {"enabled": value} if isinstance(value, bool) else value


def _path(value: Path) -> Path:
    if "\0" in str(value):
        raise ValueError(f"{str(value)!r} was given. Give a name without a NUL character.")
    return value


Seconds: TypeAlias = Annotated[
    float, BeforeValidator(_seconds, json_schema_input_type=QuantityLike)
]
#: One name, or several.
Names: TypeAlias = Annotated[
    list[str], BeforeValidator(_names, json_schema_input_type=str | list[str])
]


class Section(BaseModel):
    """A table of the file; what it does not know is a mistake."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, frozen=True)


class DataSection(Section):
    """Where runs go."""

    directory: Annotated[Path, AfterValidator(_path)] = Field(
        Path("data"), description="Data directory; a relative one is beside the file."
    )
    pattern: str = Field("scan_{:04d}", description="Names of run directories.")
    catalog: bool = Field(False, description="Keep a catalogue of the runs (extra 'catalog').")


class Made(Section):
    """Something that is made of a class and its arguments."""

    class_: str = Field(
        "",
        alias="class",
        description="A class or a function that makes it: its dotted name, one of concertino's own by its name alone, "
        "or the name of an entry point of the group 'concertino.devices'.",
    )
    arguments: dict[str, Any] = Field(
        {},
        description="Its arguments by name. Quantities are text with a unit, such as '5 ms'. {device = 'NAME'} is another "
        "device, {environment = 'NAME'} the value of an environment variable, as for secrets.",
    )


class DeviceEntry(Made):
    """A device."""

    happi: str = Field("", description="Its name in the happi database, instead of a class.")
    positional: list[Any] = Field([], description="Arguments without names, before the others.")
    parts: list[str] = Field(
        [], description="Attributes that are devices under their own names, as those of a twin."
    )
    timeout: Seconds = Field(10.0, description="Within which it must be connected; '10 s'.")


class SuspenderEntry(Made):
    """One of bluesky's suspenders: no run begins while it is tripped."""

    signal: str = Field(description="A signal, such as 'ring.current'.")


class Switched(Section):
    """A table that may be true or false instead."""

    enabled: bool = Field(True, description="false leaves it out, though the table is there.")


class WriterSection(Switched):
    """How frames are stored."""

    format: Literal["tiff", "hdf5", "zarr"] = Field("tiff", description="Of the images.")
    bytes_per_file: int = Field(0, ge=0, description="Of TIFF: 0 is one image a file.")
    durability: Literal["written", "synced"] = Field(
        "written", description="When a frame counts as safe: with the system, or on the disk."
    )


class ReconstructionSection(Switched):
    """What is reconstructed while a scan runs."""

    slices: Literal["middle", "all"] | list[int] = Field("middle", description="Detector rows.")
    output: Literal["tiff", "hdf5", "zarr"] = Field("tiff", description="Format of the slices.")
    settings: dict[str, Any] = Field({}, description="Of ReconstructionSettings.")


class LiveViewSection(Switched):
    """A page in the browser (extra 'viewers')."""

    port: int = Field(0, ge=0, le=65535, description="0 takes a free one.")
    host: str = Field("127.0.0.1", description="Where it listens: this computer only.")
    open_browser: bool = Field(False, description="Open the page at once.")


class CallbacksSection(Section):
    """Who takes documents and frames."""

    writer: Annotated[
        WriterSection, BeforeValidator(_switch, json_schema_input_type=bool | WriterSection)
    ] = WriterSection()
    reconstruction: Annotated[
        ReconstructionSection,
        BeforeValidator(_switch, json_schema_input_type=bool | ReconstructionSection),
    ] = ReconstructionSection(enabled=False)
    live_view: Annotated[
        LiveViewSection, BeforeValidator(_switch, json_schema_input_type=bool | LiveViewSection)
    ] = LiveViewSection(enabled=False)
    alarms: list[Made] = Field([], description="Checks of ScanAlarms, such as Saturation.")
    others: list[Made] = Field([], description="Callbacks of your own, or remote ones.")


class HappiSection(Section):
    """An existing happi database."""

    database: Path = Field(description="Its JSON file; a relative one is beside the file.")


class BeamlineSettings(BaseSettings):
    """All that a beamline's file says.

    An environment variable overrides it: ``CONCERTINO_BEAMLINE_DATA__DIRECTORY=/mnt/data``.
    """

    model_config = SettingsConfigDict(
        extra="forbid",
        populate_by_name=True,
        frozen=True,
        env_prefix=ENVIRONMENT,
        env_nested_delimiter="__",
    )

    data: DataSection = DataSection()
    metadata: dict[str, Any] = Field({}, description="Of all runs.")
    metadata_model: str = Field(
        "", description="Dotted name of a pydantic model that the metadata must satisfy."
    )
    devices: dict[str, DeviceEntry] = {}
    device_modules: list[str] = Field(
        [], description="Modules whose functions make devices, as blueapi takes them."
    )
    happi: HappiSection | None = None
    roles: dict[str, Names] = Field({}, description="Which device plays which part in a plan.")
    baseline: list[str] = Field([], description="Devices read at the start and end of a run.")
    monitored: list[str] = Field([], description="Signals recorded whenever they change.")
    suspenders: list[SuspenderEntry] = []
    defaults: dict[str, Any] = Field(
        {}, description="Parameters of all plans; a table with a plan's name is for that one."
    )
    callbacks: CallbacksSection = CallbacksSection()
    logging: dict[str, Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]] = Field(
        {}, description="Level of each logger."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Have the environment go before the file."""
        return env_settings, init_settings
