"""What ``concertino init`` and ``concertino check-config`` do, and which file the other commands take."""

import json
import shlex
from pathlib import Path

from concertino import DeviceError, ParameterError, StorageError
from concertino.beamline import (
    BeamlineFile,
    BeamlineFileError,
    beamline_schema,
    find_beamline,
    read_beamline,
    report_devices,
    template,
)

#: Instead of a file: the simulated beamline of the command, which is none.
TWIN = "twin"
_YAML = (".yaml", ".yml")


def write_template(file: Path, kind: str, *, overwrite: bool) -> None:
    """Write a file to begin with.

    Raises
    ------
    ParameterError
        If there is none of this kind.
    StorageError
        If the file is there already.
    """
    text = template(kind)
    if file.suffix.lower() in _YAML:
        raise ParameterError(
            f"file: {file} was given, and files to begin with are TOML. Give a name such as beamline.toml."
        )
    if file.is_dir() or not file.parent.is_dir():
        what = "is a directory" if file.is_dir() else f"has no directory {file.parent} to stand in"
        raise StorageError(
            f"{file} was to be written, and {what}. Give the name of a file, such as beamline.toml."
        )
    if file.exists() and not overwrite:
        raise StorageError(
            f"{file} is there already. Give another name with --file, or replace it with --overwrite."
        )
    file.write_text(text, encoding="utf-8")
    print(f"written    {file}")
    named = "" if str(file) == "beamline.toml" else f" {shlex.quote(str(file))}"
    print(f"next       concertino check-config{named}; concertino start{named}")


def named_file(file: Path | None) -> Path:
    """Return the file that is meant.

    Raises
    ------
    ParameterError
        If none is named, and none is there.
    """
    found = file or find_beamline()
    if found is None:
        raise ParameterError(
            "No beamline was named: there is no beamline.toml in this directory, and CONCERTINO_BEAMLINE is not set. Give "
            "a file, or write one with: concertino init"
        )
    return found


def chosen_beamline(asked: str) -> BeamlineFile | None:
    """Return the file that a command takes, and say which; None for the simulated beamline, which it says itself.

    Parameters
    ----------
    asked : str
        A file, ``"twin"``, or nothing.

    Raises
    ------
    BeamlineFileError
        If something is wrong in it.
    StorageError
        If there is no such file.
    """
    path = Path(asked) if asked and asked != TWIN else None if asked else find_beamline()
    if path is None:
        return None
    file = read_beamline(path)
    print(f"beamline   {file.path}")
    return file


def print_schema() -> None:
    """Print the JSON schema of beamlines' files."""
    print(json.dumps(beamline_schema(), indent=2, ensure_ascii=False))


def check_file(file: Path | None, *, connect: bool) -> None:
    """Print everything that is wrong in a file, or that nothing is.

    Raises
    ------
    ParameterError
        If something is wrong; what it is was printed.
    DeviceError
        If a device does not answer; why was printed.
    """
    try:
        found = read_beamline(named_file(file))
    except BeamlineFileError as error:
        for mistake in error.mistakes:
            print(f"{error.path}:{mistake.line}: {mistake.sentence}")
        raise ParameterError(
            f"{error.path} has {_counted(len(error.mistakes), 'mistake')}; mend what is listed above."
        ) from error
    settings = found.settings
    print(f"file       {found.path}: nothing is wrong in it")
    print(
        f"devices    {_counted(len(settings.devices), 'entry', 'entries')}: {', '.join(settings.devices) or 'none'}"
    )
    roles = (f"{role} = {' + '.join(names)}" for role, names in settings.roles.items())
    print(f"roles      {', '.join(roles) or 'none'}")
    print(f"data       {found.directory}")
    if connect:
        _connect(found)


def _connect(file: BeamlineFile) -> None:
    states = report_devices(file)
    print()
    print(states)
    failed = [state.name for state in states if not state.reachable]
    if failed:
        raise DeviceError(f"{', '.join(failed)} cannot be had; see why above.")


def _counted(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"
