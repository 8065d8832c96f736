"""A dark or flat that stands out is named, in live and in batch, and nobody else is."""

import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from concertino.batch import reconstruct_run
from concertino.callbacks import ImageWriter, OnlineReconstruction
from concertino.devices import FileCamera, SimulatedBeamline
from concertino.plans import continuous_tomography
from concertino.reconstruction import ReconstructionSettings, Reconstructor
from concertino.session import open_session
from concertino.storage import open_run

SHAPE = (16, 24)
SETTINGS = ReconstructionSettings(slices=(2, 9), center=11.5)
# By hand: the light of a flat is 10000 counts, so that a dark may be away by 10 and a flat by 100.
DARKS = [100, 100, 100, 109, 100, 400, 100, 100]
FLATS = [5100, 10100, 10190, 10100, 10100]
DARK = (
    "Of the 8 darks, counted from 0, these stand out from the usual mean of 100: 5 (mean 400). "
    "They are used all the same. Look at them; darks='median' leaves them out."
)
FLAT = (
    "Of the 5 flats, counted from 0, these stand out from the usual mean of 10100: 0 (mean 5100). "
    "They are used all the same. Look at them; flats='median' leaves them out."
)


def frames(levels: list[int]) -> Any:
    return np.ones((len(levels), *SHAPE), np.uint16) * np.array(levels, np.uint16)[:, None, None]


def stand_out(caplog: pytest.LogCaptureFixture) -> list[str]:
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    caplog.clear()
    return [text for text in said if "stand out" in text]


def test_they_are_named_live_and_in_batch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        file["exchange/data"] = frames([8000] * 30)
        file["exchange/data_dark"], file["exchange/data_white"] = frames(DARKS), frames(FLATS)
    devices = SimulatedBeamline(shape=SHAPE)
    live = OnlineReconstruction(SETTINGS)
    with open_session(tmp_path / "data", progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        session.subscribe(live)
        session.RE(
            continuous_tomography(
                FileCamera(path, frame_rate=200), devices.rotation, devices.beam, devices.sample_stage,
                radio_position=0, flat_position=2, num_darks=8, num_flats=5, num_projections=30,
            )
        )  # fmt: skip
        live.wait(240)
    assert stand_out(caplog) == [DARK, FLAT]
    run = open_run(1, tmp_path / "data")
    in_parts = reconstruct_run(run, SETTINGS.updated(slices=None, memory_gib=2e-4))
    assert in_parts.parts > 1
    assert stand_out(caplog) == [DARK, FLAT]  # once
    reconstruct_run(run, SETTINGS.updated(darks="median", flats="median"))
    assert stand_out(caplog) == []


def doubts(given: Any, bright: Any, after: Any = None, **settings: Any) -> tuple[str, ...]:
    reconstructor = Reconstructor(
        SETTINGS.updated(**settings), num_projections=2, frame_shape=SHAPE
    )
    reconstructor.add_darks(given)
    reconstructor.add_flats(bright)
    reconstructor.add_projections(frames([8000, 7000]), 0)
    if after is not None:
        reconstructor.add_flats(after)
    return reconstructor.finish().doubts


def test_what_is_usual_is_no_stray() -> None:
    random = np.random.default_rng(5)
    for _ in range(20):
        darks = random.poisson(100, (10, *SHAPE)).astype(np.uint16)
        lamp = 10100 * random.normal(1, 0.01, (20, 1, 1))  # a tube that flickers by a hundredth
        flats = random.poisson(lamp, (20, *SHAPE)).astype(np.uint16)
        assert doubts(darks, flats) == ()
    fading = np.linspace(10100, 9100, 20).astype(int).tolist()  # a ring without top-up
    assert doubts(frames([100] * 5), frames(fading)) == ()
    assert doubts(frames([100, 400]), frames([10100])) == ()  # of two nobody knows which
    assert doubts(frames(DARKS), frames([10100] * 3), darks="first") == ()  # dark 5 is not used
    (doubt,) = doubts(frames([400, 100, 100]), frames([10100] * 3), darks="first")
    assert "0 (mean 400)" in doubt
    late = frames([5100, 10100, 10100])
    (doubt,) = doubts(frames([100] * 3), frames([10100] * 3), late)
    assert "3 flats after the projections" in doubt
    assert doubts(frames([100] * 3), frames([10100] * 3), late, flats_after="ignore") == ()
