"""ESRF's way to write an NXtomo, beside the one of the standard in the same file.

References
----------
half acquisition and the position of the axis in tomoscan,
https://tomotools.gitlab-pages.esrf.fr/tomoscan/
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from concertino.documents import TomoBlock
from concertino.storage.formats._nexus import add_group

if TYPE_CHECKING:
    import h5py

# Of several NXtomo in a file, nabu and tomoscan take the first by name.
_NAME = "ESRF"
_VERSION = 2.1  # of nxtomo's names, by which tomoscan looks for everything else
# Groups that get members of their own.
_OWN: Mapping[str, Any] = {"instrument": {"detector": {}}, "sample": {}}


def add_esrf_view(entry: "h5py.Group", tomo: TomoBlock) -> None:
    """Add a group that has the members of an entry, and those that ESRF's programs do not do without.

    Validators accept no member of an entry that NXtomo does not define; this group is no entry to them.

    Parameters
    ----------
    entry
        The whole NXtomo entry. Its data sets are linked.
    tomo
        Of the scan.
    """
    view = add_group(entry.file, _NAME, "NXcollection")
    view.attrs["version"] = _VERSION
    _link(entry, view, _OWN)
    detector, sample = view["instrument/detector"], view["sample"]
    detector["image_key_control"] = np.asarray(detector["image_key"], np.int8)
    detector["field_of_view"] = "Half" if tomo.half_acquisition else "Full"
    detector["half_acquisition"] = tomo.half_acquisition
    for name in ("x_pixel_size", "y_pixel_size"):
        if name in detector:
            sample[name] = detector[name]


def _link(source: "h5py.Group", target: "h5py.Group", own: Mapping[str, Any]) -> None:
    for name, member in source.items():
        if name not in own:
            target[name] = member
            continue
        _link(member, add_group(target, name, member.attrs["NX_class"]), own[name])
