"""Paths as ``file:`` URIs, and back: the one place that quotes and unquotes them."""

import os
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

from concertino._errors import StorageError


def file_uri(path: str | os.PathLike[str], *, directory: bool = False) -> str:
    """Return the URI of a file or directory, whatever characters its path has.

    Parameters
    ----------
    path
        Made absolute; it need not exist.
    directory
        Whether it is a directory: its URI ends with a slash.

    Examples
    --------
    >>> file_uri("/data/beamtime #3/a.h5")
    'file://localhost/data/beamtime%20%233/a.h5'
    """
    text = quote_from_bytes(os.fsencode(Path(path).absolute()))
    return f"file://localhost{text}{'/' if directory and text != '/' else ''}"


def is_file_uri(uri: str) -> bool:
    """Tell whether a URI names a file or directory of this computer."""
    try:
        return urlsplit(uri).scheme == "file"
    except ValueError:
        return False


def path_of_uri(uri: str) -> Path:
    """Return the path that a ``file:`` URI names.

    Raises
    ------
    StorageError
        When it is no ``file:`` URI, or names nothing that can be a path.

    Examples
    --------
    >>> path_of_uri("file://localhost/data/beamtime%20%233/a.h5").name
    'a.h5'
    """
    if not is_file_uri(uri):
        raise StorageError(f"frames at {uri} cannot be read here: only file: URIs can")
    # What follows "?" or "#" belongs to the name: programs that do not quote write it so.
    rest = uri.split(":", 1)[1]
    if rest.startswith("//"):
        rest = "/" + rest[2:].partition("/")[2]
    path = os.fsdecode(unquote_to_bytes(rest))
    if "\0" in path:
        raise StorageError(f"the URI {uri} is damaged: no path has a NUL character")
    return Path(path)
