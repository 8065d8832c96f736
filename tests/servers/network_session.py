"""A session of its own host: one radiography of a camera server, stored by a writer server elsewhere.

``python network_session.py CAMERA WRITER DIRECTORY FRAMES RATE`` prints one JSON line with what became of the run.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from concertino import ConcertinoError
from concertino.callbacks.remote import RemoteImageWriter
from concertino.devices import SimulatedBeamline, TangoCamera
from concertino.plans import radiography
from concertino.session import open_session


def connect(make: Any) -> Any:
    """Return what `make` makes, as soon as its server answers."""
    deadline_s = time.monotonic() + 240
    while True:
        try:
            return make()
        except ConcertinoError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(1.1)  # Tango remembers a failure for a second


def main() -> None:
    """Take the radiography and say how it went."""
    camera_address, writer_address, directory, frames, rate = sys.argv[1:]
    beamline = SimulatedBeamline(shape=(8, 8))
    found: dict[str, Any] = {"reason": ""}
    with open_session(Path(directory), progress=False, catalog=False) as session:
        camera = connect(
            lambda: TangoCamera(
                camera_address, exposure=0.001, frame_rate=float(rate), subscriber_timeout_s=4.0
            )
        )
        session.subscribe(connect(lambda: RemoteImageWriter(writer_address, timeout_s=10.0)))
        stops: list[Any] = []
        session.RE.subscribe(lambda _, document: stops.append(document), "stop")
        print(json.dumps("running"), flush=True)
        began_s = time.monotonic()
        try:
            session.RE(
                radiography(
                    camera, beamline.beam, beamline.sample_stage, radio_position=0,
                    flat_position=1, num_darks=2, num_flats=2, num_projections=int(frames),
                )
            )  # fmt: skip
        except Exception as error:
            found["reason"] = f"{type(error).__name__}: {error}"
        found["seconds"] = time.monotonic() - began_s
        found["status"] = stops[-1]["exit_status"] if stops else "none"
        found["beam"] = beamline.shutter.is_open
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
