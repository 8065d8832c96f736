"""One acquisition of an imaging run, as a value: what every kind has, and the kinds that there are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from bluesky.utils import MsgGenerator
from pydantic import BeforeValidator, SerializeAsAny

from concertino import ParameterError
from concertino.documents import DARKS, FLATS, PROJECTIONS, ImageKind
from concertino.plans.core._cameras import Trigger
from concertino.plans.run._pause_request import PauseRequest
from concertino.plans.run._segments import AcquisitionSegment, Take
from concertino.plans.safety._safety import Cleanup
from concertino.plans.stubs._scan_setup import ScanSetup

from ._scan_values import Counted, ScanValue


class Acquisition(ScanValue):
    """One acquisition of an imaging run: what is to be taken, and how.

    A kind of one's own is a subclass with a `kind`, its fields, `count` and `take`, that
    `register_acquisition` makes known. Preflight, ledgers, pauses, resuming and exports then work as with
    those of the package.

    Attributes
    ----------
    kind : str
        Tells in JSON which kind it is; a ``Literal`` with a default.
    STREAM : str
        Name of the stream of its frames.
    IMAGE_KIND : {"dark", "flat", "projection"}
        What its images are.
    TRIGGER : {"internal", "software", "edge"}
        Who starts an exposure.
    MOTORS : mapping of str to bool
        What moves besides the sample stage, by its part in the plan; whether its velocity is set.
    WHOLE : bool
        Whether it is taken as a whole or not at all, because its frames belong together.
    PAUSES : bool
        Whether it can pause and be taken in parts.
    """

    STREAM: ClassVar[str] = PROJECTIONS
    IMAGE_KIND: ClassVar[ImageKind] = "projection"
    TRIGGER: ClassVar[Trigger] = "internal"
    MOTORS: ClassVar[Mapping[str, bool]] = {}
    WHOLE: ClassVar[bool] = False
    PAUSES: ClassVar[bool] = True

    kind: str

    @property
    def stream(self) -> str:
        """Name of the stream of its frames."""
        return self.STREAM

    @property
    def count(self) -> int:
        """Number of its frames."""
        raise NotImplementedError(f"{type(self).__name__} does not say how many frames it takes.")

    @property
    def image_kinds(self) -> Mapping[str, ImageKind]:
        """What the images of its streams are."""
        return {self.stream: self.IMAGE_KIND}

    @property
    def needs_trigger(self) -> bool:
        """Whether a device starts its exposures."""
        return False

    def take(
        self, setup: ScanSetup, piece: AcquisitionSegment, hold: PauseRequest | None
    ) -> MsgGenerator[bool]:
        """Take some of its frames, and tell whether all of them were taken, and not a pause came between.

        Parameters
        ----------
        setup : ScanSetup
            The devices, and what takes frames with them.
        piece : AcquisitionSegment
            Which frames: ``range(piece.first, piece.stop)`` of the acquisition.
        hold : PauseRequest or None
            Asks for pauses.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it takes its frames.")

    def tomo(self, setup: ScanSetup) -> dict[str, Any]:
        """Return the fields of the `TomoBlock` that it knows; without any there are no angles."""
        return {}

    def plan_args(self) -> dict[str, Any]:
        """Return its parameters for the start document's ``plan_args``."""
        return self.model_dump(mode="json", exclude={"kind", "number"})

    def ready(self, setup: ScanSetup) -> MsgGenerator["Ready"]:
        """Ask the devices what is to be known before anything moves, and return what can be taken.

        Raises
        ------
        ParameterError
            If it cannot work.
        """
        yield from ()
        return Ready(
            self, self.take, self.TRIGGER, tomo=self.tomo(setup), plan_args=self.plan_args()
        )


#: Takes a piece with the devices of a scan.
TakeWith = Callable[[ScanSetup, AcquisitionSegment, PauseRequest | None], MsgGenerator[bool]]


@dataclass(frozen=True)
class Ready:
    """An acquisition that knows its devices, and can be taken.

    Parameters
    ----------
    value : Acquisition
        What is taken, with nothing left open.
    take : callable
        Takes a piece of it.
    trigger : {"internal", "software", "edge"}
        Who starts an exposure.
    tomo : mapping
        Fields of the `TomoBlock`; the number of projections, if it is another than that of their stream.
    plan_args : mapping
        Its parameters, JSON-safe.
    metadata : mapping
        More for the start document.
    afterwards : sequence of (device, float)
        Where axes go when it is not needed any more that they stay, in their unit.
    restore : sequence of callable
        Each returns the messages that bring a setting back.
    around : callable, optional
        Takes the stream and the `Take` of any acquisition of the run; returns what takes it instead.
    """

    value: Acquisition
    take: TakeWith
    trigger: Trigger = "internal"
    tomo: Mapping[str, Any] = field(default_factory=dict)
    plan_args: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    afterwards: Sequence[tuple[Any, float]] = ()
    restore: Sequence[Cleanup] = ()
    around: Callable[[str, Take], Take] | None = None


_KINDS: dict[str, type[Acquisition]] = {}
Kind = TypeVar("Kind", bound=Acquisition)


