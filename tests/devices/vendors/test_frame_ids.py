"""Ids of frames become numbers that count on, whatever the ids do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concertino import CameraError
from concertino.devices.vendors._frame_ids import FrameIds


def ids_of(first: int, count: int, *, zero: bool) -> list[int]:
    """Return the ids that a GigE Vision camera gives: up to 65535, then from 1 or 0 again."""
    if zero:
        return [(first + index) % 65536 for index in range(count)]
    return [(first - 1 + index) % 65535 + 1 for index in range(count)]


@given(
    first=st.integers(1, 65535),
    lost=st.sets(st.integers(1, 300)),
    zero=st.booleans(),
)
def test_lost_frames_leave_gaps_also_where_short_ids_begin_again(
    first: int, lost: set[int], zero: bool
) -> None:
    ids = ids_of(first, 300, zero=zero)
    if zero and 0 in ids:
        lost = lost - {ids.index(0)}  # A camera that uses 0 is known by it.
    kept = [index for index in range(300) if index not in lost]
    account = FrameIds(1, short=True)
    account.begin()
    assert [account.number(ids[index]) for index in kept] == kept


def test_the_first_frame_of_a_camera_that_counts_on_is_whichever_comes_first() -> None:
    account = FrameIds(1, short=True)
    for first in (65400, 7, 9):
        account.begin()
        assert [account.number(first), account.number(first + 2)] == [0, 2]


def test_a_camera_that_begins_anew_is_believed_about_frames_before_the_first() -> None:
    account = FrameIds(1, short=True)
    for first in (17, 1):
        account.begin()
        assert account.number(first) == 0
    account.begin()
    assert account.number(3) == 2


def test_ids_that_go_backwards_are_refused() -> None:
    account = FrameIds(0, short=False)
    account.begin()
    account.number(5)
    with pytest.raises(CameraError, match="gave frame 4 after frame 5"):
        account.number(4)


@given(first=st.integers(65000, 65535), count=st.integers(1, 9), more=st.integers(0, 2))
def test_a_camera_that_counts_on_is_none_that_begins_anew_where_its_ids_do(
    first: int, count: int, more: int
) -> None:
    # A stream may begin with the very first id there; between two, the camera may expose what nobody takes.
    account, ids = FrameIds(1, short=True), ids_of(first, 1000, zero=False)
    for begin in range(0, 1000 - count, count + more):
        account.begin()
        taken = ids[begin : begin + count]
        assert [account.number(frame_id) for frame_id in taken] == list(range(count))


@pytest.mark.parametrize("anew", [False, True])
def test_frames_that_are_lost_before_the_first_are_not_counted_twice(anew: bool) -> None:
    account = FrameIds(1, short=True)
    for first in (17, 1 if anew else 40):
        account.begin()
        account.number(first)
    account.begin()
    # Two were broken, and told no id; the third is the first that tells one.
    first = 3 if anew else 203
    assert [account.number(first, 2), account.number(first + 1, 3)] == [2, 3]
