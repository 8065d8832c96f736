"""Where slices say that they are, against a sample measured with a ruler."""

import numpy as np
import pytest

from concertino.callbacks import axes_configuration
from concertino.documents import TomoBlock
from concertino.reconstruction import ReconstructionSettings, reconstruct

# A wire in a fourfold magnifying beam; all in um.
SOURCE, DETECTOR, PIXEL = 200e3, 600e3, 20.0
WIRE_X, WIRE_Y, RADIUS = 150.0, -80.0, 40.0


def test_a_magnified_wire_is_where_a_ruler_finds_it() -> None:
    columns, rows = 161, 3
    angles = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    pixels = (np.arange(columns) - (columns - 1) / 2) * PIXEL
    # of each ray: from the source at (0, -SOURCE) to (pixels, DETECTOR)
    length = np.hypot(pixels, SOURCE + DETECTOR)
    across = WIRE_X * np.cos(angles) + WIRE_Y * np.sin(angles)
    along = -WIRE_X * np.sin(angles) + WIRE_Y * np.cos(angles)
    apart = (
        across[:, None] * (SOURCE + DETECTOR) - (along[:, None] + SOURCE) * pixels
    ) / length  # distance of the wire from the ray
    chords = 2 * np.sqrt(np.maximum(RADIUS**2 - apart**2, 0)) * 0.001
    projections = np.repeat(chords[:, None].astype(np.float32), rows, axis=1)
    settings = ReconstructionSettings(
        center=(columns - 1) / 2, slices=(1,), absorptivity=False,
        source_distance=SOURCE / PIXEL, detector_distance=DETECTOR / PIXEL,
    )  # fmt: skip
    image = np.maximum(reconstruct(projections, angles, settings=settings)[0], 0)
    image[image < image.max() / 4] = 0
    tomo = TomoBlock(
        scheme="equidistant", acquisition="stepped", num_projections=len(angles), camera="camera",
        start_angle_deg=0, angular_range_deg=360, rotation="rotation",
        pixel_size_um=PIXEL * SOURCE / (SOURCE + DETECTOR),  # of the documents: in the sample's plane
    )  # fmt: skip
    axes = axes_configuration(settings, tomo, image.shape, (1,))
    assert axes["pixel_unit"] == "um"
    assert axes["axis_values"] == [PIXEL]
    x = axes["x"][0] + axes["x"][1] * np.arange(image.shape[1])
    y = axes["y"][0] + axes["y"][1] * np.arange(image.shape[0])
    found = (image.sum(0) @ x / image.sum(), image.sum(1) @ y / image.sum())
    assert found == pytest.approx((WIRE_X, -WIRE_Y), abs=1.0)  # y counts downwards
    covered = (image > image.max() / 2).sum() * axes["x"][1] * axes["y"][1]
    assert covered == pytest.approx(np.pi * RADIUS**2, rel=0.15)
