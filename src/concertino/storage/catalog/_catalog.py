"""The catalogue of a data directory: tiled on SQLite, in this process, without a server."""

import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import orjson

from concertino._errors import CatalogError, StorageError
from concertino._extras import extra
from concertino.storage.record._document_file import DOCUMENTS, record_bytes
from concertino.storage.record._record import is_recorded
from concertino.storage.runs._find_runs import find_runs, open_run, run_directories
from concertino.storage.runs._run import Run

from ._catalog_files import CatalogFiles, Known
from ._catalog_missing import MissingRun, Refused, named

if TYPE_CHECKING:
    from ._catalog_rows import RunRows

LOG = logging.getLogger(__name__)

_LOOK_S = 10.0
_CLOSE_S = 0.2
_NOT_YET = "it has not been taken in yet"


class Catalog:
    """All runs in a data directory, for searching. Made by `Catalog.open`.

    It is an index of the runs' own records, and what it lacks it takes in when it is used: about 10 ms a
    run. The data directory may be moved, linked or mounted elsewhere. Nothing of tiled is imported before
    it is needed; the first use takes seconds. It is of the extra ``catalog``: without, there is `runs` only.

    Attributes
    ----------
    root : Path
        The data directory.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).absolute()
        self._files = CatalogFiles(self.root)
        self._client: Any = None
        self._opened: tuple[int, int] | None = None
        self._lock = threading.RLock()  # of the client
        self._writing = threading.RLock()
        self._unused = False  # since it was closed
        self._rows: RunRows | None = None
        self._refused: dict[str, Refused] = {}  # by place

    @classmethod
    def open(cls, root: str | os.PathLike[str]) -> Self:
        """Open the catalogue of a data directory; it is made when it is used first.

        Parameters
        ----------
        root
            The data directory.
        """
        return cls(root)

    @property
    def client(self) -> Any:
        """The catalogue as a client of tiled: ``CatalogOfBlueskyRuns``.

        Raises
        ------
        CatalogError
            When it cannot be opened.
        """
        with self._lock:
            if self._client is not None and self._files.identity != self._opened:
                self._client.context.close()  # somebody removed it, or made it anew
                self._client = None
            if self._client is None:
                self._client = self._open_client()
            return self._client

    def __getitem__(self, which: str | int) -> Any:
        """Return a run as tiled and databroker give it: ``run["projections"].read()``.

        Parameters
        ----------
        which
            As `open_run` takes it: scan name, uid or the beginning of it, scan id, or -1 for the newest
            experiment, -2 for the one before, ... (runs computed from others do not count).

        Raises
        ------
        CatalogError
            When there is no such run, more than one, or it cannot be taken in.
        """
        try:
            run = open_run(which, self.root)
        except StorageError as error:
            if isinstance(which, str) and len(which) >= 4:
                with suppress(KeyError, ValueError):  # a run whose directory is gone
                    return self.client[which]
            raise CatalogError(f"The catalogue of {self.root}: {error}") from error
        if not self.take_in(run.directory):
            raise CatalogError(f"{run.directory} cannot be catalogued: {self._why(run.directory)}")
        return self.client[run.uid]

    def __len__(self) -> int:
        self._complete()
        return len(self._files.known_runs())  # tiled's client remembers its length for a while

    def runs(self) -> list[Run]:
        """Return all runs in the data directory, the newest first, from their records.

        Quick: nothing of tiled is used.
        """
        return find_runs(self.root)

    def search(self, query: Any = None, **equal: Any) -> Any:
        """Return the part of the catalogue that fits; a warning is logged when runs are missing in it.

        Parameters
        ----------
        query
            A query of `tiled.queries` or `bluesky_tiled_plugins.queries`; keys without ``start.`` or
            ``stop.`` mean the start document.
        **equal
            Fields of the start document and the values that they must have.

        Examples
        --------
        >>> catalog.search(sample="tooth")[-1]["projections"].read()  # doctest: +SKIP
        """
        with extra("catalog", "The catalogue"):
            from tiled.queries import Eq
        self._complete()
        result = self.client if query is None else self.client.search(query)
        for key, value in equal.items():
            result = result.search(
                Eq(key, value.item() if isinstance(value, np.generic) else value)
            )
        return result

    def missing(self) -> list[MissingRun]:
        """Return the runs in the data directory that the catalogue has not, and why.

        Runs that are being recorded at this moment are left out.

        Raises
        ------
        CatalogError
            When the catalogue is damaged.
        """
        known = {entry.place: entry for entry in self._files.known_runs().values()}
        return [
            MissingRun(directory, self._why(directory))
            for directory in sorted(run_directories(self.root))
            if self._lacks(directory, known) and not is_recorded(directory / DOCUMENTS)
        ]

    def catch_up(self) -> int:
        """Take in the runs that the catalogue has not; what cannot be taken in is told by `missing`.

        Returns
        -------
        int
            How many were taken in.

        Raises
        ------
        CatalogError
            When the catalogue cannot be written at all.
        """
        self._refused.clear()
        return sum(self.take_in(each.directory) for each in self.missing())

    def take_in(self, directory: Path) -> bool:
        """Take one run in, unless the catalogue has it already.

        Parameters
        ----------
        directory
            The run's directory, below the data directory.

        Returns
        -------
        bool
            Whether the catalogue has it now; if not, `missing` says why, and so does a warning in the log.
        """
        place = self._place(directory)
        self._files.database  # noqa: B018  a missing extra is no fault of the run
        self._unused = False
        with self._writing:
            size = record_bytes(directory)  # before it is read: it may grow meanwhile
            refused = self._refused.get(place)
            if place.startswith(os.pardir) or (refused and refused.by_run and refused.size == size):
                return False
            try:
                run = Run(directory)
                run.index  # noqa: B018  what is damaged is told before anything is written
                self._write(run, place, size)
            except Exception as error:  # of libraries, and of disks: an index costs nobody a scan
                self._refuse(place, size, error)
                return False
            finally:
                if self._unused:  # it was closed meanwhile
                    self._let_go()
            self._refused.pop(place, None)
            return True

    def postponed(self) -> list[Path]:
        """Return the directories of runs that the catalogue could not take in and may take in later."""
        with self._writing:
            return [self.root / at for at, refused in self._refused.items() if not refused.by_run]

    def rebuild(self) -> int:
        """Make the catalogue anew from the runs' own records.

        Returns
        -------
        int
            How many runs it has.

        Raises
        ------
        CatalogError
            When the catalogue cannot be removed or written.
        """
        self._files.database  # noqa: B018  nothing is removed that cannot be made anew
        self.close()
        with self._writing:
            self._let_go()
            self._files.remove()
        return self.catch_up()

    def add_profile(self, name: str = "concertino", directory: str | Path | None = None) -> Path:
        """Write a profile of tiled, so that ``databroker.catalog[name]`` is this catalogue.

        Parameters
        ----------
        name
            Of the catalogue.
        directory
            For the profile; by default where tiled looks for the user's profiles. Another one is looked
            in by this process from now on, by others when the environment variable ``TILED_PROFILES``
            names it.

        Returns
        -------
        Path
            The profile.
        """
        with extra("catalog", "The catalogue"):
            from tiled import profiles

            from ._catalog_tree import direct_configuration
        self.client  # noqa: B018  the database must be there
        place = profiles.paths[-1] if directory is None else Path(directory)
        if place not in profiles.paths:
            profiles.paths.append(place)
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"{name}.yml"
        content = {name: {"direct": direct_configuration(self.root)}}
        path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))  # is YAML too
        return path

    def close(self) -> None:
        """Close the database; what a thread still works on it closes itself. It opens again when it is used again."""
        if self._lock.acquire(timeout=_CLOSE_S):
            try:
                if self._client is not None:
                    self._client.context.close()
                    self._client = None
            finally:
                self._lock.release()
        self._unused = True
        if self._writing.acquire(timeout=_CLOSE_S):
            try:
                self._let_go()
            finally:
                self._writing.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Catalog of {self.root}>"

    def _open_client(self) -> Any:
        with extra("catalog", "The catalogue"):
            from ._catalog_tree import open_client, prepare_database
        prepare_database(self._files)
        self._opened = self._files.identity  # before it is read: it may be made anew meanwhile
        try:
            self._files.known_runs()
            return open_client(self._files)
        except CatalogError:
            raise
        except Exception as error:  # SQLAlchemy's, tiled's: the file is no catalogue
            raise self._files.unreadable(error) from error

    def _complete(self) -> None:
        """Take in what is missing, for a while; say what still is."""
        missing = self.missing()
        left: list[Path] = []
        until = float("inf")
        for each in missing:
            if time.monotonic() > until or not self.take_in(each.directory):
                left.append(each.directory)
            until = min(until, time.monotonic() + _LOOK_S)  # tiled's import is not part of it
        if left:
            LOG.warning(
                "The catalogue of %s lacks %d runs: %s; catalog.missing() says why, catalog.catch_up() "
                "tries again, and catalog.runs() lists all", self.root, len(left), named(left),
            )  # fmt: skip

    def _write(self, run: Run, place: str, size: int) -> None:
        with extra("catalog", "The catalogue"):
            from ._catalog_rows import RunRows
            from ._catalog_tree import prepare_database
        entry = self._files.known_runs(run.uid).get(run.uid)
        if entry == Known(place, size):
            return
        if entry is not None and entry.place != place and self._is_run(entry.place, run.uid):
            raise StorageError(f"It is a copy of {entry.place}, which the catalogue has.")
        prepare_database(self._files)
        if self._rows is None or self._rows.identity != self._files.identity:
            self._close_rows()
            self._rows = RunRows(self._files)
        if not self._rows.write(run, Known(place, size), instead_of=entry):
            self._write(run, place, size)  # another program took it in meanwhile: see what it knows

    def _let_go(self) -> None:
        self._close_rows()
        self._files.close()

    def _close_rows(self) -> None:
        rows, self._rows = self._rows, None
        if rows is not None:
            rows.close()

    def _refuse(self, place: str, size: int, error: Exception) -> None:
        known = isinstance(error, StorageError)
        why = (
            str(error) if known else ": ".join([type(error).__name__, *str(error).splitlines()[:1]])
        )
        by_run = known and not isinstance(error, CatalogError)
        refused = Refused(size, why, by_run)
        if self._refused.get(place) != refused:
            LOG.warning(
                "%s is not in the catalogue of %s: %s; its own record is not affected",
                place, self.root, why,
            )  # fmt: skip
        self._refused[place] = refused

    def _is_run(self, place: str, uid: str) -> bool:
        try:
            return Run(self.root / place).uid == uid
        except StorageError:
            return False

    def _place(self, directory: Path) -> str:
        return os.path.relpath(directory.absolute(), self.root)

    def _lacks(self, directory: Path, known: dict[str, Known]) -> bool:
        entry = known.get(self._place(directory))
        return entry is None or entry.record_bytes != record_bytes(directory)

    def _why(self, directory: Path) -> str:
        refused = self._refused.get(self._place(directory))
        return _NOT_YET if refused is None else refused.reason
