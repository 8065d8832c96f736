"""An imaging plan within a plan that cleans up by itself: what the scan leaves behind does not disturb that."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import pytest
from bluesky.utils import MsgGenerator

from concertino.callbacks import ImageWriter
from concertino.devices import SimulatedBeamline
from concertino.plans import continuous_tomography
from concertino.session import Session, open_session


def abort_in_projections(session: Session) -> threading.Thread:
    def abort() -> None:
        record = session.directory / "scan_0001" / "documents.jsonl"
        until_s = time.monotonic() + 240
        while not (record.exists() and '"name":"projections"' in record.read_text()):
            assert time.monotonic() < until_s
            time.sleep(0.01)
        time.sleep(0.2)
        session.RE.abort("the sample fell off")

    person = threading.Thread(target=abort)
    person.start()
    return person


@pytest.mark.parametrize("after", ["a sleep", "a move of what was stopped"])
def test_the_clean_up_around_an_aborted_scan_comes_to_its_end(tmp_path: Path, after: str) -> None:
    # The axis and the camera that the scan stopped fail when the clean-up around it has begun.
    b = SimulatedBeamline(shape=(8, 8), exposure=0.0, frame_rate=100.0)
    came: list[str] = []

    def clean_up() -> MsgGenerator[Any]:
        came.append("begun")
        if after == "a sleep":
            yield from bps.sleep(1.0)
        else:
            yield from bps.mv(b.rotation, 0.0)
        came.append("ended")

    scan = continuous_tomography(
        b.camera, b.rotation, b.beam, b.sample_stage, radio_position=0, flat_position=1,
        num_darks=2, num_flats=2, num_projections=3000,
    )  # fmt: skip
    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        person = abort_in_projections(session)
        with pytest.raises(Exception, match="the sample fell off"):
            session.RE(bpp.finalize_wrapper(scan, clean_up))
        person.join()
    assert came == ["begun", "ended"]
    assert not b.shutter.is_open
    lines = (tmp_path / "scan_0001" / "documents.jsonl").read_text().splitlines()
    name, stop = json.loads(lines[-1])
    assert (name, stop["exit_status"], stop["reason"]) == ("stop", "abort", "the sample fell off")


def test_a_failure_of_the_clean_up_itself_is_told(tmp_path: Path) -> None:
    b = SimulatedBeamline(shape=(8, 8), exposure=0.0, frame_rate=100.0)
    scan = continuous_tomography(
        b.camera, b.rotation, b.beam, b.sample_stage, radio_position=0, flat_position=1,
        num_darks=2, num_flats=2, num_projections=3000,
    )  # fmt: skip

    def clean_up() -> MsgGenerator[Any]:
        yield from bps.abs_set(b.sample_stage, 1e3, group="far")
        yield from bps.stop(b.sample_stage)
        yield from bps.wait("far")

    with open_session(tmp_path, progress=False, catalog=False) as session:
        session.subscribe(ImageWriter())
        person = abort_in_projections(session)
        with pytest.raises(Exception, match="sample_stage"):
            session.RE(bpp.finalize_wrapper(scan, clean_up))
        person.join()
