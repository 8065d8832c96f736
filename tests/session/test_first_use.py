"""What a user sees on standard error at first use: lines of progress and no warnings, by Python's own filters."""

import os
import re
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline
from concertino.plans import radiography
from concertino.session import open_session

beamline = SimulatedBeamline(shape=(16, 16))
with open_session(sys.argv[1]) as session:
    session.subscribe(ImageWriter())
    session.RE(radiography(
        beamline.camera, beamline.beam, beamline.sample_stage, radio_position=0, flat_position=10,
        num_darks=2, num_flats=3, num_projections=200,
    ))
    session.wait()
    print(len(session.catalog.runs()), len(session.catalog.client))
"""


def test_a_scan_and_its_catalogue_write_no_warnings_and_a_line_a_stream(tmp_path: Path) -> None:
    # pydantic warned of tiled's models (UnsupportedFieldAttributeWarning) as its server was made.
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=240,
        env={name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"},
    )  # fmt: skip
    assert done.stdout.split() == ["1", "1"], done.stdout + done.stderr
    told = [re.sub(r" in \d+\.\d s$", "", line) for line in done.stderr.splitlines()]
    assert told == [
        "camera darks: 2 of 2 frames",
        "camera flats: 3 of 3 frames",
        "camera projections: 200 of 200 frames",
    ]
