"""What a descriptor says of a device."""

from collections.abc import Mapping
from typing import Any


def device_configuration(descriptor: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Return the configuration of a device by short names, as far as a descriptor tells it.

    Parameters
    ----------
    descriptor : mapping
        Of a stream.
    device : str
        Name of the device, which its configuration's names begin with.

    Examples
    --------
    >>> from concertino.documents import device_configuration
    >>> told = {"configuration": {"camera": {"data": {"camera-exposure": 0.1}}}}
    >>> device_configuration(told, "camera")
    {'exposure': 0.1}
    """
    data = descriptor.get("configuration", {}).get(device, {}).get("data", {})
    return {name.removeprefix(f"{device}-"): value for name, value in data.items()}
