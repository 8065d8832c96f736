"""Where source, detector, rotation axis and volume are, and how a point is projected.

The world is fixed to the beamline, in detector pixels: x to the right of the image, y along the beam,
z upwards, the origin where the rotation axis meets the beam. A turn by a positive angle about an
axis is counter-clockwise when seen against that axis.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from concertino._errors import ParameterError

Varying = float | tuple[float, ...]
"""One value, or one per projection."""

DESCRIBED_BY = (
    "source_x", "source_distance", "source_z", "detector_x", "detector_distance", "detector_z",
    "detector_angle_x", "detector_angle_y", "detector_angle_z", "axis_angle_x", "axis_angle_y",
    "axis_angle_z", "volume_angle_x", "volume_angle_y", "volume_angle_z",
)  # fmt: skip


class GeometrySettings(BaseModel):
    """Geometry beyond a parallel beam on an upright axis; lengths in detector px, angles in rad."""

    center_row: float | None = Field(
        None, description="Row of the detector where the beam's axis hits it; None: the middle."
    )
    source_distance: float | None = Field(
        None, gt=0, description="From source to rotation axis; None: parallel beam."
    )
    source_x: Varying = Field(0.0, description="Source to the right of the beam's axis.")
    source_z: Varying = Field(0.0, description="Source above the beam's axis.")
    detector_distance: float = Field(0.0, description="From rotation axis to detector.")
    detector_x: Varying = Field(0.0, description="Detector to the right of its place.")
    detector_z: Varying = Field(
        0.0,
        description="Detector above its place; helical scans: minus the sample's height, and "
        "`source_z` the same in a cone beam.",
    )
    detector_angle_x: Varying = Field(0.0, description="Detector turned about x (pitch).")
    detector_angle_y: Varying = Field(0.0, description="Detector turned about the beam (roll).")
    detector_angle_z: Varying = Field(0.0, description="Detector turned about z (yaw).")
    axis_angle_x: Varying = Field(
        0.0, description="Rotation axis turned about x: the laminographic angle."
    )
    axis_angle_y: Varying = Field(0.0, description="Rotation axis turned about the beam (roll).")
    axis_angle_z: Varying = Field(0.0, description="Rotation axis turned about z.")
    volume_angle_x: float = Field(0.0, description="Volume turned about its x: oblique planes.")
    volume_angle_y: float = Field(0.0, description="Volume turned about its y.")
    volume_angle_z: float = Field(0.0, description="Volume turned about its z.")

    @property
    def general(self) -> bool:
        """Whether slices need more than their own detector row."""
        return bool(self.described_by())

    def described_by(self) -> list[str]:
        """Return which parameters of a general geometry are not as they are without one."""
        defaults = type(self).model_fields
        return [name for name in DESCRIBED_BY if getattr(self, name) != defaults[name].default]

    @property
    def magnification(self) -> float:
        """How much larger the detector shows what is at the rotation axis; 1 in a parallel beam.

        A voxel, as all lengths here, is as wide as a pixel of the detector: this times a pixel in the plane
        of the sample.
        """
        if self.source_distance is None:
            return 1.0
        return (self.source_distance + self.detector_distance) / self.source_distance

    @property
    def opposite_views_differ(self) -> bool:
        """Whether a view half a turn later is more than this one's mirror image."""
        return self.source_distance is not None or bool(np.any(np.asarray(self.axis_angle_x)))

    @property
    def helical(self) -> bool:
        """Whether the sample rises while it turns, so that each height is seen by some projections."""
        return any(np.ptp(np.asarray(at)) > 0 for at in (self.source_z, self.detector_z))


def turn(about: str, angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrices (n, 3, 3) that turn by angles (n,) about 'x', 'y' or 'z'."""
    c, s = np.cos(angle), np.sin(angle)
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[about]
    matrix = np.tile(np.eye(3), (len(angle), 1, 1))
    matrix[:, first, first] = matrix[:, second, second] = c
    matrix[:, first, second], matrix[:, second, first] = -s, s
    return matrix


def projection_matrices(
    settings: GeometrySettings, angles: NDArray[np.float64], center: float, rows: int
) -> NDArray[np.float64]:
    """Matrices that project volume points onto the detector.

    Parameters
    ----------
    settings
        A `GeometrySettings`.
    angles
        float64, (projection,), radians.
    center
        Column where the rotation axis is seen.
    rows
        Height of the detector.

    Returns
    -------
    ndarray
        float64, (projection, 3, 4): applied to (x, y, z, 1) they give (column * w, row * w, w); w is 1
        at the rotation axis, and everywhere in a parallel beam.
    """
    count = len(angles)

    def each(name: str) -> NDArray[np.float64]:
        values = np.atleast_1d(np.asarray(getattr(settings, name), dtype=np.float64))
        if len(values) not in (1, count):
            raise ParameterError(
                f"{name}: {len(values)} values were given for {count} projections; give one, or one "
                "for each."
            )
        return np.broadcast_to(values, (count,))

    def turned(what: str) -> NDArray[np.float64]:
        z, y, x = (turn(about, each(f"{what}_angle_{about}")) for about in "zyx")
        return z @ y @ x

    sample = turned("axis") @ turn("z", -angles) @ turned("volume")
    frame = turned("detector")
    right, along, up = frame[:, :, 0], frame[:, :, 1], frame[:, :, 2]
    place = np.stack(
        [each("detector_x"), np.full(count, settings.detector_distance), each("detector_z")], 1
    )
    row = (rows - 1) / 2 if settings.center_row is None else settings.center_row
    homogeneous = np.zeros((count, 3, 4))
    if settings.source_distance is None:
        beam = np.array([0.0, 1.0, 0.0])
        # a point moves along the beam until it lies in the detector's plane
        slant = np.einsum("ni,i->n", along, beam)[:, None, None]
        to_plane = np.eye(3) - beam[:, None] * along[:, None, :] / slant
        offset = np.einsum("nij,nj->ni", np.eye(3) - to_plane, place) - place
        for axis, direction in ((0, right), (1, -up)):
            homogeneous[:, axis, :3] = np.einsum("ni,nij,njk->nk", direction, to_plane, sample)
            homogeneous[:, axis, 3] = np.einsum("ni,ni->n", direction, offset)
        homogeneous[:, 2, 3] = 1.0
    else:
        distance = settings.source_distance
        source = np.stack([each("source_x"), np.full(count, -distance), each("source_z")], 1)
        reach = np.einsum("ni,ni->n", along, place - source)
        depth = np.einsum("ni,nij->nj", along, sample)
        depth_here = -np.einsum("ni,ni->n", along, source)
        for axis, direction in ((0, right), (1, -up)):
            rest = np.einsum("ni,ni->n", direction, source - place)
            homogeneous[:, axis, :3] = (
                np.einsum("ni,nij->nj", direction, sample) * reach[:, None] + rest[:, None] * depth
            )
            homogeneous[:, axis, 3] = (
                -np.einsum("ni,ni->n", direction, source) * reach + rest * depth_here
            )
        homogeneous[:, 2, :3], homogeneous[:, 2, 3] = depth, depth_here
        homogeneous /= depth_here[:, None, None]
    homogeneous[:, 0] += center * homogeneous[:, 2]
    homogeneous[:, 1] += row * homogeneous[:, 2]
    return homogeneous
