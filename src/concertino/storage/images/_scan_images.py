"""Whole scans out of one HDF5 file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from concertino import StorageError

from ._hdf5_images import image_datasets, open_dataset, open_hdf5, readable
from ._image_sources import sequence_of
from ._raw_frames import Region
from ._scan_layouts import Selection, find_layout
from ._stored_frames import StoredFrames


@dataclass(frozen=True)
class ScanImages:
    """The frames of a scan.

    Parameters
    ----------
    darks, flats, projections : StoredFrames
        Frames of each kind; without frames if the file has none of that kind.
    angles_deg : NDArray, shape (n,), float64, or None
        Angle of each projection, in degrees; None if the file does not tell.
    layout : str
        ``"DXfile"`` or ``"NXtomo"``.
    pixel_size_um : float, or None
        Of a pixel in the plane of the sample, in um; None if the file does not tell.
    """

    darks: StoredFrames
    flats: StoredFrames
    projections: StoredFrames
    angles_deg: NDArray[np.float64] | None
    layout: str
    pixel_size_um: float | None = None


def open_scan(path: str | Path, *, start: int = 0, roi: Region | None = None) -> ScanImages:
    """Open a scan stored as DXfile (Data Exchange) or NXtomo.

    Parameters
    ----------
    path : str or Path
        The HDF5 file.
    start : int
        Projections left out at the beginning.
    roi : (int, int, int, int), optional
        Row, column, height and width of a region of interest, in px, for frames of all kinds.

    Raises
    ------
    StorageError
        The file is missing, damaged, or holds no scan of a known layout.
    ParameterError
        The region reaches outside, or `start` is past the end.

    References
    ----------
    F. De Carlo et al., "Scientific data exchange: a schema for HDF5-based storage of raw and analyzed
    data", J. Synchrotron Rad. 21 (2014) 1224-1230, doi:10.1107/S160057751401604X.
    NXtomo: https://manual.nexusformat.org/classes/applications/NXtomo.html

    Examples
    --------
    >>> from concertino.storage import open_scan, sample_path
    >>> scan = open_scan(sample_path())
    >>> len(scan.projections), scan.layout
    (181, 'DXfile')
    """
    path = Path(path)
    with open_hdf5(path) as file, readable(path):
        layout = find_layout(file)
        stacks = image_datasets(file)
    if layout is None:
        present = ", ".join(f"{name} {shape}" for name, shape in stacks.items())
        raise StorageError(
            f"{path} is neither a DXfile (/exchange/data) nor an NXtomo; the images in it are: "
            f"{present or 'none'}. Open them one by one with open_images."
        )

    def sequence(selection: Selection | None, first: int = 0) -> StoredFrames:
        # without frames of this kind: the projections' file, and none of its frames
        name, indices = selection or (layout.projections[0], np.empty(0, np.int64))
        return sequence_of(
            open_dataset(open_hdf5(path), name),
            f"{path}:{name}",
            indices=indices,
            start=first,
            roi=roi,
        )

    projections = sequence(layout.projections, start)
    if len(projections) == 0:
        raise StorageError(
            f"{path} is an NXtomo without projections (image_key_control, or image_key, 0). Give "
            "another file."
        )
    return ScanImages(
        darks=sequence(layout.darks),
        flats=sequence(layout.flats),
        projections=projections,
        angles_deg=None if layout.angles_deg is None else layout.angles_deg[start:],
        layout=layout.name,
        pixel_size_um=layout.pixel_size_um,
    )
