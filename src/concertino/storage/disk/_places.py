"""Where files may go: the one place that makes paths of names, and keeps them inside."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from concertino._errors import StorageError

#: Room is left for what is added to a name, within the 255 bytes that file systems allow.
_NAME_BYTES = 200


def check_name(name: str, what: str = "name") -> str:
    """Return a name that is fit to be that of one file or directory.

    It has 1 to 200 bytes as UTF-8, no slash, backslash or control character, and does not begin with a dot.
    Other names are refused, never changed: two different names shall not become one file.

    Parameters
    ----------
    name
        Of a stream, a scan, …
    what
        What it is the name of, for the message.

    Raises
    ------
    StorageError
        When it is another name.

    Examples
    --------
    >>> check_name("projections")
    'projections'
    """
    wrong = _wrong_with(name)
    if wrong:
        shown = repr(name if len(name) <= 60 else name[:60] + "…")
        raise StorageError(
            f"{what} {shown} cannot be that of a file or directory: {wrong}; choose another one."
        )
    return name


def place_in(root: str | os.PathLike[str], *names: str, what: str = "name") -> Path:
    """Return the path that names make below a directory, and nowhere else.

    Parameters
    ----------
    root
        The directory; it may itself be a symbolic link.
    names
        One of each directory on the way, and of the file or directory at its end.
    what
        What they are the names of, for messages.

    Raises
    ------
    StorageError
        When a name is unfit, see `check_name`, or a symbolic link below `root` leads out of it.

    Examples
    --------
    >>> place_in("/data", "scan_0001", "projections").as_posix()
    '/data/scan_0001/projections'
    """
    place = Path(root)
    for name in names:
        place /= check_name(name, what)
    return check_place(place, [root])


def check_place(
    path: str | os.PathLike[str], roots: Sequence[str | os.PathLike[str]], hint: str = ""
) -> Path:
    """Return a path after it was made sure that it lies in one of some directories.

    Symbolic links are followed: those above the directories do no harm, those below must not lead out.

    Parameters
    ----------
    path
        Of a file or directory, there or not; a relative one begins in the first of `roots`.
    roots
        Where it may be.
    hint
        What to do when it is elsewhere, for the message.

    Raises
    ------
    StorageError
        When it is not in any of them.
    """
    try:
        place = Path(roots[0]) / path
        real = place.resolve()
        if any(real.is_relative_to(Path(root).resolve()) for root in roots):
            return place
    except (OSError, ValueError, RuntimeError) as error:  # a NUL, too long, links in a circle
        raise StorageError(
            f"{str(path)[:200]!r} cannot be a path: {error}. Choose another one."
        ) from error
    inside = " or ".join(str(root) for root in roots)
    raise StorageError(
        f"{str(path)!r} was asked for, which is {real} and not in {inside}: nothing is read or "
        f"written there. {hint or 'Choose a place inside.'}"
    )


def _wrong_with(name: str) -> str:
    """Return what is wrong with a name; nothing when it is fit."""
    if not name:
        return "it is empty"
    if name.startswith("."):
        return "it begins with a dot"
    for character in name:
        if character in "/\\":
            return "it has a path separator"
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            return f"it has the control character {character!r}"
    if len(name.encode()) > _NAME_BYTES:
        return f"it has {len(name.encode())} bytes, more than {_NAME_BYTES}"
    return ""
