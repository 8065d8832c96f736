"""What a device may tell, but need not."""

import inspect
from typing import TypeVar

_T = TypeVar("_T")


def optional_attribute(device: object, name: str, otherwise: _T) -> _T:
    """Return an attribute of a device, or `otherwise` if it has none.

    An `AttributeError` within its answer is an error, and is not taken for its having none.
    """
    has_none = object()
    if inspect.getattr_static(device, name, has_none) is has_none:
        return otherwise
    found: _T = getattr(device, name)
    return found
