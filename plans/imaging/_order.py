"""In which order the streams of a scan are taken: each once, or darks and flats between the others."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from concertino import ParameterError
from concertino.plans.run._segments import Visit

from ._acquisition import Acquisition

_EVERY = re.compile(r"(?P<between>\S+) every (?:(?P<number>[1-9]\d*) )?(?P<stream>\S+)")


def check_order(order: Sequence[str], acquisitions: Sequence[Acquisition]) -> None:
    """Refuse an order that cannot be taken.

    Raises
    ------
    ParameterError
        If it names a stream that there is not, or one twice that is taken once, or none.
    """
    known = {acquisition.stream: acquisition for acquisition in acquisitions}
    names, once = [], []
    for entry in order:
        every = _every(entry, known)
        if every is None:
            names.append(entry)
            once += [entry] if entry in known and not _repeats(known[entry]) else []
            continue
        between, _, stream = every
        names += [between, stream]
        once.append(stream)
        if stream in known and (_repeats(known[stream]) or not _divides(known[stream])):
            raise ParameterError(
                f"order: {entry!r} was given, and {stream} are not taken in parts. Name them alone."
            )
        if between in known and not _repeats(known[between]):
            raise ParameterError(
                f"order: {entry!r} was given, and {between} are taken once. Name darks or flats there."
            )
    if not names or any(name not in known for name in names) or len(set(once)) < len(once):
        raise ParameterError(
            f"order: {list(order)} was given; name {', '.join(known)}, and at least one. Those that are no darks "
            "or flats are taken once; 'flats every 100 projections' takes flats before each hundred."
        )


def ordered(order: Sequence[str], acquisitions: Sequence[Acquisition]) -> tuple[Visit, ...]:
    """Return what is taken, one after the other.

    Parameters
    ----------
    order : sequence of str
        Streams, and what ``"flats every 100 projections"`` says.
    acquisitions : sequence of Acquisition
        What can be taken.

    Examples
    --------
    >>> from concertino.plans import Flats, Radiographs
    >>> from concertino.plans.imaging._order import ordered
    >>> taken = ordered(["flats every 2 projections", "flats"], [Flats(number=5), Radiographs(number=3)])
    >>> [(visit.stream, visit.first, visit.stop) for visit in taken]  # doctest: +NORMALIZE_WHITESPACE
    [('flats', 0, 5), ('projections', 0, 2), ('flats', 5, 10), ('projections', 2, 3), ('flats', 10, 15)]
    """
    counts = {acquisition.stream: acquisition.count for acquisition in acquisitions}
    reached: dict[str, int] = {}
    found = []
    for stream, count in (each for entry in order for each in _steps(entry, counts)):
        first = reached.get(stream, 0)
        reached[stream] = first + count
        found.append(Visit(stream, first, first + count))
    return tuple(found)


def _steps(entry: str, counts: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    every = _every(entry, counts)
    if every is None:
        yield entry, counts[entry]
        return
    between, number, stream = every
    for first in range(0, counts[stream], number):
        yield between, counts[between]
        yield stream, min(number, counts[stream] - first)


def _every(entry: str, known: Collection[str]) -> tuple[str, int, str] | None:
    """Return what ``"flats every 100 projections"`` says: also "every projection", and "every 1 projection"."""
    every = _EVERY.fullmatch(entry)
    if every is None:
        return None
    stream, several = every["stream"], f"{every['stream']}s"
    named = several if stream not in known and several in known else stream
    return every["between"], int(every["number"] or 1), named


def _repeats(acquisition: Acquisition) -> bool:
    """Whether it can be taken again and again: darks, and flats that do not belong together."""
    kinds = set(acquisition.image_kinds.values())
    return kinds <= {"dark", "flat"} and not acquisition.WHOLE


def _divides(acquisition: Acquisition) -> bool:
    """Whether it can be taken in parts."""
    return acquisition.PAUSES and not acquisition.WHOLE
