"""The catalogue's files in a data directory, and which versions made them. Imports no tiled."""

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
from packaging.version import Version

from concertino._errors import CatalogError

from ._space import check_directory

FORMAT = 1
"""Of what we put into the catalogue and how; raised when an older Concertino could not read it."""


class CatalogFiles:
    """Where the catalogue of a data directory is.

    Parameters
    ----------
    root
        The data directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directory = root / ".catalog"
        self.database = self.directory / "catalog.db"
        self.tables = self.directory / "tables.db"
        self.arrays = self.directory / "arrays"
        self._version = self.directory / "version.json"

    @property
    def database_uri(self) -> str:
        """Of the database, for SQLAlchemy."""
        return f"sqlite+aiosqlite:///{self.database}"

    def check(self) -> None:
        """Refuse a catalogue that a newer version made.

        Raises
        ------
        CatalogError
            Naming the versions, and what to do.
        """
        made_by = self.made_by()
        known = {"concertino": version("concertino"), "tiled": version("tiled")}
        newer = [
            name
            for name, number in known.items()
            if name in made_by and Version(made_by[name]) > Version(number)
        ]
        if made_by.get("format", 0) > FORMAT or "tiled" in newer:
            made = ", ".join(f"{name} {made_by.get(name, '?')}" for name in known)
            have = ", ".join(f"{name} {number}" for name, number in known.items())
            raise CatalogError(
                f"the catalogue {self.directory} was made by a newer version ({made}) than is "
                f"installed ({have}); upgrade them, or remove {self.directory}: the catalogue is then "
                "made anew from the runs' own records"
            )

    def made_by(self) -> dict[str, Any]:
        """Return the versions that made the catalogue; empty when there is none."""
        try:
            content = self._version.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise CatalogError(f"cannot read {self._version}: {error.strerror}") from error
        try:
            found = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise CatalogError(
                f"{self._version} is damaged ({error}); remove {self.directory}: the catalogue is then "
                "made anew from the runs' own records"
            ) from error
        return dict(found)

    def known_runs(self) -> set[str]:
        """Return the uids of the runs that the catalogue has whole. Quick."""
        if not self.database.exists():
            return set()
        query = "select key from nodes where parent = 0 and json_extract(metadata, '$.stop') is not null"
        try:
            with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
                return {str(key) for (key,) in database.execute(query)}
        except sqlite3.Error as error:
            raise CatalogError(
                f"the catalogue {self.database} cannot be read: {error}; if it is damaged, remove "
                f"{self.directory}: it is then made anew from the runs' own records"
            ) from error

    def sign(self) -> None:
        """Write down which versions made the catalogue, and of which directory."""
        content = {
            "format": FORMAT,
            "concertino": version("concertino"),
            "tiled": version("tiled"),
            "root": str(self.root),
        }
        temporary = self._version.with_suffix(".new")
        temporary.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
        temporary.replace(self._version)

    @property
    def moved(self) -> bool:
        """Whether the data directory was moved since the catalogue was made."""
        root = self.made_by().get("root")
        return root is not None and root != str(self.root)

    def remove(self) -> None:
        """Remove the catalogue, not its lock."""
        for path in self.directory.glob("*"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from making or rebuilding the catalogue meanwhile."""
        check_directory(self.directory)
        file = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)
