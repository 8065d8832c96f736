"""The ``tomo`` block of a start document: what a reconstruction must know of a run."""

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    Field,
    FiniteFloat,
    PositiveFloat,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from concertino._errors import DocumentError

from ._block import StartBlock
from ._cameras import CameraBlock
from ._segments import StreamSegment
from ._streams import IMAGE_KINDS, ImageKind, find_image_kind

_Positive = Annotated[PositiveFloat, Field(allow_inf_nan=False)]


class TomoBlock(StartBlock):
    """The geometry and the plan of an imaging run, version 1.

    A start document carries ``block.model_dump(mode="json")`` under ``"tomo"``.

    Parameters
    ----------
    version : int
        Of this block. A block of a newer version is refused.
    scheme : str
        How the angles were chosen: ``"equidistant"``, ``"spiral"``, ``"radiography"`` (none) or
        another rule that lists them in `angles_deg`.
    acquisition : {"stepped", "continuous", "single"}
        Whether the rotation stands or moves while the camera exposes; ``"single"`` if there is none.
    image_kinds : dict
        The kind (``"dark"``, ``"flat"``, ``"projection"``) of each stream of images; `kind` looks
        one up, as a stream may come in segments.
    num_projections : int
        Number of projections planned.
    start_angle_deg, angular_range_deg : float, optional
        The equidistant rule: projection ``i`` of ``N`` is at ``start + i * range / N``, the end
        excluded. A negative range turns backwards.
    angles_deg : list of float, optional
        The angle of each projection where that rule does not hold.
    vertical_start_mm, vertical_range_mm : float, optional
        Of a spiral: while projection ``i`` of ``N`` is taken, the sample is at the height
        ``start + i * range / N`` on its vertical stage, in mm.
    projections_per_tomogram : int, optional
        How many projections make one tomogram: of a spiral, and of a time series, whose tomograms
        follow one another in one rotation.
    angle_source : {"computed", "encoder", "readback"}
        Where the angles come from.
    direction : {1, -1}
        Whether the sample turns counter-clockwise (1) or clockwise (-1) in the slice when the
        rotation's angle grows.
    pixel_size_um : float, optional
        Size of a detector pixel in the plane of the sample, in um.
    energy_kev : float, optional
        Photon energy, in keV.
    propagation_distance_mm : float, optional
        From sample to detector, in mm; to the scintillator, if lenses look at one.
    source_distance_mm : float, optional
        From source to sample, in mm.
    source_kind : {"synchrotron", "tube"}, optional
        What makes the beam: the cone of a tube is reconstructed as one when `source_distance_mm` is known. What is
        not known of it and of the distance is left out of a written block, as `half_acquisition` is.
    rotation_axis_px : float, optional
        Column of the rotation axis, in pixels from the centre of the first one, when known.
    half_acquisition : bool
        Whether the axis is near an edge of the detector and a full turn, or more, makes the field
        nearly twice as wide. It is left out of a written block when it is not so: a reader that does not
        know the field reads all other blocks, and refuses one that it would reconstruct wrongly.
    rotation : str, optional
        Name of the rotation stage.
    camera : str
        Name of the camera.
    more_cameras : dict of str to CameraBlock
        What further cameras took in the same exposures: frame ``i`` of their projections is at the
        angle of projection ``i``. `image_kinds` has their streams, too.

    Examples
    --------
    >>> from concertino.documents import TomoBlock
    >>> block = TomoBlock(
    ...     scheme="equidistant", acquisition="stepped", num_projections=4,
    ...     start_angle_deg=0, angular_range_deg=180, camera="camera", rotation="rotation",
    ... )
    >>> block.angles_rad().round(3)
    array([0.   , 0.785, 1.571, 2.356])
    """

    NAME: ClassVar[str] = "tomo"
    WITHOUT: ClassVar[str] = (
        "so it is no imaging run. Record it with a plan of concertino.plans, or add the block in md"
    )

    scheme: str
    acquisition: Literal["stepped", "continuous", "single"]
    image_kinds: dict[str, ImageKind] = Field(default_factory=lambda: dict(IMAGE_KINDS))
    num_projections: int = Field(ge=0)
    start_angle_deg: FiniteFloat | None = None
    angular_range_deg: FiniteFloat | None = None
    angles_deg: list[FiniteFloat] | None = None
    vertical_start_mm: FiniteFloat | None = None
    vertical_range_mm: FiniteFloat | None = None
    projections_per_tomogram: int | None = Field(default=None, ge=1)
    angle_source: Literal["computed", "encoder", "readback"] = "computed"
    direction: Literal[1, -1] = 1
    pixel_size_um: _Positive | None = None
    energy_kev: _Positive | None = None
    propagation_distance_mm: FiniteFloat | None = None
    source_distance_mm: _Positive | None = None
    source_kind: Literal["synchrotron", "tube"] | None = None
    rotation_axis_px: FiniteFloat | None = None
    half_acquisition: bool = False
    rotation: str | None = None
    camera: str
    more_cameras: dict[str, CameraBlock] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _angles_are_known(self) -> "TomoBlock":
        if self.angles_deg is not None:
            if len(self.angles_deg) != self.num_projections:
                raise ValueError(
                    f"angles_deg has {len(self.angles_deg)} angles for "
                    f"{self.num_projections} projections; give one for each"
                )
        elif self.scheme in ("equidistant", "spiral"):
            needed = {
                "start_angle_deg": self.start_angle_deg,
                "angular_range_deg": self.angular_range_deg,
            }
            for field, value in needed.items():
                if value is None:
                    raise ValueError(f"scheme {self.scheme!r} needs {field}, or all of angles_deg")
        for camera, block in self.more_cameras.items():
            unknown = [stream for stream in block.streams if stream not in self.image_kinds]
            if unknown or camera == self.camera:
                raise ValueError(
                    f"more_cameras has {camera!r} with the streams {list(block.streams)}; give cameras "
                    f"besides {self.camera!r}, and streams that image_kinds has"
                )
        if self.scheme == "spiral":
            needed = {
                "vertical_start_mm": self.vertical_start_mm,
                "vertical_range_mm": self.vertical_range_mm,
                "projections_per_tomogram": self.projections_per_tomogram,
            }
            for field, value in needed.items():
                if value is None:
                    raise ValueError(f"scheme 'spiral' needs {field}")
        return self

    @property
    def num_tomograms(self) -> int:
        """Tomograms that follow one another in time; 1 also for a spiral, where they are one volume."""
        each = self.projections_per_tomogram
        if self.scheme == "spiral" or not each:
            return 1
        return max(1, self.num_projections // each)

    def kind(self, stream: str) -> ImageKind | None:
        """Return what the images of a stream, or of a segment of one, are; None if it has none."""
        return find_image_kind(stream, self.image_kinds)

    def segment(self, stream: str) -> StreamSegment:
        """Return which frames of the scan a stream of images begins with."""
        return StreamSegment(stream) if stream in self.image_kinds else StreamSegment.of(stream)

    @model_validator(mode="after")
    def _turn_is_full(self) -> "TomoBlock":
        turn = self.angular_range_deg
        if self.half_acquisition and turn is not None and abs(turn) < 360 - 1e-6:
            raise ValueError(
                f"half_acquisition needs a turn of 360 deg or more, and has {turn:g} deg"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_so(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialize(self)
        for name in ("half_acquisition", "source_distance_mm", "source_kind"):
            if not fields.get(name, True):
                del fields[name]
        return fields

    def angles_rad(self) -> NDArray[np.float64]:
        """Return the angle of each projection, as a reconstruction takes them.

        Returns
        -------
        numpy.ndarray
            Shape (num_projections,), float64, in rad, counter-clockwise in the slice.

        Raises
        ------
        DocumentError
            If the run has no angles, as a radiography.
        """
        if self.angles_deg is not None:
            angles = np.array(self.angles_deg, dtype=np.float64)
        elif self.start_angle_deg is not None and self.angular_range_deg is not None:
            index = np.arange(self.num_projections, dtype=np.float64)
            step = self.angular_range_deg / max(self.num_projections, 1)
            angles = self.start_angle_deg + index * step
        else:
            raise DocumentError(
                f"The tomo block has no angles: its scheme is {self.scheme!r}. Choose a run of a "
                "tomography, or give the angles."
            )
        return np.deg2rad(self.direction * angles)

    def vertical_mm(self) -> NDArray[np.float64]:
        """Return the height of the sample at each projection; zeros when it does not change.

        Returns
        -------
        numpy.ndarray
            Shape (num_projections,), float64, in mm.
        """
        if self.vertical_start_mm is None or self.vertical_range_mm is None:
            return np.zeros(self.num_projections)
        index = np.arange(self.num_projections, dtype=np.float64)
        step = self.vertical_range_mm / max(self.num_projections, 1)
        return np.asarray(self.vertical_start_mm + index * step)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of all cameras, the first one first."""
        return (self.camera, *self.more_cameras)

    def for_camera(self, name: str | None = None) -> "TomoBlock":
        """Return the block as it would be had one of the cameras been the only one.

        Parameters
        ----------
        name : str, optional
            Name of the camera; the first by default.

        Raises
        ------
        DocumentError
            If the run has no such camera.
        """
        if name not in (None, *self.cameras):
            raise DocumentError(
                f"Camera {name!r} was asked for; the run has images of {', '.join(self.cameras)}. "
                "Name one of these."
            )
        if name is None or name == self.camera:
            others = {stream for block in self.more_cameras.values() for stream in block.streams}
            streams = [stream for stream in self.image_kinds if stream not in others]
            changes: dict[str, Any] = {}
        else:
            block = self.more_cameras[name]
            streams = [stream for stream in self.image_kinds if stream in block.streams]
            changes = {"camera": name, **block.model_dump(exclude={"streams"})}
        kinds = {stream: self.image_kinds[stream] for stream in streams}
        return self.model_copy(update={"image_kinds": kinds, "more_cameras": {}, **changes})
