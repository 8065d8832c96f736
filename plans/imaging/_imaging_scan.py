"""An imaging run as a value: what is taken, in which order, and what holds for all of it."""

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from concertino import ParameterError
from concertino.documents import StartBlock
from concertino.plans.core._cameras import OnLost, Readout, check_on_lost, check_readout
from concertino.plans.run._segments import Visit

from ._acquisition import Acquisition, AnyAcquisition, read_acquisition
from ._order import check_order, ordered
from ._scan_values import In, Position, ScanValue

DEFAULT_ORDER: Sequence[str] = ("darks", "flats", "projections")


class ImagingScan(ScanValue, StartBlock):
    """What an imaging run takes, whole: it goes through JSON and back, and `take_scan` takes it.

    A start document carries it under ``"imaging_scan"``, with nothing left open.

    Parameters
    ----------
    version : int
        Of this block.
    plan : str
        Name of the plan that it is of.
    acquisitions : sequence of Acquisition
        What can be taken, each of another stream.
    order : sequence of str
        The streams in the order in which they are taken; one that is not named is left out. By default all of
        them, in the order of `acquisitions`. Darks and flats may be named several times, and
        ``"flats every 100 projections"`` takes flats before each hundred projections.
    radio_position, flat_position : quantity
        Where the sample stage holds the sample in the beam and out of it; a plain number is in its unit.
    on_lost : {"fail", "flag"}
        What lost frames do: fail the run, or only stand in its ledger.
    readout : {"direct", "later"}
        Whether frames are read out as they are taken, or recorded into the cameras' own memories first.
    max_blur : quantity, optional
        Refuse more motion blur than this; a plain number is in px.

    Raises
    ------
    ParameterError
        If something cannot work.

    Examples
    --------
    >>> from concertino.plans import Darks, ImagingScan, Radiographs
    >>> scan = ImagingScan(acquisitions=[Darks(number=5), Radiographs(number=20)],
    ...                    radio_position="0 mm", flat_position="1 cm")
    >>> scan.frames
    {'darks': 5, 'projections': 20}
    >>> ImagingScan(**scan.to_json()) == scan
    True
    """

    NAME: ClassVar[str] = "imaging_scan"
    WITHOUT: ClassVar[str] = (
        "so nobody can tell what it took. Record it with a plan of concertino.plans"
    )

    plan: Annotated[str, Field(min_length=1)] = "imaging"
    acquisitions: tuple[AnyAcquisition, ...]
    order: tuple[str, ...] = ()
    radio_position: Position
    flat_position: Position
    on_lost: OnLost = "fail"
    readout: Readout = "direct"
    max_blur: Annotated[float, In("px", positive=True)] | None = None

    @field_validator("on_lost", mode="before")
    @classmethod
    def _known_on_lost(cls, value: Any) -> Any:
        return check_on_lost(value)

    @field_validator("readout", mode="before")
    @classmethod
    def _known_readout(cls, value: Any) -> Any:
        return check_readout(value)

    @field_validator("order", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        listed = isinstance(value, Iterable) and not isinstance(value, str)
        names = tuple(value) if listed else (None,)
        if not all(isinstance(name, str) for name in names):
            raise ParameterError(
                f"order: {value!r} was given; give a list such as ['darks', 'flats', 'projections']."
            )
        return names

    @model_validator(mode="before")
    @classmethod
    def _all_in_order(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or "acquisitions" not in value:
            return value
        given = value["acquisitions"]
        # A value, as pydantic's are, gives its fields one after the other.
        if isinstance(given, str | Mapping | Acquisition) or not isinstance(given, Iterable):
            raise ParameterError(
                f"acquisitions: {given!r} was given; give a list such as [Darks(number=5), Radiographs(number=20)]."
            )
        read = [read_acquisition(each) for each in given]
        return {"order": [each.stream for each in read], **value, "acquisitions": read}

    @model_validator(mode="after")
    def _streams_are_known(self) -> Self:
        if not self.acquisitions:
            raise ParameterError(
                "acquisitions: there is none. Give at least one, such as Darks(number=5)."
            )
        for each in self.acquisitions:
            if not isinstance(each.count, Integral) or each.count < 1:
                raise ParameterError(
                    f"acquisitions: {type(each).__name__} says that it takes {each.count!r} frames. Have its count be a "
                    "whole number from 1."
                )
        known = [acquisition.stream for acquisition in self.acquisitions]
        twice = sorted({name for name in known if known.count(name) > 1})
        if twice:
            raise ParameterError(
                f"acquisitions: several take the stream {', '.join(twice)}. Give each a stream of its own."
            )
        check_order(self.order, self.acquisitions)
        return self

    def of(self, stream: str) -> Acquisition:
        """Return the acquisition that takes a stream.

        Raises
        ------
        ParameterError
            If none does.
        """
        for each in self.acquisitions:
            if each.stream == stream:
                return each
        known = ", ".join(each.stream for each in self.acquisitions)
        raise ParameterError(
            f"stream: {stream!r} was given; the scan takes {known}. Name one of them."
        )

    @property
    def visits(self) -> tuple[Visit, ...]:
        """What is taken, one after the other."""
        return ordered(self.order, self.acquisitions)

    @property
    def frames(self) -> dict[str, int]:
        """Frames of each stream that is taken, in the order of their beginnings."""
        found: dict[str, int] = {}
        for visit in self.visits:
            found[visit.stream] = visit.stop
        return found

    @property
    def whole(self) -> tuple[str, ...]:
        """Streams that are taken as a whole or not at all."""
        return tuple(stream for stream in self.frames if self.of(stream).WHOLE)

    @property
    def image_kinds(self) -> Mapping[str, Any]:
        """What the images of each stream that is taken are."""
        return {
            name: kind
            for stream in self.frames
            for name, kind in self.of(stream).image_kinds.items()
        }

    @property
    def averaged(self) -> tuple[str, ...]:
        """Streams whose frames are averaged: of darks and flats."""
        kinds = self.image_kinds
        return tuple(stream for stream in self.frames if kinds[stream] in ("dark", "flat"))

    @property
    def pauses(self) -> bool:
        """Whether it can pause and be resumed: each acquisition can be taken in parts."""
        return all(acquisition.PAUSES for acquisition in self.acquisitions)

    @property
    def needs_trigger(self) -> bool:
        """Whether a device starts exposures."""
        return any(acquisition.needs_trigger for acquisition in self.acquisitions)

    @property
    def motors(self) -> dict[str, bool]:
        """What moves besides the sample stage, by its part; whether its velocity is set."""
        found: dict[str, bool] = {}
        for acquisition in self.acquisitions:
            for part, velocity in acquisition.MOTORS.items():
                found[part] = velocity or found.get(part, False)
        return found
