"""Whatever a name is: what is made of it lies inside, or nothing is made."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from concertino import ConcertinoError, StorageError
from concertino.callbacks import ImageWriter
from concertino.frames import FrameStream
from concertino.storage import check_name, check_place, image_formats, place_in

PIECES = [
    "..",
    ".",
    "/",
    "\\",
    "\0",
    "\n",
    "~",
    "a",
    "data",
    "x" * 120,
    "é",
    "\x7f",
    "\ud800",
    " ",
    "%2e",
    "C:",
]
NAMES = st.lists(st.sampled_from(PIECES), max_size=4).map("".join) | st.text(max_size=30)


def below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=NAMES)
@example("../../../x")
@example("/abs")
@example("..")
@example("a\0b")
@example("x" * 201)
def test_a_file_of_any_name_is_inside_or_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "data"
    try:
        place = place_in(root, name)
    except StorageError:
        return
    assert place.parent == root
    place.mkdir(parents=True, exist_ok=True)
    # The system's word, not ours: a directory inside, and of that name.
    assert os.path.realpath(place) == os.path.join(os.path.realpath(root), name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "it is empty"),
        ("..", "it begins with a dot"),
        (".catalog", "it begins with a dot"),
        ("a/b", "it has a path separator"),
        ("/abs", "it has a path separator"),
        ("a\\b", "it has a path separator"),
        ("a\0b", r"it has the control character '\x00'"),
        ("a\nb", r"it has the control character '\n'"),
        ("é" * 101, "it has 202 bytes, more than 200"),
    ],
)
def test_what_is_wrong_with_a_name_is_said(name: str, reason: str) -> None:
    with pytest.raises(StorageError) as caught:
        check_name(name, "stream name")
    assert str(caught.value).startswith("stream name ")
    assert f"{reason}; choose another one" in str(caught.value)


def test_a_link_out_of_the_data_directory_is_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "data", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "scan_0001").symlink_to(outside)
    with pytest.raises(StorageError, match=f"which is {outside}/darks and not in {root}"):
        place_in(root, "scan_0001", "darks")


def test_a_data_directory_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "data"
    link.symlink_to(tmp_path / "disk")
    assert place_in(link, "scan_0001") == link / "scan_0001"
    assert check_place(tmp_path / "disk" / "scan_0001", [link])


@pytest.mark.parametrize("place", ["../elsewhere", "/etc", "a/../../x", "data2", "a\0b"])
def test_places_are_compared_as_the_system_sees_them(tmp_path: Path, place: str) -> None:
    root = tmp_path / "data"
    asked = tmp_path / place if place == "data2" else place
    with pytest.raises(StorageError):
        check_place(asked, [root, tmp_path / "other"])
    assert check_place("a/../b", [root]) == root / "a/../b"
    assert check_place(tmp_path / "other/x", [root, tmp_path / "other"]) == tmp_path / "other/x"


def run_writer(writer: ImageWriter, start: dict[str, object], stream_name: str) -> None:
    """Give a writer a run of two frames, as a session or a server would."""
    with FrameStream(shape=(4, 6), dtype="u2") as stream:
        writer("start", {"uid": "u", "time": 1.0, **start})
        try:
            writer(
                "descriptor",
                {
                    "uid": "d", "run_start": "u", "name": stream_name, "time": 1.0, "object_keys": {},
                    "hints": {},
                    "data_keys": {"cam": {"shape": [1, 4, 6], "dtype": "array", "dtype_numpy": "<u2",
                                          "external": "STREAM:", "source": "x"}},
                    "configuration": {"cam": {"data": {"cam-frames": stream.address}, "timestamps": {},
                                              "data_keys": {}}},
                },
            )  # fmt: skip
            stream.publish(np.ones((2, 4, 6), "u2"))
            stream.end(timeout_s=30)
        finally:
            writer("stop", {"uid": "s", "run_start": "u", "time": 2.0, "exit_status": "success"})


@pytest.mark.parametrize("format", sorted(image_formats()))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(stream_name=NAMES, scan_name=NAMES, own=st.booleans())
@example("../../../x", "scan_0001", False)
@example("/abs", "scan_0001", False)
@example("darks", "../../x", True)
@example("darks", "/abs", True)
def test_a_writer_stays_inside_whatever_streams_and_scans_are_called(
    tmp_path_factory: pytest.TempPathFactory,
    format: str,
    stream_name: str,
    scan_name: str,
    own: bool,
) -> None:
    base = tmp_path_factory.mktemp("n")
    root = base / "a" / "b" / "data"
    run = root / "scan_0007"
    run.mkdir(parents=True)
    before = below(base)
    writer = ImageWriter(format=format, directory=run if own else None)
    refused: ConcertinoError | None = None
    try:
        run_writer(writer, {"run_directory": str(run), "scan_name": scan_name}, stream_name)
    except ConcertinoError as error:
        refused = error
    made = below(base) - before
    if refused is not None:
        assert "cannot be that of a file or directory" in str(refused)
        assert not made
        return
    expected = run / scan_name / stream_name if own else run / stream_name
    assert expected in made
    assert all(place.is_relative_to(expected) or place in expected.parents for place in made)
