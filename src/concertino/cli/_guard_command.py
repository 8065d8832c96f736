"""What ``concertino guard`` does."""

from contextlib import suppress
from pathlib import Path

from concertino.guard import read_switches, serve_guard
from concertino.runtime._ending import EndedBySignal


def guard_beams(file: Path, address: str, directory: Path | None) -> None:
    """Guard beams for sessions on other computers, until a signal ends it.

    Parameters
    ----------
    file : Path
        JSON: how to switch each beam off.
    address : str
        Where to listen, ``tcp://host:port``.
    directory : Path or None
        Where reports go.

    Raises
    ------
    ParameterError
        If the file or the address is wrong.
    SessionError
        If nobody can listen there.
    """
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
    switches = read_switches(file)
    with suppress(KeyboardInterrupt, EndedBySignal):  # the end of a service, not its failure
        serve_guard(address, switches, directory, lambda text: print(text, flush=True))
