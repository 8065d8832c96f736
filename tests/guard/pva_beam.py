"""A server of PV Access with a shutter: python pva_beam.py JOURNAL."""

import sys
import time
from typing import Any

from file_beam import write  # type: ignore[import-not-found]
from p4p.nt import NTScalar
from p4p.server import Server
from p4p.server.thread import SharedPV

JOURNAL = sys.argv[1]
shutter = SharedPV(nt=NTScalar("i"), initial=1)


@shutter.put
def put(pv: Any, operation: Any) -> None:
    pv.post(operation.value())
    write(JOURNAL, operation.value())
    operation.done()


with Server(providers=[{"TEST:SHUTTER": shutter}]):
    print("ready", flush=True)
    time.sleep(3600)
