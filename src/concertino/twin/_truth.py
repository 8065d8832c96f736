"""What was true at each exposure of the twin's camera: for whoever checks a scan against it."""

import json
import math
import threading
from pathlib import Path

from concertino.devices import SimulatedBeamline
from concertino.simulation import BeamlineState


class Truth:
    """Notes what the beamline did during each exposure.

    Parameters
    ----------
    beamline : SimulatedBeamline
        The twin.
    file : Path, optional
        Gets one line of JSON an exposure: ``begin_s`` and ``end_s`` in s since the epoch, ``angle_deg`` at the begin and
        at the end, ``offset_mm`` to the right and up, and ``beam_on``, the part of the exposure with beam.
    """

    def __init__(self, beamline: SimulatedBeamline, file: Path | None = None) -> None:
        self._beamline = beamline
        self._lock = threading.Lock()
        self._file = None if file is None else file.open("w")

    def state(self, begin_s: float, end_s: float) -> BeamlineState:
        """Return, and note, what the devices did between two times in s since the epoch."""
        state = self._beamline.state(begin_s, end_s)
        if self._file is not None:
            line = json.dumps(
                {
                    "begin_s": begin_s,
                    "end_s": end_s,
                    "angle_deg": [
                        math.degrees(state.angle_start_rad),
                        math.degrees(state.angle_stop_rad),
                    ],
                    "offset_mm": list(state.sample_offset_mm),
                    "beam_on": state.beam_on,
                }
            )
            with self._lock:
                self._file.write(line + "\n")
                self._file.flush()
        return state
