"""Where whole scans are in HDF5 files: DXfile (Data Exchange) and NXtomo."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from concertino import ParameterError, StorageError
from concertino.units import convert, meant_unit

if TYPE_CHECKING:
    import h5py

#: A data set and which of its frames; None for all.
Selection = tuple[str, NDArray[np.int64] | None]
_PROJECTION, _FLAT, _DARK = 0, 1, 2


@dataclass(frozen=True)
class ScanLayout:
    """Where darks, flats, projections and angles of a scan are in its file."""

    name: str
    projections: Selection
    flats: Selection | None
    darks: Selection | None
    angles_deg: NDArray[np.float64] | None
    pixel_size_um: float | None = None


def find_layout(file: "h5py.File") -> ScanLayout | None:
    """Return the layout of a scan; None when the file has none that is known.

    Raises
    ------
    StorageError
        The file has a known layout whose parts do not fit together.
    """
    entry = _tomo_entry(file)
    if entry is not None:
        return _nxtomo(file, entry)
    if "exchange/data" in file:
        return _dxfile(file)
    return None


def _dxfile(file: "h5py.File") -> ScanLayout:
    group = file["exchange"]

    def stack(name: str) -> Selection | None:
        return (f"/exchange/{name}", None) if name in group else None

    angles = None
    if "theta" in group:
        angles = _degrees(group["theta"])
        _check_length(file, "/exchange/theta", len(angles), group["data"].shape[0])
    return ScanLayout(
        "DXfile", ("/exchange/data", None), stack("data_white"), stack("data_dark"), angles
    )


def _nxtomo(file: "h5py.File", entry: "h5py.Group") -> ScanLayout:
    detector = _detector(entry)
    if detector is None:
        raise StorageError(
            f"{file.filename} says that {entry.name} is an NXtomo, and has no detector with data "
            "and image_key in it. Have the program that wrote it add these, or open its images one "
            "by one with open_images."
        )
    data = detector["data"]
    # ESRF's image_key_control tells frames for alignment (-1) from projections; to image_key they are alike.
    name = "image_key_control" if "image_key_control" in detector else "image_key"
    keys = np.asarray(detector[name][()]).ravel()
    _check_length(file, f"{detector.name}/{name}", len(keys), data.shape[0])

    def frames(key: int) -> Selection:
        return data.name, np.flatnonzero(keys == key).astype(np.int64)

    angles = None
    rotation = entry.get("sample/rotation_angle")
    if rotation is not None:
        every = _degrees(rotation)
        _check_length(file, rotation.name, len(every), data.shape[0])
        angles = every[keys == _PROJECTION]
    return ScanLayout(
        "NXtomo",
        frames(_PROJECTION),
        frames(_FLAT),
        frames(_DARK),
        angles,
        _pixel_size_um(entry, detector),
    )


def _tomo_entry(file: "h5py.File") -> "h5py.Group | None":
    """Return the first group that says it is an NXtomo: an entry, or a subentry of one."""
    import h5py

    found: list[h5py.Group] = []

    def visit(_: str, item: Any) -> bool | None:
        if isinstance(item, h5py.Group) and "definition" in item:
            definition = item.get("definition")
            if isinstance(definition, h5py.Dataset) and _text(definition[()]) == "NXtomo":
                found.append(item)
                return True
        return None

    file.visititems(visit)
    return found[0] if found else None


def _detector(entry: "h5py.Group") -> "h5py.Group | None":
    import h5py

    for instrument in entry.values():
        if not isinstance(instrument, h5py.Group):
            continue
        for group in instrument.values():
            if isinstance(group, h5py.Group) and {"data", "image_key"} <= set(group):
                return group
    return None


def _degrees(dataset: "h5py.Dataset") -> NDArray[np.float64]:
    """Return angles in degrees, which is what they are in when no unit stands there."""
    return np.asarray(dataset[()], np.float64).ravel() * _per_unit(dataset, "degree", "deg")


def _pixel_size_um(entry: "h5py.Group", detector: "h5py.Group") -> float | None:
    """Return the pixel size in the plane of the sample in um; None if there is none, or it is not square."""
    sample = entry.get("sample")
    for group in (sample, detector):
        sizes = [
            float(np.ravel(group[name][()])[0]) * _per_unit(group[name], "m", "um")
            for name in ("x_pixel_size", "y_pixel_size")
            if group is not None and name in group
        ]
        if sizes and sizes[0] > 0 and np.allclose(sizes, sizes[0], rtol=1e-6):
            return sizes[0]
    return None


def _per_unit(dataset: "h5py.Dataset", default: str, wanted: str) -> float:
    """Return how many of the wanted unit one of a data set's is.

    Raises
    ------
    StorageError
        Nobody knows the unit, or it is of another kind.
    """
    unit = _text(dataset.attrs.get("units", default)).strip() or default
    try:
        return convert({"value": 1.0, "unit": meant_unit(unit)}, wanted, parameter=unit)
    except ParameterError as error:
        raise StorageError(
            f"{dataset.file.filename}:{dataset.name} is in {unit!r}, which cannot be read as "
            f"{wanted}; mend the attribute 'units' of the data set."
        ) from error


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.ravel()[0] if value.size else ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _check_length(file: "h5py.File", name: str, found: int, frames: int) -> None:
    if found != frames:
        raise StorageError(
            f"{file.filename}:{name} has {found} values for {frames} frames. Have the program that "
            "wrote it write one for each."
        )
