"""Process variables of a driver, whichever protocol carries them."""

from typing import Protocol, TypeAlias

import numpy as np

from concertino import CameraError

RecordValue: TypeAlias = int | float | str


class Records(Protocol):
    """Reads and writes PVs by their whole names; from any thread, and each call ends within its time."""

    def get(self, *names: str) -> list[RecordValue]:
        """Return what PVs hold; of an enumeration the index.

        Raises
        ------
        CameraError
            If one of them does not answer.
        """

    def put(self, name: str, value: RecordValue, *, wait: bool = True) -> None:
        """Write a value, of an enumeration the word or the index, and wait until the record has processed it.

        Raises
        ------
        CameraError
            If the PV does not answer, or refuses.
        """

    def choices(self, name: str) -> tuple[str, ...]:
        """Return the words of an enumeration; none of any other PV.

        Raises
        ------
        CameraError
            If the PV does not answer.
        """

    def limits(self, *names: str) -> list[tuple[float, float] | None]:
        """Return within which limits PVs can be set (DRVL and DRVH of a record); None for one that has none.

        Raises
        ------
        CameraError
            If one of them does not answer.
        """

    def present(self, *names: str) -> frozenset[str]:
        """Return which of some PVs there are."""


def unanswered(
    name: str, protocol: str, within_s: float, searched: str, why: object
) -> CameraError:
    """Return an error that says that a PV does not answer.

    Parameters
    ----------
    name : str
        The PV.
    protocol : str
        What it was asked by.
    within_s : float
        How long it was waited for.
    searched : str
        Where it was looked for, and what says so.
    why : object
        What the library said.
    """
    return CameraError(
        f"{name} was asked for by {protocol} and has not answered within {within_s:g} s ({why}); it was looked "
        f"for at {searched}. Check that its IOC runs, the prefix, and that no firewall is between."
    )


def refused(name: str, value: RecordValue, protocol: str, why: object) -> CameraError:
    """Return an error that says that a PV did not take a value."""
    return CameraError(
        f"{name} was to be set to {value!r} by {protocol}, and refused: {why}. Check what the driver "
        "takes, and who may write to its IOC."
    )


def some_limits(lowest: float, highest: float) -> tuple[float, float] | None:
    """Return limits, or None for a record that has none: both are 0 then, or otherwise the same."""
    return (lowest, highest) if lowest < highest else None


def text_of(found: bytes | np.ndarray) -> str:
    """Return the text in a waveform of characters, as areaDetector has its messages."""
    raw = found if isinstance(found, bytes) else np.asarray(found).astype(np.uint8).tobytes()
    return raw.partition(b"\0")[0].decode(errors="replace")
