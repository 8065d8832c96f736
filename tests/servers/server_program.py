"""``concertino tango …``, forked from this one.

Tango is imported by each: what it starts when it is imported does not go on in a fork.
"""

import os
import sys
import threading
from pathlib import Path

from concertino import callbacks, reconstruction, storage, units
from concertino.cli import main
from concertino.devices import SimulatedBeamline
from tests.forked_programs import serve

# What each would import or load: the units, and the compiled code of the simulated camera.
_ = (
    callbacks.OnlineReconstruction,
    reconstruction.ReconstructionSettings,
    storage.open_run,
    units.ureg,
)
SimulatedBeamline(shape=(16, 16)).twin.warm_up()
assert "tango" not in sys.modules
assert threading.active_count() == 1

case = serve()
os.environ.update(case["environment"])
sys.path[:0] = [place for place in case["path"] if place not in sys.path]
os.chdir(case["directory"])
out = os.open(Path(case["out"]), os.O_WRONLY | os.O_CREAT)
for descriptor, file in enumerate((os.open(os.devnull, os.O_RDONLY), out, out)):
    os.dup2(file, descriptor)
main(case["arguments"])
