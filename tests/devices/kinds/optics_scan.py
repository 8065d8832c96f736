"""A scan with optics of a control system, as a program: ``python optics_scan.py classic|async|tango PORT``.

It prints what the run knows: its ``tomo`` block, the baseline, and the value of each frame.
"""

import json
import sys
import tempfile
from typing import Any

import bluesky.plan_stubs as bps

from concertino.callbacks import ImageWriter
from concertino.devices import DetectorStage, LensChanger, Monochromator, SimulatedBeamline
from concertino.plans import radiography
from concertino.session import open_session
from concertino.storage import StoredScan, open_run

KIND, PORT = sys.argv[1:3]


def signals() -> tuple[Any, Any, Any]:
    if KIND == "classic":
        from ophyd import EpicsSignal

        made = [
            EpicsSignal(f"p{PORT}:{n}", name=n, **({"string": True} if n == "objective" else {}))
            for n in ("energy", "objective", "distance")
        ]
        for each in made:
            each.wait_for_connection(timeout=60)
        return tuple(made)
    from ophyd_async.core import init_devices

    with init_devices(timeout=60):
        if KIND == "async":
            from ophyd_async.epics.core import epics_signal_r, epics_signal_rw

            energy = epics_signal_rw(float, f"p{PORT}:energy", name="energy")
            objective = epics_signal_r(str, f"p{PORT}:objective", name="objective")
            distance = epics_signal_r(float, f"p{PORT}:distance", name="distance")
        else:
            from ophyd_async.tango.core import tango_signal_r, tango_signal_rw

            at = f"tango://127.0.0.1:{PORT}/t/optics/1/{{}}#dbase=no"
            energy = tango_signal_rw(float, at.format("energy"), name="energy")
            objective = tango_signal_r(str, at.format("objective"), name="objective")
            distance = tango_signal_r(float, at.format("distance"), name="distance")
    return energy, objective, distance


b = SimulatedBeamline(shape=(8, 16), exposure=0.002)
with open_session(tempfile.mkdtemp(), progress=False, catalog=False) as session:
    energy, objective, distance = signals()
    mono = Monochromator(energy=energy)
    session.subscribe(ImageWriter())
    session.optics.add(
        mono,
        LensChanger(objective=objective, magnifications={"10x": 10}),
        DetectorStage(distance=distance),
    )
    session.RE(bps.mv(energy, 24797.0))
    (uid,) = session.RE(
        radiography(
            b.camera, b.beam, b.sample_stage, radio_position=0, flat_position=2,
            num_darks=2, num_flats=2, num_projections=4, per_frame=[mono["energy"]],
        )
    )  # fmt: skip
    run = open_run(uid, session.directory)
    told = StoredScan(run).frame_values()["monochromator-energy"]
    print(json.dumps({
        "tomo": run.start["tomo"],
        "baseline": run["baseline"].events[0]["data"],
        "values": told.values.tolist(),
        "unit": told.unit,
    }))  # fmt: skip
