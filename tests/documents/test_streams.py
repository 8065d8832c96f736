import pytest

from concertino import DocumentError
from concertino.documents import (
    DARKS,
    FLATS,
    PROJECTIONS,
    StreamSegment,
    TomoBlock,
    find_image_kind,
    frames_key,
    free_segment,
    image_kind,
)


@pytest.mark.parametrize(
    ("stream", "kind"), [(DARKS, "dark"), (FLATS, "flat"), (PROJECTIONS, "projection")]
)
def test_image_kind(stream: str, kind: str) -> None:
    assert image_kind(stream) == kind


def test_a_run_may_name_its_streams_itself() -> None:
    assert image_kind("empty", {"empty": "flat"}) == "flat"


def test_a_stream_without_images() -> None:
    with pytest.raises(DocumentError) as caught:
        image_kind("baseline")

    assert str(caught.value) == (
        "Stream 'baseline' is none of images: the run's image kinds know 'darks', 'flats', "
        "'projections'. Name the stream in the tomo block's 'image_kinds'."
    )


def test_frames_key() -> None:
    assert frames_key("camera") == "camera-frames"


@pytest.mark.parametrize(
    ("name", "base", "first", "take"),
    [
        ("projections", "projections", 0, 1),
        ("projections_from_00057", "projections", 57, 1),
        ("projections_from_00057_3", "projections", 57, 3),
        ("flats_from_00000_2", "flats", 0, 2),
        ("flats_from_123456", "flats", 123456, 1),
        ("views_from_above", "views_from_above", 0, 1),
        ("views_from_12", "views_from_12", 0, 1),
        ("views_from_00012_1", "views_from_00012_1", 0, 1),
        ("object_stepping_from_00003", "object_stepping", 3, 1),
    ],
)
def test_segments_are_told_by_their_names(name: str, base: str, first: int, take: int) -> None:
    segment = StreamSegment.of(name)
    assert segment == StreamSegment(base, first, take)
    assert segment.name == name


def test_a_segment_is_of_the_kind_of_its_stream() -> None:
    assert image_kind("projections_from_00057") == "projection"
    assert image_kind("darks_from_00002_2") == "dark"
    assert find_image_kind("motion") is None
    own = TomoBlock(
        scheme="radiography", acquisition="single", num_projections=3, camera="camera",
        image_kinds={"seen_from_00010": "projection", "empty": "flat"},
    )  # fmt: skip
    assert own.kind("seen_from_00010") == "projection"
    assert own.kind("empty_from_00010") == "flat"
    assert own.kind("flats") is None


def test_segments_that_begin_at_the_same_frame() -> None:
    taken = ["projections"]
    for name in ("projections_from_00000_2", "projections_from_00000_3"):
        taken.append(free_segment("projections", 0, taken).name)
        assert taken[-1] == name
    assert free_segment("projections", 9, taken).name == "projections_from_00009"
    assert free_segment("flats", 0, taken).name == "flats"
