"""Names that devices can have, so that streams, fields and files can be named after them."""

import unicodedata

from concertino._errors import ParameterError, ParameterTypeError

_NO_KEY = "./"
_NO_FILE = "\\'\"{}"
_LONGEST = 100


def check_device_name(name: object, part: str, *, in_files: bool = False) -> None:
    """Refuse the name of a device after which no field of a document can be named.

    Parameters
    ----------
    name : str
        Of the device.
    part : str
        What the device is, for the message, such as ``"camera"``.
    in_files : bool
        Whether streams and files are named after it, too.

    Raises
    ------
    ParameterError
        If it is empty, has a dot, a slash or a control character, or more than 100 characters; of what is in files
        also a backslash, quotes or braces.

    Examples
    --------
    >>> check_device_name("camera-1", "camera")
    """
    if not isinstance(name, str):
        raise ParameterTypeError(f"{part}: its name is {name!r}; give it a text as name.")
    bad = {letter for letter in name if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")}
    bad |= set(name) & set(_NO_KEY + (_NO_FILE if in_files else ""))
    if not name:
        wrong = "it is empty"
    elif bad:
        wrong = f"it has {' and '.join(map(repr, sorted(bad)))}"
    elif len(name) > _LONGEST:
        wrong = f"it has {len(name)} characters, more than {_LONGEST}"
    else:
        return
    shown = repr(name if len(name) <= 60 else name[:60] + "…")
    raise ParameterError(
        f"{part}: the name {shown} cannot be that of a device in a run: {wrong}. Fields, streams and files are "
        "named after devices: give it another name."
    )
