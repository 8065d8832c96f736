"""The angle of each projection, as the documents of a run tell it."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from concertino._errors import ParameterError
from concertino.units import convert, meant_unit

from ._device_configuration import device_configuration
from ._segments import index_ranges
from ._tomo import TomoBlock

PROJECTION_ANGLES = "projection_angles"
#: Where a descriptor's configuration says that it is not known which number a camera begins with.
UNKNOWN_NUMBER = -1
PROJECTION, ANGLE, UNCERTAINTY, SOURCE = "projection", "angle", "uncertainty", "source"
#: In a camera's configuration: the angles that the file has whose frames it serves.
STORED_ANGLES = "stored_angles"
_ALWAYS = np.iinfo(np.int32).max


class ProjectionAngles(NamedTuple):
    """The angle of each projection of a run, and how well it is known.

    Attributes
    ----------
    angles_deg
        float64, (num_projections,): of the rotation, in deg, as far as it was measured; the others follow the
        plan, shifted by what the measured ones beside them differ from it.
    uncertainty_deg
        float64, (num_projections,): one standard deviation, in deg; NaN where nothing was measured
        or nothing is said.
    source
        ``"encoder"``, ``"computed"`` (from time and velocity), ``"readback"``, or several joined by
        ``" and "``; ``"file"`` when the frames came from one that tells them; ``"nominal"`` when nothing was
        measured.
    """

    angles_deg: NDArray[np.float64]
    uncertainty_deg: NDArray[np.float64]
    source: str


class AngleRecord:
    """Gathers the angles of the projections from a run's documents while they come.

    They stand in the stream ``projection_angles`` (a continuous scan), or are the rotation's read-back in the events
    of the projections (a stepped one), in any unit of an angle. A camera that serves the frames of a file may have
    their angles in its configuration: then these count, as its frames do not see the rotation.

    Parameters
    ----------
    tomo : TomoBlock
        Of the run, a tomography.

    Attributes
    ----------
    told : ndarray of int64, shape (num_projections,)
        How often each angle was told: again when a projection was taken again, and for good by a file.

    Examples
    --------
    >>> from concertino.documents import AngleRecord, TomoBlock
    >>> record = AngleRecord(TomoBlock(
    ...     scheme="equidistant", acquisition="continuous", num_projections=3,
    ...     start_angle_deg=0, angular_range_deg=180, camera="camera", rotation="rotation",
    ... ))
    >>> record.angles().source
    'nominal'
    """

    def __init__(self, tomo: TomoBlock) -> None:
        self.tomo = tomo
        self.nominal_deg = np.rad2deg(tomo.direction * tomo.angles_rad())
        self.told = np.zeros(tomo.num_projections, np.int64)
        self._angles = self.nominal_deg.copy()
        self._uncertainty = np.full(tomo.num_projections, np.nan)
        self._sources: list[str] = []
        self._from_file = False
        self._tables: dict[str, float] = {}  # descriptors of streams of angles: deg per unit
        self._steps: dict[str, tuple[int, float, float]] = {}  # first projection, deg per unit, sd

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which angles have been told, bool (num_projections,)."""
        return np.asarray(self.told > 0)

    @property
    def expected(self) -> bool:
        """Whether a stream that tells angles has been described."""
        return bool(self._from_file or self._tables or self._steps)

    def take(self, name: str, document: Mapping[str, Any]) -> NDArray[np.int64]:
        """Take a document of the run; return the projections whose angle it told, (n,) int64."""
        if name == "descriptor":
            return self._describe(document)
        if name in ("event", "event_page") and not self._from_file:
            if document["descriptor"] in self._tables:
                return self._take_table(document)
            if document["descriptor"] in self._steps:
                return self._take_steps(document)
        return np.empty(0, np.int64)

    def angles(self) -> ProjectionAngles:
        """Return the angles, as known by now."""
        source = " and ".join(self._sources) or "nominal"
        return ProjectionAngles(self.all_deg(), self._uncertainty.copy(), source)

    def all_deg(self) -> NDArray[np.float64]:
        """Return the angle of every projection in deg, (num_projections,) float64."""
        known = np.flatnonzero(self.known)
        if not len(known):
            return self.nominal_deg.copy()
        deviation = self._angles[known] - self.nominal_deg[known]
        shift = np.interp(np.arange(len(self.told)), known, deviation)
        return np.where(self.known, self._angles, self.nominal_deg + shift)

    def all_rad(self) -> NDArray[np.float64]:
        """Return the same as a reconstruction takes it: in rad, counter-clockwise in the slice."""
        return np.deg2rad(self.tomo.direction * self.all_deg())

    def _describe(self, descriptor: Mapping[str, Any]) -> NDArray[np.int64]:
        stream, keys = descriptor.get("name", "primary"), descriptor["data_keys"]
        if stream.startswith(PROJECTION_ANGLES) and {PROJECTION, ANGLE} <= set(keys):
            self._tables[descriptor["uid"]] = _degrees_per(keys[ANGLE].get("units"), ANGLE) or 1.0
        if self.tomo.kind(stream) != "projection":
            return np.empty(0, np.int64)
        stored = device_configuration(descriptor, self.tomo.camera).get(STORED_ANGLES)
        if stored is not None and len(stored):
            return self._take_stored(np.asarray(stored, np.float64))
        key = keys.get(self.tomo.rotation or "")
        if self.tomo.acquisition == "stepped" and key is not None:
            per_unit = _degrees_per(key.get("units"), str(self.tomo.rotation))
            if per_unit is not None:
                digits = key.get("precision")
                spread = np.nan if digits is None else 10.0**-digits / np.sqrt(12)
                first = self.tomo.segment(stream).first
                self._steps[descriptor["uid"]] = (first, per_unit, spread * per_unit)
        return np.empty(0, np.int64)

    def _take_stored(self, angles_deg: NDArray[np.float64]) -> NDArray[np.int64]:
        """Take a file's angles, counter-clockwise in the slice; a camera that loops begins again."""
        count = len(self.told)
        self._angles = self.tomo.direction * np.resize(angles_deg, count)
        self._uncertainty[:] = np.nan
        self._sources, self._from_file = ["file"], True
        self.told[:] = _ALWAYS
        return np.arange(count)

    def _take_table(self, document: Mapping[str, Any]) -> NDArray[np.int64]:
        data, per_unit = document["data"], self._tables[document["descriptor"]]
        where = np.atleast_1d(np.asarray(data[PROJECTION], np.int64))
        angles = np.atleast_1d(np.asarray(data[ANGLE], np.float64)) * per_unit
        spread = np.atleast_1d(np.asarray(data.get(UNCERTAINTY, np.nan), np.float64)) * per_unit
        told = data.get(SOURCE, "computed")
        self._note([told] if isinstance(told, str) else told)
        return self._set(where, angles, np.broadcast_to(spread, where.shape))

    def _take_steps(self, document: Mapping[str, Any]) -> NDArray[np.int64]:
        first, per_unit, spread = self._steps[document["descriptor"]]
        values = document["data"].get(self.tomo.rotation)
        if values is None:
            return np.empty(0, np.int64)
        where = np.atleast_1d(np.asarray(document["seq_num"], np.int64)) - 1 + first
        self._note(["readback"])
        angles = np.atleast_1d(np.asarray(values, np.float64)) * per_unit
        return self._set(where, angles, np.full(len(where), spread))

    def _set(
        self, where: NDArray[np.int64], angles: NDArray[np.float64], spread: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        good = (where >= 0) & (where < len(self.told)) & np.isfinite(angles)
        where = where[good]
        self._angles[where], self._uncertainty[where] = angles[good], spread[good]
        np.add.at(self.told, where, 1)
        return where

    def _note(self, sources: Sequence[str]) -> None:
        for source in dict.fromkeys(sources):
            if source not in self._sources:
                self._sources.append(source)


def first_number(descriptor: Mapping[str, Any], camera: str) -> int:
    """Return the number that a camera gives to its first exposure, as a descriptor has it.

    Parameters
    ----------
    descriptor : mapping
        Of a stream of frames.
    camera : str
        Name of the camera, which is the data key of its frames.

    Returns
    -------
    int
        `UNKNOWN_NUMBER` if the descriptor does not say.
    """
    number = device_configuration(descriptor, camera).get("first_number")
    return UNKNOWN_NUMBER if number is None else int(number)


def _degrees_per(unit: str | None, device: str) -> float | None:
    """Return how many degrees one of a unit is; without a unit it is degrees, None if it is no angle's."""
    try:
        return convert({"value": 1.0, "unit": meant_unit(unit or "deg")}, "deg", parameter=device)
    except ParameterError:
        warnings.warn(
            f"{device} was read in {unit!r}, which is no unit of an angle: these angles are not used, those of "
            "the plan are. Give the device a unit such as 'deg'.",
            stacklevel=4,
        )
        return None


def frame_places(
    numbers: NDArray[np.int64], first: int, count: int | None = None
) -> list[tuple[slice, int]]:
    """Return which projections consecutive frames of a stream are, by the camera's numbers.

    A frame that the camera lost leaves its projection's place empty.

    Parameters
    ----------
    numbers : ndarray of int64, shape (n,)
        The camera's frame numbers.
    first : int
        Number of projection 0.
    count : int, optional
        Number of projections; what is beyond is left out.

    Returns
    -------
    list of (slice, int)
        Frames that follow one another, and the projection that the first of them is.

    Examples
    --------
    >>> import numpy as np
    >>> frame_places(np.array([104, 105, 107]), 100, 50)
    [(slice(0, 2, None), 4), (slice(2, 3, None), 7)]
    """
    indices = np.asarray(numbers, np.int64) - first
    inside = np.flatnonzero((indices >= 0) & (indices < (count or np.inf)))
    places, done = [], 0
    for part in index_ranges(indices[inside]):
        begin, done = int(inside[done]), done + len(part)
        places.append((slice(begin, begin + len(part)), part.start))
    return places
