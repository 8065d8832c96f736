"""The catalogue as a tree of tiled, in this process and without a server. Imported only with tiled."""

import asyncio
import logging
import os
import sqlite3
import threading
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import URL, NullPool
from sqlalchemy.ext.asyncio import create_async_engine
from tiled.catalog import from_uri as tree_from_uri
from tiled.catalog.core import REQUIRED_REVISION, initialize_database
from tiled.client import from_context
from tiled.client.context import Context
from tiled.server.app import build_app_from_config

from ._catalog_files import CatalogFiles
from ._tiled_adapters import adapters


def quiet() -> None:
    """Leave out warnings about how tiled uses its libraries, which is not the user's affair."""
    for module in ("alembic", "bluesky_tiled_plugins", "starlette", "tiled"):
        warnings.filterwarnings("ignore", module=rf"{module}(\..*)?$")
    logging.getLogger("tiled.server.app").setLevel(logging.WARNING)


def prepare_database(files: CatalogFiles) -> None:
    """Make the database when there is none.

    It appears whole: two processes may do this at once, without a lock, which some file systems lack.

    Raises
    ------
    CatalogError
        When it cannot be made.
    """
    quiet()
    files.make_directory()
    if files.database.exists():
        return
    made = files.database.with_suffix(f".{os.getpid()}-{threading.get_ident()}.new")
    errors: list[BaseException] = []

    def work() -> None:  # in a thread, for this one may run an event loop
        try:
            asyncio.run(_make(made))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="catalogue")
    thread.start()
    thread.join()
    try:
        if errors:
            raise files.unreadable(errors[0]) from errors[0]
        if not files.database.exists():
            made.replace(files.database)
    except OSError as error:
        raise files.unreadable(error) from error
    finally:
        for path in made.parent.glob(f"{made.name}*"):
            path.unlink(missing_ok=True)


async def _make(path: Path) -> None:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)), poolclass=NullPool
    )
    try:
        await initialize_database(engine)
    finally:
        await engine.dispose()
    with closing(sqlite3.connect(path)) as database:
        # As alembic stamps it, whose command takes no path with a percent sign.
        database.execute("create table alembic_version (version_num varchar(32) primary key)")
        database.execute("insert into alembic_version values (?)", (REQUIRED_REVISION,))
        database.commit()


def catalog_tree(root: str) -> Any:
    """Return the tree of the catalogue in a data directory; a profile of tiled names this function.

    Parameters
    ----------
    root
        The data directory.
    """
    files = CatalogFiles(Path(root))
    prepare_database(files)
    return tree_of(files)


def tree_of(files: CatalogFiles) -> Any:
    """Return the tree of a catalogue whose database is there."""
    return tree_from_uri(
        files.database_uri,
        specs=[{"name": "CatalogOfBlueskyRuns", "version": "3.0"}],
        readable_storage=["file://localhost/"],  # nobody reads through it but this process
        adapters_by_mimetype=adapters(files.root),
    )


_MEDIA_TYPES = {
    "BlueskyRun": {"application/json-seq": "bluesky_tiled_plugins.exporters:json_seq_exporter"}
}


def direct_configuration(root: Path) -> dict[str, Any]:
    """Return tiled's configuration of a server in another process for a data directory."""
    tree = "concertino.storage.catalog._catalog_tree:catalog_tree"
    return {
        "trees": [{"path": "/", "tree": tree, "args": {"root": str(root)}}],
        "media_types": _MEDIA_TYPES,
    }


def open_client(files: CatalogFiles) -> Any:
    """Return a tiled client of a catalogue whose database is there."""
    tree = {"path": "/", "tree": f"{__name__}:tree_of", "args": {"files": files}}
    app = build_app_from_config({"trees": [tree], "media_types": _MEDIA_TYPES})
    return from_context(Context.from_app(app))
