"""The catalogue's files in a data directory. Imports no tiled."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote_from_bytes

from concertino._errors import CatalogError
from concertino._extras import extra

FORMAT = 3
"""Of what we put into the catalogue and how: another number is another file."""

_OF_OLD = ("catalog.db", "catalog.db-wal", "catalog.db-shm", "tables.db", "version.json", "arrays")


class Known(NamedTuple):
    """What the catalogue knows of where a run is.

    Attributes
    ----------
    place
        Its directory, relative to the data directory.
    record_bytes
        Size of the record that was taken in.
    """

    place: str
    record_bytes: int


#: What is known of a run, or of all when no uid is given; takes the uid twice.
_KNOWN_RUNS = (
    "select key, json_extract(metadata, '$.concertino.directory'),"
    " json_extract(metadata, '$.concertino.record_bytes') from nodes where parent = 0"
    " and (? is null or key = ?)"
)


def known_runs(
    ask: Callable[[str, tuple[Any, ...]], Iterable[Any]], uid: str | None
) -> dict[str, Known]:
    """Return what a catalogue knows of its runs, by uid.

    Parameters
    ----------
    ask
        Takes a question in SQL with its values, and returns the rows of the answer.
    uid
        Of the only run that is asked for; None for all.
    """
    rows = ask(_KNOWN_RUNS, (uid, uid))
    return {str(key): Known(str(place), int(size or 0)) for key, place, size in rows}


class CatalogFiles:
    """Where the catalogue of a data directory is: a file for each version that made one.

    Nothing in it depends on the path of the data directory. Another version of tiled makes a file of its
    own beside, from the records; none is ever removed but by `remove`. Where nothing can be written, the
    file is in a temporary directory and goes with this object.

    Parameters
    ----------
    root
        The data directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @cached_property
    def _name(self) -> str:
        with extra("catalog", f"The catalogue of {self.root}"):
            return f"runs-{FORMAT}-tiled-{version('tiled')}.db"

    @property
    def directory(self) -> Path:
        """Where the files are."""
        if self._temporary is not None:
            return Path(self._temporary.name)
        return self.root / ".catalog"

    @property
    def database(self) -> Path:
        """The file.

        Raises
        ------
        MissingExtraError
            If tiled is not installed.
        """
        return self.directory / self._name

    @property
    def database_uri(self) -> str:
        """Of the database, for SQLAlchemy in tiled."""
        return f"sqlite+aiosqlite:///{self._sqlite_uri()}?uri=true"

    def make_directory(self) -> None:
        """Make the directory of the file, in a temporary place when there can be none.

        Raises
        ------
        CatalogError
            When not even there is one.
        """
        try:
            if self._temporary is None:
                self.directory.mkdir(exist_ok=True)
                if os.access(self.directory, os.W_OK | os.X_OK):
                    return
                self._temporary = tempfile.TemporaryDirectory(prefix="concertino-catalogue-")
        except FileNotFoundError as error:
            raise CatalogError(
                f"There is no data directory {self.root} to catalogue; check the path."
            ) from error
        except OSError:
            self._temporary = tempfile.TemporaryDirectory(prefix="concertino-catalogue-")

    def known_runs(self, uid: str | None = None) -> dict[str, Known]:
        """Return what the catalogue knows of its runs, by uid. Quick.

        Parameters
        ----------
        uid
            Of the only run that is asked for; all by default.

        Raises
        ------
        CatalogError
            When the file is damaged.
        """
        with suppress(OSError):
            if not self.database.exists():
                return {}
        try:
            return known_runs(self._read, uid)
        except sqlite3.Error as error:
            raise self.unreadable(error) from error

    def _read(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Return the rows of a question, where nothing can be written too."""
        try:
            with closing(self.connect("ro")) as database:
                return database.execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (
                sqlite3.SQLITE_READONLY,
                sqlite3.SQLITE_CANTOPEN,
            ):
                raise
            # A writer was killed in a transaction; only who may write can undo its part.
            with closing(self.connect("rw")) as database:
                return database.execute(query, values).fetchall()

    @property
    def identity(self) -> tuple[int, int] | None:
        """Which file it is; None when there is none."""
        try:
            about = self.database.stat()
        except OSError:
            return None
        return about.st_dev, about.st_ino

    def connect(self, mode: str = "rw") -> sqlite3.Connection:
        """Open the database, which must exist; for one thread at a time."""
        uri = f"{self._sqlite_uri()}?mode={mode}"
        return sqlite3.connect(
            uri, uri=True, timeout=30, isolation_level=None, check_same_thread=False
        )

    def unreadable(self, error: BaseException) -> CatalogError:
        """Return the error that says that the file is damaged."""
        text = (str(error).splitlines() or [type(error).__name__])[0]
        return CatalogError(
            f"The catalogue {self.database} cannot be used: {text}. Call catalog.rebuild() to make "
            "it anew from the runs' own records, which are not affected."
        )

    def remove(self) -> None:
        """Remove the file, and those of other versions.

        Raises
        ------
        CatalogError
            When the system refuses it.
        """
        try:
            for path in self._files():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise CatalogError(
                f"The catalogue in {self.directory} cannot be removed: {error.strerror}. Change its "
                "permissions, or remove it by hand."
            ) from error

    def close(self) -> None:
        """Forget a temporary file."""
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def _files(self) -> Iterator[Path]:
        if self.directory.is_dir():
            yield from self.directory.glob("runs-*.db*")
            yield from (
                self.directory / name for name in _OF_OLD if (self.directory / name).exists()
            )
        elif self.directory.exists():  # a file in its place: of somebody else
            raise CatalogError(
                f"{self.directory} is a file and no catalogue; move it away, then rebuild."
            )

    def _sqlite_uri(self) -> str:
        return "file:" + quote_from_bytes(os.fsencode(self.database.absolute()))
