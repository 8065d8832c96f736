"""Where numba keeps compiled code when neither the package's folder nor the user's cache can be written."""

import atexit
import logging
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

LOG = logging.getLogger("concertino")


def keep_compiled_code(source: str) -> Path | None:
    """See that numba finds a place for compiled code; call it before it compiles a module.

    numba keeps code beside its source or in the user's cache directory, and refuses to define a function
    when it can write to neither, as on a beamline account with a read-only installation and home. Then
    it is kept in a directory of the user's among the temporary files.

    Parameters
    ----------
    source
        The module's ``__file__``.

    Returns
    -------
    Path or None
        The directory among the temporary files; None: numba needs none.
    """
    from numba.core import config as numba_config
    from platformdirs import user_cache_dir

    config: Any = numba_config  # has its values from the environment
    if config.CACHE_DIR:  # NUMBA_CACHE_DIR: somebody has decided
        return None
    beside = Path(source).parent / "__pycache__"
    own = Path(user_cache_dir("numba", appauthor=False))
    if _can_write(beside) or _can_write(own):
        return None
    temporary = Path(tempfile.gettempdir()) / f"concertino-compiled-{os.getuid()}"
    if not _can_write(temporary, private=True):
        temporary = Path(tempfile.mkdtemp(prefix="concertino-compiled-"))
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)  # nobody would find it again
    config.CACHE_DIR = str(temporary)
    LOG.warning(
        "Compiled code is kept in %s, because neither %s nor %s can be written. When it is lost, "
        "compiling takes some seconds again; set NUMBA_CACHE_DIR to a directory that stays.",
        temporary, beside, own,
    )  # fmt: skip
    return temporary


def _can_write(directory: Path, *, private: bool = False) -> bool:
    """Whether files can be made in a directory, which is made if need be."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700 if private else 0o777)
        with tempfile.TemporaryFile(dir=directory):
            pass
        if private:
            # whoever else could write there could have us run what he likes
            about = directory.lstat()
            ours = about.st_uid == os.getuid() and not about.st_mode & 0o077
            return ours and stat.S_ISDIR(about.st_mode)
    except OSError:
        return False
    return True
