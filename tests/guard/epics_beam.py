"""An IOC with a shutter: EPICS_CA_SERVER_PORT=… python epics_beam.py JOURNAL."""

import sys
from typing import Any

from caproto.server import PVGroup, pvproperty, run
from file_beam import write  # type: ignore[import-not-found]

JOURNAL = sys.argv[1]


class Shutter(PVGroup):  # type: ignore[misc]
    open = pvproperty(value=0, name="SHUTTER", dtype=int)

    @open.putter  # type: ignore[no-redef]
    async def open(self, instance: Any, value: int) -> int:
        write(JOURNAL, value)
        return value


if __name__ == "__main__":
    run(Shutter(prefix="TEST:").pvdb, interfaces=["127.0.0.1"])
