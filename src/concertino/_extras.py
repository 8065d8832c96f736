"""What an installation says that lacks one of Concertino's extras."""

from collections.abc import Iterator
from contextlib import contextmanager

from ._errors import MissingExtraError


@contextmanager
def extra(name: str, purpose: str) -> Iterator[None]:
    """Have imports say which extra they need, when it is not installed.

    Where a package should not be imported yet, ``importlib.metadata.version`` tells whether it is there.

    Parameters
    ----------
    name : str
        The extra, as in ``pip install 'concertino[name]'``.
    purpose : str
        What cannot be had without it; the sentence begins with it.

    Raises
    ------
    MissingExtraError
        If something that the block imports cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        if isinstance(error, MissingExtraError) or (error.name or "").startswith("concertino"):
            raise  # said already, or a fault of ours
        raise MissingExtraError(
            f"{purpose} needs the extra {name!r} ({error}); install it with: pip install 'concertino[{name}]'."
        ) from error
