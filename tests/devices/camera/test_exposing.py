"""What is asked for again and again is only what is new."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from concertino._clocks import CameraTimes
from concertino.devices.camera._exposing import Exposures


@given(st.lists(st.integers(0, 3000), max_size=8))
def test_all_frames_come_once_and_in_order(batches: list[int]) -> None:
    exposures, seen = Exposures(), [np.empty((2, 0), np.int64)]
    done = 0
    for size in batches:
        numbers = np.arange(done, done + size) + 7
        exposures.add(numbers, CameraTimes(1000 * numbers))
        new = np.stack(exposures.since(done))
        assert new.shape == (2, size)
        seen.append(new)
        done += size
    whole = np.arange(done) + 7
    np.testing.assert_array_equal(np.concatenate(seen, axis=1), [whole, 1000 * whole])
    assert exposures.first_number == (7 if done else 0)


def test_what_was_returned_does_not_change() -> None:
    exposures = Exposures()
    exposures.add(np.arange(3), CameraTimes(np.arange(3)))
    numbers, _ = exposures.since(0)
    exposures.add(np.arange(3, 6), CameraTimes(np.arange(3, 6)))
    numbers[:] = 9
    np.testing.assert_array_equal(exposures.since(0)[0], np.arange(6))
