"""Whose images a stream has."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concertino import DocumentError
from concertino.documents import StreamSegment, TomoBlock, announced_bytes, camera_stream

BASES = st.sampled_from(["darks", "flats", "projections", "object_stepping"])
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)


@given(base=BASES, camera=NAMES, first=st.integers(0, 99_999), take=st.integers(1, 3))
def test_a_segment_of_a_cameras_stream(base: str, camera: str, first: int, take: int) -> None:
    stream = StreamSegment(base, first, take).name
    found = StreamSegment.of(camera_stream(stream, camera))
    assert found == StreamSegment(f"{base}-{camera}", first, take)


def block(**more: Any) -> dict[str, Any]:
    kinds = {"flats": "flat", "flats-b": "flat", "projections": "projection"}
    return {
        "scheme": "radiography", "acquisition": "single", "num_projections": 3, "camera": "a",
        "image_kinds": kinds, **more,
    }  # fmt: skip


def test_each_camera_has_its_kinds_and_segments() -> None:
    made = TomoBlock(
        **block(
            rotation_axis_px=10.0,
            more_cameras={"b": {"streams": ["flats-b"], "pixel_size_um": 2.0}},
        )
    )
    first, second = made.for_camera(), made.for_camera("b")
    assert first.kind("flats_from_00003") == second.kind("flats-b_from_00003") == "flat"
    assert first.kind("flats-b") is None
    assert second.kind("flats") is None
    # The axis of one camera's images says nothing of another's.
    assert (first.rotation_axis_px, second.rotation_axis_px) == (10.0, None)


@pytest.mark.parametrize("cameras", [{"b": {"streams": ["other"]}}, {"a": {"streams": ["flats"]}}])
def test_a_block_that_names_other_streams_is_refused(cameras: dict[str, Any]) -> None:
    with pytest.raises(DocumentError) as caught:
        TomoBlock.from_start({"uid": "x", "tomo": block(more_cameras=cameras)})
    ((name, given_),) = cameras.items()
    assert str(caught.value) == (
        f"Run x: its tomo block is wrong: more_cameras has {name!r} with the streams "
        f"{given_['streams']}; give cameras besides 'a', and streams that image_kinds has. "
        "Have what wrote it write it as concertino.documents describes."
    )


def test_announced_bytes_without_figures() -> None:
    assert announced_bytes({"frames": {"darks": 3}}) == 0
    assert announced_bytes({}) == 0
