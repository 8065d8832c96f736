"""Live, batch and `reconstruct()` give the same right values, of scans that are no plain half turn."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from concertino.batch import reconstruct_run
from concertino.callbacks import ImageWriter, OnlineReconstruction
from concertino.devices import FileCamera, SimulatedBeamline
from concertino.plans import continuous_tomography
from concertino.reconstruction import ReconstructionSettings, reconstruct
from concertino.session import open_session
from concertino.storage import open_run

from .analytic import ball_lines, disc_lines
from .oracle import disc_found

TURN, MU, BRIGHT = 2 * np.pi, 0.02, 50000.0
LEFT_OVER = np.random.default_rng(3).random(220) > 0.05


def _written(
    path: Path, lines: NDArray[np.floating], angles: NDArray[np.float64]
) -> dict[str, Any]:
    """Write counts as an NXtomo file, whose angles a file camera tells; return the counts."""
    counts = np.round(BRIGHT * np.exp(-lines) + 100).astype(np.uint16)
    darks = np.full((2, *counts.shape[1:]), 100, np.uint16)
    flats = np.full((2, *counts.shape[1:]), BRIGHT + 100, np.uint16)
    with h5py.File(path, "w") as file:
        file["entry/definition"] = "NXtomo"
        detector = file.create_group("entry/instrument/detector")
        detector["data"] = np.concatenate([darks, flats, counts])
        detector["image_key"] = [2, 2, 1, 1, *[0] * len(counts)]
        file["entry/sample/rotation_angle"] = np.r_[[0.0] * 4, np.rad2deg(angles)]
    return {"projections": counts, "darks": darks, "flats": flats}


DISC, BODY = (21.3, -17.6, 8.0, MU), (0.0, 0.0, 45.0, MU)
WIDE = [(60.3, 30.2, 8.0, MU), (0.0, 0.0, 85.0, MU)]
BALL = (17.3, -9.2, 0.4, 7.0, MU)
REPEATED = np.r_[np.arange(150) * TURN / 100, TURN / 4 + np.arange(70) * TURN / 500][LEFT_OVER]
HALF = np.arange(220) * 1.5 * TURN / 220
SHORT = 0.3 + np.arange(200) * np.deg2rad(240) / 200
CASES: dict[str, tuple[Any, NDArray[np.float64], dict[str, Any], Any, float]] = {
    "repeated, uneven, 5 % lost": (
        lambda: disc_lines(112, REPEATED, 55.2, [DISC, BODY]), REPEATED, {"center": 55.2}, DISC, 0.005,
    ),
    "half acquisition over 540 deg": (
        lambda: disc_lines(112, HALF, 12.3, WIDE), HALF,
        {"center": 12.3, "half_acquisition": True}, WIDE[0], 0.01,
    ),
    "cone beam over 240 deg": (
        lambda: ball_lines((25, 96), SHORT, [BALL], source=200.0), SHORT,
        {"center": 47.5, "source_distance": 200.0, "slices": (12,)}, (*BALL[:2], BALL[3], MU), 0.01,
    ),
}  # fmt: skip


def test_live_and_batch_are_as_right_as_the_function(tmp_path: Path) -> None:
    b = SimulatedBeamline(shape=(8, 32))
    with open_session(tmp_path / "data", progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        for number, (name, (make, angles, values, disc, within)) in enumerate(CASES.items()):
            lines, settings = make(), ReconstructionSettings(**values)
            path = tmp_path / f"{number}.nx"
            counts = _written(path, lines, angles)
            online = OnlineReconstruction(settings)
            token = session.subscribe(online)
            (uid,) = session.RE(
                continuous_tomography(
                    FileCamera(path, frame_rate=500), b.rotation, b.beam, b.sample_stage,
                    radio_position="0 mm", flat_position="1 mm", num_darks=2, num_flats=2,
                    num_projections=len(angles),
                    # half a turn of half acquisition is refused before its file tells otherwise
                    angular_range="540 deg" if "half" in name else "240 deg",
                )
            )  # fmt: skip
            online.wait(240)
            session.unsubscribe(token)
            assert online.result is not None
            run = open_run(uid, tmp_path / "data")
            batch = reconstruct_run(run, settings, directory=tmp_path)
            stored = open_run(batch.directory).frames("slices").read()
            projections = counts.pop("projections")
            direct = reconstruct(projections, angles, settings=settings, **counts)
            np.testing.assert_allclose(online.result.volume, direct, atol=1e-4 * MU, err_msg=name)
            np.testing.assert_allclose(stored, direct, atol=1e-4 * MU, err_msg=name)
            around = 0.0 if "cone" in name else MU
            value, x, y = disc_found(stored[0] - around, *disc[:3])
            assert value == pytest.approx(MU, rel=within), name
            assert (x, y) == pytest.approx(disc[:2], abs=0.05), name
