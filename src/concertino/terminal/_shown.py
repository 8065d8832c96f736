"""Text of others, such as names of files and samples, shown in a terminal as text and nothing else."""

import re
from typing import Any, TextIO

# C0 without newline and tab, DEL, C1; what turns the direction of writing; and lone surrogates.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def shown(text: object) -> str:
    r"""Return text whose control characters are escaped, so that a terminal only shows it.

    Parameters
    ----------
    text : object
        Anything; lines and tabs stay as they are.

    Examples
    --------
    >>> shown("tooth\x1b[2J")
    'tooth\\x1b[2J'
    """
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def shown_in_line(text: object) -> str:
    r"""Return text as `shown` does, in one line.

    Examples
    --------
    >>> shown_in_line("tooth\n2")
    'tooth\\n2'
    """
    return shown(text).replace("\n", "\\n").replace("\t", "\\t")


class ShownStream:
    """Standard output through which only text gets, whoever prints what.

    Parameters
    ----------
    stream : TextIO
        Where it goes.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text, its control characters escaped.

        Raises
        ------
        TypeError
            If it is none.
        """
        if not isinstance(text, str):  # Some try whether bytes are taken.
            raise TypeError(f"text is written here, and {type(text).__name__} was given")
        self._stream.write(shown(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
