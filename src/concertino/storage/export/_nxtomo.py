"""A stored tomography as one NXtomo file, for the programs of others.

References
----------
NXtomo application definition, https://manual.nexusformat.org/classes/applications/NXtomo.html
"""

import contextlib
import datetime
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from concertino._errors import StorageError
from concertino.documents import ImageKind, TomoBlock
from concertino.storage.disk._disk import reserve_space
from concertino.storage.formats._nexus import add_group, add_value
from concertino.storage.runs._run import Run
from concertino.storage.runs._run_heights import run_heights
from concertino.storage.runs._stored_scan import ScanPiece, StoredScan
from concertino.units import QuantityLike, convert

from ._nxtomo_esrf import add_esrf_view

if TYPE_CHECKING:
    import h5py

_IMAGE_KEYS: Mapping[ImageKind, int] = {"projection": 0, "flat": 1, "dark": 2}
#: As NXsource calls them.
_SOURCE_TYPES = {"synchrotron": "Synchrotron X-ray Source", "tube": "Fixed Tube X-ray"}
_BATCH_BYTES = 32 * 2**20
_EXTRA_BYTES = 128  # a frame's place in the file's index, its key, angle and height
_MARGIN_BYTES = 256 * 1024


def export_nxtomo(
    run: Run,
    path: str | Path,
    *,
    camera: str | None = None,
    energy: QuantityLike | None = None,
    propagation_distance: QuantityLike | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], Any] | None = None,
) -> Path:
    """Write a tomography run into one HDF5 file in the NXtomo layout.

    Runs that resume one another are one scan, each of its frames once. Projections that are missing are
    left out, with their angles. Every frame is verified by its checksum as it is read.

    Parameters
    ----------
    run
        A tomography run; of several that are linked any one.
    path
        The file; it appears when it is whole.
    camera
        Name of the camera whose frames are written; the first of the run's by default.
    energy, propagation_distance
        Of the photons, in keV, and from sample to detector, in mm, where the run does not tell them.
    overwrite
        Take the place of a file that is there.
    progress
        Called with frames written and frames in all.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DocumentError
        If it is no tomography, or has no such camera.
    ParameterError
        If energy or distance are none.
    StorageError
        If no projections are stored or frames are damaged, or the file is there already or cannot be
        written.

    Notes
    -----
    ``/entry/instrument/detector`` has ``data`` (frame, row, column), ``image_key`` (0 projection, 1 flat,
    2 dark) and the pixel sizes in the plane of the sample, in m;
    ``/entry/sample`` has ``rotation_angle`` in degrees, counter-clockwise in the slice, and of a spiral
    ``z_translation`` in m; ``/entry/instrument/per_frame`` a value of each signal for each frame, if the plan was told
    to take some. ``/ESRF`` is the same scan with the same frames, not stored again, as ESRF's
    programs (nabu, tomoscan) want it: with members that NXtomo does not have.

    Examples
    --------
    >>> from concertino.storage import export_nxtomo, open_run
    >>> export_nxtomo(open_run("data/scan_0001"), "tooth.nx")  # doctest: +SKIP
    PosixPath('tooth.nx')
    """
    import h5py

    path = Path(path)
    if path.exists() and not overwrite:
        raise StorageError(f"{path} is there already; choose another file, or overwrite it.")
    scan = StoredScan(run, camera)
    tomo, angles = _completed(scan.tomo, energy, propagation_distance), scan.angles()
    if not any(piece.kind == "projection" for piece in scan.pieces):
        raise StorageError(
            f"{run.name} cannot be exported: no projections of it are stored. Take the scan again "
            "with an ImageWriter subscribed."
        )
    columns = _per_frame(scan, np.rad2deg(angles.all_rad()))
    first, frames = scan.pieces[0].frames, sum(map(len, scan.pieces))
    frame_bytes = first.nbytes // max(1, len(first))
    part = path.with_name(f".{path.name}.part")
    done = 0
    try:
        with part.open("wb") as room:
            # HDF5 cannot close a file on a full disk: all of it must be sure before it begins.
            size = frames * (frame_bytes + _EXTRA_BYTES) + _MARGIN_BYTES
            reserve_space(room.fileno(), 0, size)
            with h5py.File(part, "w") as file:
                reserve_space(room.fileno(), 0, size)  # it began anew
                data = _made(file, scan, tomo, run, columns)
                for batch in _batches(scan.pieces, max(1, _BATCH_BYTES // frame_bytes)):
                    data[done : done + len(batch)] = batch
                    done += len(batch)
                    if progress is not None:
                        progress(done, frames)
            # What was reserved beyond it goes back.
            os.ftruncate(room.fileno(), part.stat().st_size)
            os.fsync(room.fileno())
        part.replace(path)
    except StorageError:
        raise  # a frame that cannot be read
    except (OSError, RuntimeError) as error:  # HDF5 raises both
        raise StorageError(
            f"{path} cannot be written: {error} ({frames} frames of {frame_bytes} bytes, {done} of "
            "them done); free some space or choose another place."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return path


def _completed(
    tomo: TomoBlock, energy: QuantityLike | None, distance: QuantityLike | None
) -> TomoBlock:
    """Return the block with what is known besides."""
    more: dict[str, float] = {}
    if energy is not None:
        more["energy_kev"] = convert(energy, "keV", parameter="energy", positive=True)
    if distance is not None:
        more["propagation_distance_mm"] = convert(
            distance, "mm", parameter="propagation_distance", minimum=0
        )
    return tomo.model_copy(update=more)


def _batches(pieces: Sequence[ScanPiece], at_once: int) -> Iterator[NDArray[Any]]:
    for piece in pieces:
        for start in range(piece.start, piece.stop, at_once):
            yield piece.frames.read(start, min(start + at_once, piece.stop))


class _Columns(NamedTuple):
    """What is told of each frame.

    Attributes
    ----------
    keys
        What it is, as NXtomo numbers it.
    angles_deg, heights_mm
        Where the sample was; no heights where it does not rise.
    """

    keys: NDArray[np.uint8]
    angles_deg: NDArray[np.float64]
    heights_mm: NDArray[np.float64] | None


def _per_frame(scan: StoredScan, angles_deg: NDArray[np.float64]) -> _Columns:
    """Return what is told of each frame.

    Darks and flats are where the next projection is, or the last one, as nothing turns meanwhile.
    """
    tomo, keys, places = scan.tomo, [], []
    for piece in scan.pieces:
        keys.append(np.full(len(piece), _IMAGE_KEYS[piece.kind], np.uint8))
        numbers = np.full(len(piece), -1)
        if piece.kind == "projection":
            numbers = np.arange(piece.first, piece.first + len(piece))
        places.append(numbers)
    number = np.concatenate(places)
    projections = np.flatnonzero(number >= 0)
    following = np.searchsorted(projections, np.arange(len(number)))
    number = number[projections[np.minimum(following, len(projections) - 1)]]
    heights = run_heights(*scan.runs)[number] if tomo.scheme == "spiral" else None
    return _Columns(np.concatenate(keys), angles_deg[number], heights)


def _made(
    file: "h5py.File", scan: StoredScan, tomo: TomoBlock, run: Run, columns: _Columns
) -> "h5py.Dataset":
    """Make all of a file but the frames, and return the data set that they go to."""
    entry = _groups(file, scan, tomo, run)
    sample, detector = entry["sample"], entry["instrument/detector"]
    first = scan.pieces[0].frames
    data = detector.create_dataset(
        "data", (len(columns.keys), *first.shape[1:]), first.dtype, chunks=(1, *first.shape[1:])
    )
    detector["image_key"] = columns.keys
    add_value(sample, "rotation_angle", columns.angles_deg, "degree")
    if columns.heights_mm is not None:
        add_value(sample, "z_translation", columns.heights_mm * 1e-3, "m")
    exposures = [piece.exposure_s for piece in scan.pieces]
    if all(exposures):
        counts = [len(piece) for piece in scan.pieces]
        exposed = np.repeat(np.array(exposures, np.float64), counts)
        add_value(detector, "count_time", exposed, "s")
    told = scan.frame_values()
    if told:
        beside = add_group(entry["instrument"], "per_frame", "NXcollection")
        for key, column in told.items():
            add_value(beside, key, column.values, column.unit)
    _links(entry)
    add_esrf_view(entry, tomo)
    return data


def _groups(file: "h5py.File", scan: StoredScan, tomo: TomoBlock, run: Run) -> "h5py.Group":
    """Make the groups that NXtomo wants, with what the documents tell."""
    file.attrs["default"] = "entry"
    entry = add_group(file, "entry", "NXentry")
    entry.attrs["default"] = "data"
    entry["definition"] = "NXtomo"
    sample_name = _name_of(scan.runs[0].start.get("sample")) or scan.name
    entry["title"] = sample_name
    entry["entry_identifier"] = run.uid
    entry["start_time"] = _iso(scan.runs[0].start["time"])
    stop = scan.runs[-1].stop
    if stop is not None:
        entry["end_time"] = _iso(stop["time"])
    instrument = add_group(entry, "instrument", "NXinstrument")
    source = add_group(instrument, "SOURCE", "NXsource")
    source["probe"] = "x-ray"
    if tomo.source_kind is not None:
        source["type"] = _SOURCE_TYPES[tomo.source_kind]
    if tomo.source_distance_mm is not None:  # Upstream is negative.
        add_value(source, "distance", -tomo.source_distance_mm * 1e-3, "m")
    beam = add_group(instrument, "beam", "NXbeam")
    detector = add_group(instrument, "detector", "NXdetector")
    detector["local_name"] = tomo.camera
    if tomo.pixel_size_um is not None:
        for name in ("x_pixel_size", "y_pixel_size"):
            add_value(detector, name, tomo.pixel_size_um * 1e-6, "m")
    if tomo.propagation_distance_mm is not None:
        add_value(detector, "distance", tomo.propagation_distance_mm * 1e-3, "m")
    if tomo.rotation_axis_px is not None:
        width = scan.pieces[0].frames.shape[2]
        from_middle = tomo.rotation_axis_px - (width - 1) / 2
        add_value(detector, "x_rotation_axis_pixel_position", from_middle, "pixel")
    if tomo.energy_kev is not None:
        add_value(beam, "incident_energy", tomo.energy_kev, "keV")
    sample = add_group(entry, "sample", "NXsample")
    sample["name"] = sample_name
    return entry


def _name_of(sample: Any) -> str:
    """Return the name of a sample, which may be a mapping with more than that."""
    if not isinstance(sample, Mapping):
        return str(sample or "")
    named = sample.get("name") or ", ".join(f"{key} {value}" for key, value in sample.items())
    return str(named)


def _links(entry: "h5py.Group") -> None:
    """Make the group that programs plot by default."""
    data = add_group(entry, "data", "NXdata")
    data.attrs["signal"] = "data"
    data.attrs["axes"] = ["rotation_angle", ".", "."]
    for name, target in (
        ("data", "instrument/detector/data"),
        ("image_key", "instrument/detector/image_key"),
        ("rotation_angle", "sample/rotation_angle"),
    ):
        entry[target].attrs["target"] = f"/entry/{target}"
        data[name] = entry[target]


def _iso(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()
