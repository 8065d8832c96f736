"""Subscribers that need some rows only: the others may be left out as long as nobody else looks."""

import numpy as np
import pytest

from concertino import FrameStreamError
from concertino.frames import FrameStream, subscribe
from concertino.frames.core._rows import stretches

SHAPE = (64, 8)


def publish(stream: FrameStream, value: int) -> tuple[tuple[int, int], ...] | None:
    """Publish one frame of the rows that are needed, as a camera does that can choose."""
    slots = stream.reserve(1)
    with stream.changed:
        rows = stream.flow.choose_rows(1)
    for begin, end in ((0, SHAPE[0]),) if rows is None else rows:
        slots[:, begin:end] = value
    stream.commit(1)
    return rows


def test_rows_side_by_side_are_one_stretch_and_distant_ones_are_not() -> None:
    assert stretches([40, 3, 4, 5, 7]) == ((3, 8), (40, 41))
    assert stretches([]) == ()


def test_rows_that_nobody_needs_are_left_out() -> None:
    with FrameStream(shape=SHAPE, dtype=np.uint16) as stream:
        one = subscribe(stream.address, name="one", rows=[3, 4])
        other = subscribe(stream.address, name="other", rows=[50])
        assert publish(stream, 7) == ((3, 5), (50, 51))
        for reader in (one, other):
            batch = reader.read()
            assert batch is not None
            assert (batch.frames[0, [3, 4, 50]] == 7).all()
            reader.acknowledge(1)


def test_all_rows_are_written_for_who_needs_them() -> None:
    with FrameStream(shape=SHAPE, dtype=np.uint16) as stream:
        subscribe(stream.address, name="rows", rows=[3])
        everything = subscribe(stream.address, name="all")
        assert publish(stream, 1) is None
        batch = everything.read()
        assert batch is not None
        assert (batch.frames == 1).all()


def test_who_looks_later_sees_whole_frames_only() -> None:
    with FrameStream(shape=SHAPE, dtype=np.uint16) as stream:
        subscribe(stream.address, name="rows", rows=[3])
        assert publish(stream, 1) == ((3, 4),)
        with pytest.raises(FrameStreamError, match="came late: frames 0 to 0 are gone"):
            subscribe(stream.address, name="late")
        viewer = subscribe(stream.address, name="viewer", delivery="latest")
        with pytest.raises(TimeoutError):
            viewer.read(timeout_s=0)
        assert publish(stream, 2) is None
        newest = viewer.read(timeout_s=0)
        assert newest is not None
        assert (newest.frames == 2).all()
        viewer.close()
        assert publish(stream, 3) == ((3, 4),)
