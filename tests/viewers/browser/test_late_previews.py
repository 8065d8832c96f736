"""The page of a real scan whose previews come later than they were asked for."""

import re
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from concertino.callbacks import LiveView, OnlineReconstruction
from concertino.devices import SimulatedBeamline
from concertino.plans import continuous_tomography
from concertino.reconstruction import ReconstructionSettings
from concertino.session import open_session

pytestmark = [
    pytest.mark.browser,
    pytest.mark.disturbed_by_load("a browser must show the page while a scan of ten seconds runs"),
]

ASKED_S = 0.05
PATIENCE_S = 120.0
SLOW_S = 0.1  # twice as long as there is, on any computer


class SlowLooker:
    """Takes its time with each preview, and notes when each came."""

    def __init__(self) -> None:
        self.came_s: list[float] = []

    def __call__(self, name: str, document: Any) -> None:
        if name == "event" and "preview_s" in document["data"]:
            self.came_s.append(time.monotonic())
            time.sleep(SLOW_S)


def scan(beamline: SimulatedBeamline, num_projections: int) -> Any:
    return continuous_tomography(
        beamline.camera, beamline.rotation, beamline.beam, beamline.sample_stage,
        radio_position=0, flat_position=2, num_darks=2, num_flats=2, num_projections=num_projections,
    )  # fmt: skip


def test_the_page_of_a_scan_says_how_late_previews_are(tmp_path: Path, browser: Any) -> None:
    beamline = SimulatedBeamline(shape=(16, 64), exposure=0.002, frame_rate=50.0, noise=False)
    looker = SlowLooker()
    reconstruction = OnlineReconstruction(
        ReconstructionSettings(slices=(8,), center=31.5),
        preview_s=ASKED_S,
        callbacks=[looker],
    )
    with open_session(tmp_path, progress=False, catalog=False) as session, LiveView() as view:
        reconstruction.add_callback(view)
        session.subscribe(reconstruction)
        session.subscribe(view)
        browser.open(view.url)
        browser.wait(lambda says: says["state"] == "waiting for a run")
        # The camera, the plan and the reconstruction load what they need.
        session.RE(scan(beamline, 20))
        reconstruction.wait(PATIENCE_S)
        browser.wait(lambda says: says["state"] == "finished")
        looker.came_s.clear()
        seen: list[dict[str, str]] = []

        def noted(says: dict[str, str]) -> bool:
            if says["previews"]:
                seen.append(says)
            return bool(seen)

        watching = threading.Thread(
            target=browser.wait,
            args=(noted, PATIENCE_S),
        )
        watching.start()
        session.RE(scan(beamline, 500))
        came_s = list(looker.came_s)
        watching.join()
        reconstruction.wait(60)
        browser.wait(lambda says: says["state"] == "finished")
        # of the result, which comes when it is there, nothing is late
        browser.wait(lambda says: not says["previews"])
        assert browser.errors() == []

    (says,) = seen
    assert says["state"] == "running"
    found = re.fullmatch(r"previews every ([0-9.]+) s, asked every 0\.05 s", says["previews"])
    assert found is not None, says["previews"]
    told_s = float(found[1])
    # What is told is of the previews until then, and no preview was later than the latest.
    latest_s = max(later - sooner for sooner, later in pairwise(came_s))
    assert SLOW_S <= told_s <= 2 * latest_s
