"""The sample scan that comes with the package."""

from pathlib import Path


def sample_path() -> Path:
    """Return the path of a real scan: a human tooth, as DXfile, cropped to under 1 MB.

    181 projections over 180 degrees, 10 flats and 10 darks, two rows each; the rotation axis lies
    near the attribute ``rotation_axis_px`` of ``/exchange/data``. It was taken at the Advanced
    Photon Source and is published with tomopy; its licence lies beside it.
    """
    return Path(__file__).parent / "sample" / "tooth_crop.h5"
