"""The catalogue of a data directory: tiled on SQLite, in this process, without a server."""

import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from concertino._errors import CatalogError, StorageError

from ._catalog_files import CatalogFiles
from ._find_runs import find_runs
from ._resources import current_uri
from ._run import Run
from ._run_index import stop_of_unfinished


class Catalog:
    """All runs in a data directory, for searching. Made by `Catalog.open`.

    It is an index: it can be removed and is made anew from the runs' own records. Nothing of tiled is
    imported before it is needed; the first use takes seconds.

    Attributes
    ----------
    root : Path
        The data directory.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).absolute()
        self._files = CatalogFiles(self.root)
        self._client: Any = None
        self._lock = threading.RLock()

    @classmethod
    def open(cls, root: str | os.PathLike[str]) -> Self:
        """Open the catalogue of a data directory; it is made when it is used first.

        Parameters
        ----------
        root
            The data directory.

        Raises
        ------
        CatalogError
            When a newer version made the catalogue; the message says which, and what to do.
        """
        catalog = cls(root)
        catalog._files.check()
        return catalog

    @property
    def client(self) -> Any:
        """The catalogue as a client of tiled: ``CatalogOfBlueskyRuns``.

        Raises
        ------
        CatalogError
            When it cannot be opened.
        """
        with self._lock:
            if self._client is None:
                self._client = self._open_client()
            return self._client

    def __getitem__(self, which: str | int) -> Any:
        """Return a run as tiled and databroker give it: ``run["projections"].read()``.

        Parameters
        ----------
        which
            Uid or the beginning of it, scan id, or -1 for the newest, -2 for the one before, ...

        Raises
        ------
        CatalogError
            When there is no such run, or more than one.
        """
        client = self.client
        try:
            if not isinstance(which, int):
                return client[which]
            if which < 0:
                return client.sort(("start.time", -1)).values()[-which - 1]
            found = list(self.search(scan_id=which).values())
            raw = [run for run in found if "derived_from" not in run.metadata["start"]]
            return (raw or found)[-1]
        except (KeyError, IndexError, ValueError) as error:
            raise CatalogError(
                f"no run {which!r} in the catalogue of {self.root}, which has {len(client)}: give a "
                "uid (or its first 5 characters or more), a scan id, or -1 for the newest; "
                "catalog.catch_up() takes in runs that were recorded without it"
            ) from error

    def __len__(self) -> int:
        return len(self.client)

    def runs(self) -> list[Run]:
        """Return all runs in the data directory, the newest first, from their records.

        Quick: nothing of tiled is used.
        """
        return find_runs(self.root)

    def search(self, query: Any = None, **equal: Any) -> Any:
        """Return the part of the catalogue that fits.

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
        from tiled.queries import Eq

        result = self.client if query is None else self.client.search(query)
        for key, value in equal.items():
            result = result.search(Eq(key, value))
        return result

    def insert(self, documents: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Take in the documents of one run; one that is there already stays as it is.

        Parameters
        ----------
        documents
            (name, document) of the whole run.

        Raises
        ------
        CatalogError
            When it cannot be taken in.
        """
        pairs = [(name, dict(document)) for name, document in documents]
        uid = str(pairs[0][1].get("uid")) if pairs else ""
        name = str(pairs[0][1].get("scan_name", uid)) if pairs else "an empty run"
        try:
            client = self.client
            with self._lock, self._files.lock():
                if uid in self._files.known_runs():
                    return
                self._write(client, uid, pairs)
        except CatalogError:
            raise
        except Exception as error:
            raise CatalogError(
                f"{name} could not be taken into the catalogue of {self.root}: "
                f"{type(error).__name__}: {error}; its own record is not affected, and "
                "catalog.rebuild() tries again"
            ) from error

    def missing(self) -> list[Run]:
        """Return the runs in the data directory that the catalogue has not, the oldest first.

        Runs that are being recorded at this moment are left out.
        """
        known = set() if self._files.moved else self._files.known_runs()
        return [
            run for run in reversed(self.runs()) if run.uid not in known and not run.is_recording
        ]

    def catch_up(self) -> int:
        """Take in the runs that the catalogue has not, such as those of a killed process.

        Returns
        -------
        int
            How many there were.

        Raises
        ------
        CatalogError
            When one cannot be taken in; the others are.
        """
        missing = self.missing()
        failed: list[CatalogError] = []
        for run in missing:
            try:
                self.insert(whole_run(run))
            except CatalogError as error:
                failed.append(error)
            except StorageError as error:
                failed.append(CatalogError(f"{run.directory} cannot be catalogued: {error}"))
        if failed:
            raise failed[0]
        return len(missing)

    def rebuild(self) -> int:
        """Make the catalogue anew from the runs' own records.

        Returns
        -------
        int
            How many runs it has.

        Raises
        ------
        CatalogError
            When a run cannot be taken in; the others are.
        """
        with self._lock:
            self.close()
            with self._files.lock():
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
        """Close the database. It opens again when it is used again."""
        with self._lock:
            if self._client is not None:
                self._client.context.close()
                self._client = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Catalog of {self.root}>"

    def _open_client(self) -> Any:
        from ._catalog_tree import open_client, prepare_database

        with self._files.lock():
            if self._files.moved:
                self._files.remove()  # its files are named by where they were
            prepare_database(self._files)
            self._files.sign()
        return open_client(self.root)

    def _write(self, client: Any, uid: str, documents: list[tuple[str, dict[str, Any]]]) -> None:
        from bluesky_tiled_plugins import TiledWriter

        from ._tiled_frames import as_ours

        if uid in client:  # somebody died while writing it
            client.delete_contents([uid], recursive=True, external_only=False)
        writer = TiledWriter(client, patches={"stream_resource": as_ours})
        try:
            for name, document in documents:
                writer(name, document)
        except Exception:
            if uid in client:
                client.delete_contents([uid], recursive=True, external_only=False)
            raise


def whole_run(run: Run) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Return the documents of a stored run, fit for an index of what is where.

    Frames are named by where they are now, and a run that nobody stopped gets a stop document.
    """
    recorded = str(run.start.get("run_directory", ""))
    for name, document in run.documents():
        if name == "stream_resource":
            document["uri"] = current_uri(document["uri"], recorded, run.directory)
        yield name, document
    if run.stop is None:
        yield "stop", stop_of_unfinished(run.uid, run.reason)
