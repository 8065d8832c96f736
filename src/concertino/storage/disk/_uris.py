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
        raise StorageError(
            f"Frames at {uri} cannot be read here: only file: URIs can. Copy them to a disk of this "
            "computer."
        )
    # What follows "?" or "#" belongs to the name: programs that do not quote write it so.
    rest = uri.split(":", 1)[1]
    if rest.startswith("//"):
        rest = "/" + rest[2:].partition("/")[2]
    path = os.fsdecode(unquote_to_bytes(rest))
    if "\0" in path:
        raise StorageError(
            f"The URI {uri} is damaged: no path has a NUL character. Restore the run's documents "
            "from a copy."
        )
    return Path(path)


def place_of(uri: str, recorded: str, directory: Path) -> Path:
    """Return where the file or directory of a URI is now.

    Parameters
    ----------
    uri
        As recorded.
    recorded
        The run's directory as recorded; may be empty.
    directory
        The run's directory now: what moved with it is found relative to it.

    Raises
    ------
    StorageError
        When it is not a file's URI.
    """
    original = path_of_uri(uri)
    if recorded:
        moved = Path(os.path.normpath(directory / os.path.relpath(original, recorded)))
        if os.path.exists(moved):
            return moved
    return original


def current_uri(uri: str, recorded: str, directory: Path) -> str:
    """Return the URI of the place where the file or directory of a URI is now: see `place_of`."""
    if not is_file_uri(uri):
        return uri
    return file_uri(place_of(uri, recorded, directory), directory=uri.endswith("/"))
