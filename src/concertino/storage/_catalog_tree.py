"""The catalogue as a tree of tiled, in this process and without a server. Imported only with tiled."""

import asyncio
import logging
import threading
import warnings
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import create_async_engine
from tiled import alembic_utils
from tiled.catalog import from_uri as tree_from_uri
from tiled.catalog.alembic_constants import ALEMBIC_DIR, ALEMBIC_INI_TEMPLATE_PATH
from tiled.catalog.core import ALL_REVISIONS, REQUIRED_REVISION, initialize_database
from tiled.client import from_context
from tiled.client.context import Context
from tiled.server.app import build_app_from_config

from concertino._errors import CatalogError

from ._catalog_files import CatalogFiles
from ._tiled_frames import ADAPTERS


def quiet() -> None:
    """Leave out warnings about how tiled uses its libraries, which is not the user's affair."""
    for module in ("alembic", "bluesky_tiled_plugins", "starlette", "tiled"):
        warnings.filterwarnings("ignore", module=rf"{module}(\..*)?$")
    logging.getLogger("tiled.server.app").setLevel(logging.WARNING)


def prepare_database(files: CatalogFiles) -> None:
    """Make the database when there is none, bring an older one up to date.

    Raises
    ------
    CatalogError
        When it is a newer one, or none at all.
    """
    files.check()
    quiet()
    errors: list[BaseException] = []

    def work() -> None:  # in a thread, for this one may run an event loop
        try:
            asyncio.run(_prepare(files))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="catalogue")
    thread.start()
    thread.join()
    if errors:
        error = errors[0]
        if isinstance(error, alembic_utils.UnrecognizedDatabase):
            made_by = files.made_by().get("tiled", "unknown")
            raise CatalogError(
                f"the catalogue {files.database} was made by a newer tiled ({made_by}) than is "
                f"installed, or is no catalogue; upgrade tiled, or remove {files.directory}: the "
                "catalogue is then made anew from the runs' own records"
            ) from error
        raise CatalogError(
            f"the catalogue {files.database} cannot be opened: {str(error).splitlines()[0]}; if it is damaged, remove "
            f"{files.directory}: it is then made anew from the runs' own records"
        ) from error


async def _prepare(files: CatalogFiles) -> None:
    engine = create_async_engine(files.database_uri)
    stamp = False
    try:
        await alembic_utils.check_database(engine, REQUIRED_REVISION, ALL_REVISIONS)
    except alembic_utils.UninitializedDatabase:
        await initialize_database(engine)
        stamp = True
    except alembic_utils.DatabaseUpgradeNeeded:
        await engine.dispose()
        await asyncio.to_thread(
            alembic_utils.upgrade,
            ALEMBIC_INI_TEMPLATE_PATH, ALEMBIC_DIR, files.database_uri, "head",
        )  # fmt: skip
    finally:
        await engine.dispose()
    if stamp:
        await asyncio.to_thread(
            alembic_utils.stamp_head, ALEMBIC_INI_TEMPLATE_PATH, ALEMBIC_DIR, files.database_uri
        )


def catalog_tree(root: str) -> Any:
    """Return the tree of the catalogue in a data directory; a profile of tiled names this function.

    Parameters
    ----------
    root
        The data directory.
    """
    files = CatalogFiles(Path(root))
    files.check()
    return tree_from_uri(
        files.database_uri,
        specs=[{"name": "CatalogOfBlueskyRuns", "version": "3.0"}],
        writable_storage=[f"file://localhost{files.arrays}", f"sqlite:///{files.tables}"],
        readable_storage=["file://localhost/"],  # nobody reads through it but this process
        adapters_by_mimetype=ADAPTERS,
    )


def direct_configuration(root: Path) -> dict[str, Any]:
    """Return tiled's configuration of a server in this process for a data directory."""
    return {
        "trees": [
            {
                "path": "/",
                "tree": "concertino.storage._catalog_tree:catalog_tree",
                "args": {"root": str(root)},
            }
        ],
        "media_types": {
            "BlueskyRun": {
                "application/json-seq": "bluesky_tiled_plugins.exporters:json_seq_exporter"
            }
        },
    }


def open_client(root: Path) -> Any:
    """Return a tiled client of the catalogue in a data directory."""
    quiet()
    app = build_app_from_config(direct_configuration(root))
    return from_context(Context.from_app(app))