def register_acquisition(kind: type[Kind]) -> type[Kind]:
    """Make a kind of acquisition known, so that stored scans with it can be read; a class decorator.

    Raises
    ------
    ParameterError
        If it has no name of its own.
    """
    if not isinstance(kind, type) or not issubclass(kind, Acquisition):
        raise ParameterError(
            f"{kind!r} is no kind of acquisition. Give a class that is derived from Acquisition."
        )
    names = get_args(kind.model_fields["kind"].annotation)
    if len(names) != 1 or not isinstance(names[0], str):
        raise ParameterError(
            f"{kind.__name__} does not say which kind of acquisition it is. Give it a field "
            f"kind: Literal['{kind.__name__.lower()}'] = '{kind.__name__.lower()}'."
        )
    (name,) = names
    _check_kind(kind)
    known = _KINDS.get(name)
    if known is not None and (known.__module__, known.__qualname__) != (
        kind.__module__, kind.__qualname__,
    ):  # fmt: skip
        raise ParameterError(
            f"{kind.__name__} calls itself {name!r}, as {known.__module__}.{known.__qualname__} does. Give it a "
            "name of its own."
        )
    _KINDS[name] = kind
    return kind


def _check_kind(kind: type[Acquisition]) -> None:
    """Refuse a class that cannot be taken, or names what there is not."""
    if kind.count is Acquisition.count:
        raise ParameterError(
            f"{kind.__name__} does not say how many frames it takes. Give it a property count."
        )
    if kind.take is Acquisition.take and kind.ready is Acquisition.ready:
        raise ParameterError(
            f"{kind.__name__} does not say how it takes its frames. Give it a method take."
        )
    for name, value, known in (
        ("TRIGGER", kind.TRIGGER, get_args(Trigger)),
        ("IMAGE_KIND", kind.IMAGE_KIND, get_args(ImageKind)),
    ):
        if value not in known:
            raise ParameterError(
                f"{name} of {kind.__name__}: {value!r} was given. Give one of {', '.join(known)}."
            )
    if not isinstance(kind.MOTORS, Mapping):
        raise ParameterError(
            f"MOTORS of {kind.__name__}: {kind.MOTORS!r} was given. Give each part that moves, and whether its velocity is "
            "set, such as {'filter': False}."
        )


def acquisition_kinds() -> Mapping[str, type[Acquisition]]:
    """Return the kinds of acquisitions that are known, by name."""
    return dict(_KINDS)


def read_acquisition(value: Any) -> Acquisition:
    """Return an acquisition, or read it from JSON.

    Raises
    ------
    ParameterError
        If it is none of a kind that is known.
    """
    if isinstance(value, Acquisition):
        return value
    if isinstance(value, type) and issubclass(value, Acquisition):
        raise ParameterError(
            f"acquisitions: the class {value.__name__} was given. Give one of it, with its fields."
        )
    name = value.get("kind") if isinstance(value, Mapping) else None
    if not isinstance(name, str) or name not in _KINDS:
        raise ParameterError(
            f"acquisitions: {name or value!r} is no kind of acquisition that is known, such as "
            f"{', '.join(_KINDS)}. Use one of these, or import the module that has it, where register_acquisition makes it known."
        )
    return _KINDS[name](**value)


class _OneOfTheKinds:
    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        kinds = [handler(kind.__pydantic_core_schema__) for kind in _KINDS.values()]
        return {"oneOf": kinds, "discriminator": {"propertyName": "kind"}}


#: An acquisition of any kind that is known, or its JSON.
AnyAcquisition = Annotated[
    SerializeAsAny[Acquisition], BeforeValidator(read_acquisition), _OneOfTheKinds()
]


class Numbered(Acquisition):
    """So many frames.

    Parameters
    ----------
    number : int
        How many.
    """

    number: int

    @property
    def count(self) -> int:
        """Number of its frames."""
        return self.number


@register_acquisition
class Darks(Numbered):
    """Frames without beam.

    Parameters
    ----------
    number : int
        How many.
    """

    STREAM: ClassVar[str] = DARKS
    IMAGE_KIND: ClassVar[ImageKind] = "dark"

    kind: Literal["darks"] = "darks"
    number: Annotated[int, Counted("num_darks")]

    def take(
        self, setup: ScanSetup, piece: AcquisitionSegment, hold: PauseRequest | None
    ) -> MsgGenerator[bool]:
        """Take some of them."""
        return setup.darks(piece, hold)


@register_acquisition
class Flats(Numbered):
    """Frames with beam and without sample.

    Parameters
    ----------
    number : int
        How many.
    """

    STREAM: ClassVar[str] = FLATS
    IMAGE_KIND: ClassVar[ImageKind] = "flat"

    kind: Literal["flats"] = "flats"
    number: Annotated[int, Counted("num_flats")]

    def take(
        self, setup: ScanSetup, piece: AcquisitionSegment, hold: PauseRequest | None
    ) -> MsgGenerator[bool]:
        """Take some of them."""
        return setup.frames_at(setup.flat, piece, hold)


@register_acquisition
class Radiographs(Numbered):
    """Frames of the sample at rest.

    Parameters
    ----------
    number : int
        How many.
    """

    kind: Literal["radiographs"] = "radiographs"
    number: Annotated[int, Counted("num_projections")]

    def take(
        self, setup: ScanSetup, piece: AcquisitionSegment, hold: PauseRequest | None
    ) -> MsgGenerator[bool]:
        """Take some of them."""
        return setup.frames_at(setup.radio, piece, hold)
