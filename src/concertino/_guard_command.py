"""What ``concertino guard`` does."""

from pathlib import Path

from concertino.guard import read_switches, serve_guard


def guard_beams(file: Path, address: str, directory: Path | None) -> None:
    """Guard beams for sessions on other computers, until it is interrupted.

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
    serve_guard(address, read_switches(file), directory, lambda text: print(text, flush=True))
