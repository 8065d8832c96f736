"""Everything that decides a reconstruction, in one frozen, JSON-able value."""

import math
import os
from typing import Any, Literal, Self

import numpy as np
from pydantic import (
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from concertino._errors import ParameterError

from ._geometry import DESCRIBED_BY, GeometrySettings
from ._phase_settings import PhaseSettings

FilterName = Literal[
    "none",
    "ramp",
    "shepp-logan",
    "cosine",
    "hamming",
    "hann",
    "butterworth",
    "faris-byer",
    "blackman-harris",
]
PaddingMode = Literal["zero", "edge", "mirror"]
Combination = Literal["average", "median", "first"]
Interval = tuple[float, float, float]
SWEEPABLE = (
    "center", "center_row", "overall_angle", "cutoff", "dark_scale", "flat_scale", *DESCRIBED_BY
)  # fmt: skip
"""Settings that may take the place of z."""


class ReconstructionSettings(GeometrySettings, PhaseSettings):
    """How projections become slices.

    The same value serves live, remote, replayed and batch reconstruction. It is frozen, compares by
    value, and goes through JSON unchanged (`model_dump_json`, `model_validate_json`).

    Lengths are in detector pixels and angles in radians unless a field says otherwise. The column
    coordinate counts pixel centres: 0 is the middle of the first pixel.

    Examples
    --------
    >>> settings = ReconstructionSettings(slices=(0, 1), center=295.7, filter="hann")
    >>> ReconstructionSettings.model_validate_json(settings.model_dump_json()) == settings
    True
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    backend: Literal["auto", "cpu", "ufo", "astra"] = Field(
        "auto", description="Who computes; `backends()` tells which are available, and why not."
    )

    slices: tuple[int, ...] | None = Field(
        None,
        description="Detector rows to reconstruct, in this order; None: `region`, or all rows.",
    )
    region: Interval | None = Field(
        None, description="Rows (from, to, step), `to` excluded; an alternative to `slices`."
    )
    z_parameter: str | None = Field(
        None,
        description="Setting that takes the place of z: `region` gives its values, and the result "
        "is one slice of the first of `slices` (or the middle row) for each.",
    )
    x_region: Interval | None = Field(
        None,
        description="Image columns (from, to, step) in px from the rotation axis, `to` excluded; "
        "None: as many as the detector has columns, centred on the axis.",
    )
    y_region: Interval | None = Field(
        None,
        description="Image rows (from, to, step) in px below the rotation axis, as `x_region`.",
    )

    center: float | None = Field(
        None, description="Column of the rotation axis in px; None: find it from the projections."
    )
    overall_angle: float = Field(0.0, description="Angle in rad added to all projection angles.")

    darks: Combination = Field("average", description="How dark frames are combined.")
    flats: Combination = Field("average", description="How flat frames are combined.")
    flats_after: Literal["average", "interpolate", "ignore"] = Field(
        "average",
        description="What to do with flats that come after projections: together with those before, "
        "weighted along the scan, or nothing.",
    )
    dark_scale: float = Field(1.0, ge=0, description="Darks are multiplied by this.")
    flat_scale: float = Field(1.0, gt=0, description="Flats are multiplied by this.")
    absorptivity: bool | None = Field(
        None, description="Take -log of the transmission; None: when flats were given."
    )
    minimum_transmission: float = Field(
        1e-6, gt=0, lt=1, description="Transmission is not taken for lower than this before -log."
    )
    fix_nonfinite: bool = Field(
        True, description="Replace NaN and infinity by the nearest finite pixels of their row."
    )

    zinger_threshold: float | None = Field(
        None,
        gt=0,
        description="Pixels brighter than the median of five neighbours by this share of it are "
        "replaced by it; None: left.",
    )
    stripe_removal: Literal["none", "normalisation", "fourier-wavelet", "sorting"] = Field(
        "none", description="How stripes of the sinogram (rings of the slice) are removed."
    )
    stripe_width: int = Field(21, ge=1, description="Width of the widest stripe in px.")
    half_acquisition: bool | None = Field(
        None,
        description="A full turn with the axis near the detector's edge: slices are as wide as "
        "both sides together; None: when the run's documents say so.",
    )

    filter: FilterName = Field(
        "ramp", description="Window over the ramp; 'none': no filter at all."
    )
    cutoff: float = Field(
        1.0, gt=0, le=1, description="Frequency as a fraction of Nyquist above which it is zero."
    )
    butterworth_order: float = Field(4.0, gt=0, description="Order of the Butterworth window.")
    padding: PaddingMode = Field(
        "zero",
        description="What stands beyond the detector's edges while filtering. 'edge' and 'mirror' are for "
        "samples wider than the field; 'mirror' repeats one inside it, and takes up to 15 % of its values.",
    )

    memory_gib: float | None = Field(
        None, gt=0, description="Memory in GiB it may use; None: half of the machine's."
    )
    threads: int | None = Field(None, ge=1, description="Threads; None: as many as cores.")
    projections_per_block: int = Field(
        32, ge=1, le=1024, description="Frames that are computed together, by frame index."
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ParameterError(_sentence(error)) from None

    @field_validator("slices")
    @classmethod
    def _rows_are_sane(cls, rows: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if rows is not None and not rows:
            raise ValueError("at least one row is needed; leave it None for all rows")
        if rows is not None and min(rows) < 0:
            raise ValueError(f"row {min(rows)} is negative; rows count from 0")
        return rows

    @field_validator("region", "x_region", "y_region")
    @classmethod
    def _interval_is_sane(cls, interval: Interval | None) -> Interval | None:
        if interval is None:
            return None
        start, stop, step = interval
        if not all(math.isfinite(value) for value in interval) or step <= 0 or stop <= start:
            raise ValueError(f"(from, to, step) needs from < to and step > 0, got {interval}")
        return interval

    @field_validator("center", "overall_angle")
    @classmethod
    def _is_finite(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{info.field_name} must be a finite number, got {value}")
        return value

    @field_validator(*(name for name in DESCRIBED_BY if "_angle_" in name))
    @classmethod
    def _is_in_rad(cls, value: Any, info: ValidationInfo) -> Any:
        largest = max((abs(each) for each in np.atleast_1d(np.asarray(value)).tolist()), default=0)
        if largest > math.pi:
            raise ValueError(
                f"{info.field_name} is {largest:g} rad, more than half a turn; if it was meant in degrees, "
                f"give {math.radians(largest):.5g}"
            )
        return value

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        # The others are the run's, when it tells them.
        if missing := [one for one in self.phase_parameters_missing() if one == "delta_beta"]:
            raise ValueError(f"phase_method {self.phase_method!r} needs {', '.join(missing)}")
        if self.z_parameter is not None:
            if self.z_parameter not in SWEEPABLE:
                raise ValueError(
                    f"z_parameter {self.z_parameter!r} is not a setting that can be swept; "
                    f"choose one of {', '.join(SWEEPABLE)}"
                )
            if self.region is None:
                raise ValueError(f"z_parameter needs `region`: the values of {self.z_parameter}")
        elif self.slices is not None and self.region is not None:
            raise ValueError("`slices` and `region` both choose rows; give one of them")
        return self

    @property
    def angular_period(self) -> float:
        """Turn in radians after which a view says the same again: half a turn, a turn; never in a helix."""
        if self.helical:
            return math.inf
        differ = self.half_acquisition or self.opposite_views_differ
        return 2 * math.pi if differ else math.pi

    @property
    def memory_limit_bytes(self) -> int:
        """Bytes that may be used: `memory_gib`, or half of the machine's memory."""
        if self.memory_gib is not None:
            return int(self.memory_gib * 2**30)
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2

    def updated(self, **changes: Any) -> "ReconstructionSettings":
        """Return a copy with some fields changed, validated as a whole.

        Raises
        ------
        ParameterError
            A field is unknown or its value cannot work.
        """
        return ReconstructionSettings(**{**self.model_dump(), **changes})


def _sentence(error: ValidationError) -> str:
    parts = []
    for item in error.errors():
        where = ".".join(str(key) for key in item["loc"]) or "settings"
        message = str(item["msg"]).removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "there is no such setting"
        got = (
            "" if item["type"] in ("extra_forbidden", "value_error") else f", got {item['input']!r}"
        )
        parts.append(f"{where}: {message}{got}")
    return "ReconstructionSettings: " + "; ".join(parts)


def positions(interval: Interval) -> list[float]:
    """Return the positions of a (from, to, step) interval, `to` excluded."""
    start, stop, step = interval
    count = max(1, math.ceil((stop - start) / step - 1e-9))
    return [start + step * i for i in range(count)]
