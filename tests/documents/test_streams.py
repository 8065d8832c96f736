import pytest

from concertino import DocumentError
from concertino.documents import DARKS, FLATS, PROJECTIONS, frames_key, image_kind


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
