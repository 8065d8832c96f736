"""Which rows of a detector's file are read: those that somebody needs, by what lies in the ring."""

from typing import Any

import numpy as np
import pytest

from concertino.callbacks import FrameConsumer, OnlineReconstruction
from concertino.devices import DetectorCamera
from concertino.frames import FrameStream
from concertino.reconstruction import ReconstructionSettings

from .detectors import WRITERS, Iocs, Scans

pytestmark = pytest.mark.disturbed_by_load(
    "frames of another process must come while the axis turns"
)


@pytest.mark.parametrize("viewed", [False, True])
def test_only_rows_that_are_needed_are_read(scans: Scans, iocs: Iocs, viewed: bool) -> None:
    live = OnlineReconstruction(ReconstructionSettings(slices=(6,), center=12.0))
    scans.session.subscribe(live)
    seen: list[Any] = []
    if viewed:
        scans.session.subscribe(
            FrameConsumer(lambda frame, stream, _i: seen.append((stream, frame.copy())))
        )
    with iocs.detector(WRITERS["hdf"], scans.files, projections=12) as detector:
        camera = DetectorCamera(detector, exposure=0.001, frame_rate=40)
        run = scans.run("step_tomography", camera, num_projections=12, angular_range="180 deg")
        assert isinstance(camera._last, FrameStream)
        ring = camera._last.ring
        held = ring.readable(0, 12)[0].copy()
    assert live.wait(240).volume.max() > 0.02
    stored = run.frames("projections").read()
    np.testing.assert_array_equal(held[:, 6], stored[:, 6])
    assert np.array_equal(held, stored) == viewed
    if viewed:
        whole = np.stack([frame for stream, frame in seen if stream == "projections"])
        np.testing.assert_array_equal(whole, stored)
    (row,) = [
        each
        for each in run.ledger()
        if each["stream"] == "projections" and each["party"] == "camera"
    ]
    assert row["frames"] == 12
