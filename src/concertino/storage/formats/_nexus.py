"""Groups and values of NeXus files."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import h5py


def add_group(parent: "h5py.Group", name: str, kind: str) -> "h5py.Group":
    """Add a group of a NeXus class, and return it."""
    group = parent.create_group(name)
    group.attrs["NX_class"] = kind
    return group


def add_value(group: "h5py.Group", name: str, value: Any, unit: str) -> None:
    """Add a value, or an array of them, with its unit; none is said if it is empty."""
    group[name] = value
    if unit:
        group[name].attrs["units"] = unit
