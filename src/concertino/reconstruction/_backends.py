"""Who can compute, and what."""

from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True)
class Backend:
    """A way of computing.

    Attributes
    ----------
    name
        What `ReconstructionSettings.backend` takes.
    available
        Whether it works on this machine.
    reason
        Why it is chosen, or what is missing.
    geometries
        What it can reconstruct.
    """

    name: str
    available: bool
    reason: str
    geometries: tuple[str, ...]


def backends() -> tuple[Backend, ...]:
    """Return all back ends, the preferred one first.

    Examples
    --------
    >>> backends()[0].name
    'cpu'
    """
    compiled = find_spec("numba") is not None and find_spec("scipy") is not None
    reason = "compiled by numba for this machine" if compiled else "install numba and scipy"
    return (Backend("cpu", compiled, reason, ("parallel",)),)
