"""The times of frames are those that a detector's file keeps, unless its clock is wrong."""

import logging
import time
from pathlib import Path

import numpy as np
import pytest

from concertino.devices.detectors._file_progress import FileProgress
from concertino.twin._hdf_file import HdfFile

EXPOSURE_S, PERIOD_S = 0.01, 0.5


@pytest.mark.parametrize("wrong_s", [0, 3600])
def test_times_are_the_middles_of_exposures(
    tmp_path: Path, wrong_s: int, caplog: pytest.LogCaptureFixture
) -> None:
    writer = HdfFile(lambda: None)
    writer.open(tmp_path / "frames.h5", 0)
    progress = FileProgress(PERIOD_S, EXPOSURE_S, 30.0)
    progress.begin()
    ends_ns = time.time_ns() + np.arange(3) * 20_000_000 - 500_000_000
    for number, end_ns in enumerate(ends_ns):
        frame = np.full((4, 6), number, np.uint16)
        writer.take(number + 1, int(end_ns) - wrong_s * 10**9, frame)
    writer.flush()
    resource = {
        "uri": f"file://localhost{tmp_path}/frames.h5",
        "mimetype": "application/x-hdf5",
        "parameters": {"dataset": "/entry/data/data"},
    }
    progress.open(resource)
    progress.note(3, 3)
    progress.flushed = 3
    out = np.empty((3, 4, 6), np.uint16)
    with caplog.at_level(logging.WARNING):
        grab = progress.grab(out)
    progress.close()
    writer.close()

    np.testing.assert_array_equal(out[:, 0, 0], [0, 1, 2])
    if wrong_s:
        np.testing.assert_array_equal(np.diff(grab.timestamps), int(PERIOD_S * 1e9))
        assert "stamped -3600.5" in caplog.text
        assert "set both clocks by NTP" in caplog.text
    else:
        np.testing.assert_array_equal(grab.timestamps, ends_ns - int(EXPOSURE_S * 0.5e9))
        assert not caplog.text
