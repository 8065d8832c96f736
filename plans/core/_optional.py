"""What a device may tell, but need not."""

import inspect
from typing import Any


def optional(device: object, name: str, otherwise: Any) -> Any:
    """Return an attribute of a device, or `otherwise` if it has none.

    An `AttributeError` within its answer is an error, and is not taken for its having none.
    """
    has_none = object()
    if inspect.getattr_static(device, name, has_none) is has_none:
        return otherwise
    return getattr(device, name)
