"""Read a beamline's file."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import SettingsError

from ._check import Check
from ._file_errors import in_file, mistakes_of, unread_variable, without
from ._mistakes import BeamlineFileError, Mistake
from ._settings import BeamlineSettings
from ._source_file import SourceFile, read_source

#: The file that commands take by default, in the working directory, and the variable that names another.
DEFAULT_NAME, VARIABLE = "beamline.toml", "CONCERTINO_BEAMLINE"
_MOST = 20


@dataclass(frozen=True)
class BeamlineFile:
    """A beamline's file in which nothing is wrong, as far as that is known before devices are connected.

    Attributes
    ----------
    path : Path
        The file.
    settings : BeamlineSettings
        What it says.
    source : SourceFile
        Its lines.
    """

    path: Path
    settings: BeamlineSettings
    source: SourceFile

    @property
    def directory(self) -> Path:
        """The data directory."""
        return self.path.parent / self.settings.data.directory.expanduser()


def read_beamline(path: str | os.PathLike[str]) -> BeamlineFile:
    """Read a beamline's file and look at all of it; no device is made.

    Modules that it names may lie beside it: its directory is looked in after all others of ``sys.path``.

    Parameters
    ----------
    path : str or path
        In TOML, or in YAML if its name ends so.

    Raises
    ------
    BeamlineFileError
        With everything that is wrong in it, in sentences with line numbers.
    StorageError
        If there is no such file.
    """
    source = read_source(Path(path))
    beside = str(source.path.parent.absolute())
    if beside not in sys.path:
        sys.path.append(beside)
    mistakes = list(source.mistakes)
    settings: BeamlineSettings | None = None
    data = source.data
    for _ in range(_MOST):
        try:
            settings = BeamlineSettings(**data)
            break
        except SettingsError as error:
            mistakes.append(unread_variable(error))
            break
        except ValidationError as error:
            mistakes += mistakes_of(error, source)
            for one in error.errors():
                data = without(data, in_file(one["loc"]))
    if settings is not None:
        written = source.data.get("devices", {})
        names = list(written) if isinstance(written, dict) else []
        mistakes += Check(source, settings, names).mistakes()
    if mistakes or settings is None:
        raise BeamlineFileError(
            source.path,
            mistakes or [Mistake(0, "It cannot be read. Begin anew with: concertino init")],
        )
    return BeamlineFile(source.path, settings, source)


def find_beamline() -> Path | None:
    """Return the file that is meant when none is named; None if there is none.

    That of the environment variable ``CONCERTINO_BEAMLINE``, or ``beamline.toml`` in the working directory.
    """
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    path = Path(DEFAULT_NAME)
    return path if path.is_file() else None
