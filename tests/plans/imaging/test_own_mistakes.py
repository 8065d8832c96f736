"""Kinds of acquisitions with faults: each is told before anything moves, and no scan is short without a word."""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal

import pytest
from bluesky.utils import MsgGenerator

from concertino import ParameterError
from concertino.plans import (
    Acquisition,
    Darks,
    ImagingScan,
    preflight,
    register_acquisition,
    take_scan,
)
from tests.plans.laboratory import POSITIONS, Laboratory


class Looks(Acquisition):
    """Frames of the sample at rest: the least that a kind can be."""

    TRIGGER: ClassVar[Any] = "internal"

    kind: Literal["looks"] = "looks"
    number: int = 3

    @property
    def count(self) -> int:
        return self.number

    def take(self, setup: Any, piece: Any, hold: Any) -> MsgGenerator[bool]:
        return setup.frames_at(setup.radio, piece, hold)  # type: ignore[no-any-return]


def nothing(self: Any, setup: Any, piece: Any, hold: Any) -> MsgGenerator[bool]:
    yield from ()
    return True


def fewer(self: Any, setup: Any, piece: Any, hold: Any) -> MsgGenerator[bool]:
    short = type(piece)(piece.base, piece.first, piece.count - 1, piece.stream)
    return setup.frames_at(setup.radio, short, hold)  # type: ignore[no-any-return]


def speechless(self: Any, setup: Any, piece: Any, hold: Any) -> MsgGenerator[None]:
    yield from setup.frames_at(setup.radio, piece, hold)


def not_ready(self: Any, setup: Any) -> MsgGenerator[None]:
    yield from ()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    made = Laboratory(tmp_path_factory.mktemp("mistakes"))
    yield made
    made.close()


def scan(**how: Any) -> ImagingScan:
    kind = type("Mine", (Looks,), {"__module__": __name__, **how})
    return ImagingScan(acquisitions=[Darks(number=1), kind()], **POSITIONS)


def test_the_least_that_a_kind_can_be(lab: Laboratory) -> None:
    b = lab.beamline
    lab.documents.clear()
    md = lab.directories.new().metadata()
    lab.RE(take_scan(scan(), b.camera, b.beam, b.sample_stage, md=md))
    assert lab.documents[-1][1]["num_events"]["projections"] == 3
    tomo = lab.documents[0][1]["tomo"]
    assert (tomo["scheme"], tomo["acquisition"]) == ("radiography", "single")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"take": nothing}, "the take of Mine asked for 0 frames of projections, and the piece has 3: 0 to 2 of the 3."),
        ({"take": fewer}, "the take of Mine asked for 2 frames of projections, and the piece has 3: 0 to 2 of the 3."),
        ({"take": lambda *_: None}, "the take of Mine returned None. Have it return or yield messages"),
        ({"take": speechless}, "the take of Mine returned None in the end. Have it return whether all"),
        ({"ready": not_ready}, "the ready of Mine returned None. Have it return a Ready."),
        ({"tomo": lambda *_: None}, "the tomo of Mine returned None. Have it return fields of a TomoBlock"),
        ({"tomo": lambda *_: {"nosuch": 1}}, "tomo: what the acquisitions of the scan say of it is wrong: nosuch: Extra"),
        ({"tomo": lambda *_: {"angles_deg": [0.0]}}, "angles_deg has 1 angles for 3 projections; give one for each."),
    ],
)  # fmt: skip
def test_what_a_kind_does_wrong_is_told_before_anything_moves(
    lab: Laboratory, how: dict[str, Any], message: str
) -> None:
    b, wrong = lab.beamline, scan(**how)
    lab.documents.clear()
    with pytest.raises(ParameterError) as caught:
        lab.RE(take_scan(wrong, b.camera, b.beam, b.sample_stage))
    assert message in str(caught.value)
    assert not lab.documents
    with pytest.raises(ParameterError):
        preflight(take_scan(wrong, b.camera, b.beam, b.sample_stage))


@pytest.mark.parametrize("count", [0, -1, 2.5, "3"])
def test_a_count_that_is_none(count: object) -> None:
    with pytest.raises(ParameterError) as caught:
        scan(count=property(lambda _: count))
    assert str(caught.value) == (
        f"acquisitions: Mine says that it takes {count!r} frames. Have its count be a whole number from 1."
    )


def test_a_field_that_json_cannot_have(lab: Laboratory) -> None:
    class Odd(Looks):
        kind: Literal["odd"] = "odd"  # type: ignore[assignment]
        thing: object

    with pytest.raises(ParameterError, match=r"Odd cannot be written as JSON: .* Give its fields"):
        Odd(thing=object()).to_json()


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: print, "<built-in function print> is no kind of acquisition. Give a class"),
        (lambda: Looks(), "is no kind of acquisition. Give a class"),
        (lambda: kind(count=Acquisition.count), "Mine does not say how many frames it takes. Give it a property count."),
        (lambda: kind(take=Acquisition.take), "Mine does not say how it takes its frames. Give it a method take."),
        (lambda: kind(TRIGGER="softwar"), "TRIGGER of Mine: 'softwar' was given. Give one of internal, software, edge."),
        (lambda: kind(IMAGE_KIND="foto"), "IMAGE_KIND of Mine: 'foto' was given. Give one of dark, flat, projection."),
        (lambda: kind(MOTORS=["filter"]), "MOTORS of Mine: ['filter'] was given. Give each part that moves"),
    ],
)  # fmt: skip
def test_a_kind_that_cannot_be_one_is_not_made_known(made: Callable[[], Any], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        register_acquisition(made())
    assert message in str(caught.value)


def kind(**how: Any) -> type[Acquisition]:
    fields = {"__annotations__": {"kind": Literal["mine"]}, "kind": "mine"}
    return type("Mine", (Looks,), {"__module__": __name__, **fields, **how})
