"""What the library of PV Access prints by itself of servers that are gone."""

import os
from contextlib import suppress

#: Who connects, and prints a line for each attempt that fails: every ten seconds, of a name server.
_CONNECTIONS = "pvxs.tcp.io"


def quiet_pv_access() -> None:
    """Have the library of PV Access not print that a server is gone, again and again: who asks is told by an error.

    To be called when p4p was imported. It holds for this process; who has set ``PVXS_LOG`` gets what it says.
    """
    if "PVXS_LOG" in os.environ:
        return
    with suppress(ImportError):  # another library, which prints nothing of the kind
        from p4p._p4p import logger_level_set, logLevelFatal

        logger_level_set(_CONNECTIONS, logLevelFatal)
