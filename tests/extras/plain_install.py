"""What Concertino does without any extra, and what it says about each; run in an environment that has none.

It needs no other package, writes what it found as JSON, and ends with an error when something is not as it
should be. ``--measure`` adds how long imports take: medians of fresh processes, for people to read.
"""

import importlib
import io
import json
import logging
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from concertino import MissingExtraError
from concertino.callbacks import ImageWriter, LiveView, OnlineReconstruction
from concertino.cli import main
from concertino.devices import (
    AreaDetectorCamera,
    DectrisStreamSource,
    MicroManagerSource,
    SimulatedBeamline,
    TangoCamera,
    TangoMotor,
    TangoShutter,
)
from concertino.guard import EpicsSwitch, GuardProcess, SwitchOff, TangoSwitch
from concertino.plans import continuous_tomography
from concertino.reconstruction import ReconstructionSettings, backends
from concertino.session import open_session
from concertino.storage import Catalog, GrowingFrames, Run, open_growing, open_run, replay

SHAPE = (32, 96)
ROW = 16
PROJECTIONS = 200
PATIENCE_S = 120.0
BITSHUFFLE = 32008  # the number under which its authors registered it with the HDF Group
NOT_OURS = {"pip", "setuptools", "wheel"}  # of the environment, not of Concertino


class Heard(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.sentences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one sentence."""
        self.sentences.append(record.getMessage())


def scan(directory: Path, heard: Heard) -> dict[str, Any]:
    """Scan, write, reconstruct live and replay; return how far the slice is from the phantom."""
    beamline = SimulatedBeamline(shape=SHAPE, noise=False, frame_rate=500.0, exposure=0.001)
    settings = ReconstructionSettings(slices=(ROW,))
    with open_session(directory, progress=False) as session:
        reconstruction = OnlineReconstruction(settings)
        session.subscribe(ImageWriter())
        session.subscribe(reconstruction)
        session.RE(
            continuous_tomography(
                beamline.camera, beamline.rotation, beamline.beam, beamline.sample_stage,
                radio_position="0 mm", flat_position="10 mm", num_darks=5, num_flats=5,
                num_projections=PROJECTIONS,
            )
        )  # fmt: skip
        live = reconstruction.wait(PATIENCE_S).volume
        session.wait(PATIENCE_S)
        assert len(session.catalog.runs()) == 2  # the scan, and its slices
        unindexed = [sentence for sentence in heard.sentences if "not indexed" in sentence]
        assert len(unindexed) == 1, heard.sentences
    run = open_run("scan_0001", directory)
    assert len(run.frames("projections")) == PROJECTIONS
    again = OnlineReconstruction(settings)
    replay(run, [again])
    assert np.array_equal(again.wait(PATIENCE_S).volume, live)
    truth = beamline.twin.phantom.slice(ROW, SHAPE, beamline.twin.detector.pixel_size_mm)
    inside = truth > 0
    error = float(np.sqrt(np.mean((live[0] - truth)[inside] ** 2)) / truth[inside].mean())
    assert error < 0.25, error
    return {"difference_from_phantom": round(error, 4), "unindexed": unindexed[0]}


def asked(action: Callable[[], object]) -> str:
    """Return the sentence with which a call is refused."""
    try:
        action()
    except MissingExtraError as error:
        return str(error)
    raise AssertionError("nothing was missing")


def command(*arguments: str) -> tuple[object, list[str], str]:
    """Return how the command ends, the lines that it prints, and what it says of errors."""
    code: object = 0
    printed, said = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(printed), redirect_stderr(said):
            main([*arguments])
    except SystemExit as ended:
        code = ended.code
    return code, printed.getvalue().splitlines(), said.getvalue()


def refused(*arguments: str) -> str:
    """Return the one sentence with which the command fails."""
    code, _, said = command(*arguments)
    assert code == 1, said
    (line,) = said.splitlines()
    return line


def guarded(directory: Path) -> dict[str, list[str]]:
    """Return what the guard process says about beams that it cannot reach."""
    switches: dict[str, SwitchOff] = {
        "ca": EpicsSwitch("BL:SHUTTER"),
        "pva": EpicsSwitch("pva://BL:SHUTTER"),
        "tango": TangoSwitch("tango://127.0.0.1:9/test/beam/1#dbase=no", command="Close"),
    }
    guard = GuardProcess(
        "me", directory, silence_s=60, loop_silence_s=60, loop_age_s=lambda: 0.0, acted=print
    )
    try:
        for name, switch in switches.items():
            guard.guard(name, switch)
        until = time.monotonic() + PATIENCE_S
        said: dict[str, str] = {}
        while sum("needs" in why for why in said.values()) < len(switches):
            assert time.monotonic() < until, said
            said = guard.wait(0.2)
    finally:
        guard.close()
    return {"epics": [said["ca"], said["pva"]], "tango": [said["tango"]]}


def as_if_zarr(scan: Path) -> Path:
    """Return a run that says of its frames that they are stored as Zarr."""
    run = shutil.copytree(scan, scan.with_name("as_if_zarr"))
    (record,) = run.glob("*.jsonl")
    said = record.read_bytes()
    assert b"multipart/related;type=image/tiff" in said
    record.write_bytes(said.replace(b"multipart/related;type=image/tiff", b"application/x-zarr"))
    return run


def with_foreign_filter(directory: Path) -> GrowingFrames:
    """Return the growing frames of a file that says that they are compressed as no plain HDF5 can undo."""
    path = directory / "foreign.h5"
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_chunk((1, 4, 6))
    layout.set_filter(BITSHUFFLE, h5py.h5z.FLAG_OPTIONAL, (0, 2))  # without the filter itself
    with h5py.File(path, "w", libver="latest") as file:
        space = h5py.h5s.create_simple((2, 4, 6))
        h5py.h5d.create(file.id, b"data", h5py.h5t.NATIVE_UINT16, space, layout)
    return open_growing(
        {"mimetype": "application/x-hdf5", "uri": path.as_uri(), "parameters": {"dataset": "data"}}
    )


def of_happi(directory: Path) -> list[str]:
    """Return what is said of a device of a happi database in a beamline's file."""
    (directory / "happi.json").write_text("{}")
    file = directory / "line.toml"
    file.write_text("[happi]\ndatabase = 'happi.json'\n[devices.slit]\nhappi = 'slit'\n")
    code, lines, _ = command("check-config", str(file), "--connect")
    assert code == 1, lines
    return [line for line in lines if "needs the extra" in line]


def sentences(directory: Path) -> dict[str, list[str]]:
    """Return, by extra, what is said by everything that asks for it."""
    catalog = Catalog.open(directory)
    of_zarr = as_if_zarr(directory / "scan_0001")
    of_guard = guarded(directory)
    compressed = with_foreign_filter(directory)
    (astra,) = (backend.reason for backend in backends() if backend.name == "astra")
    at = ("-d", str(directory))
    return {
        "catalog": [
            asked(lambda: catalog.client),
            asked(lambda: catalog[-1]),
            asked(lambda: len(catalog)),
            asked(lambda: catalog.search(sample="tooth")),
            asked(catalog.catch_up),
            asked(catalog.rebuild),
            asked(catalog.add_profile),
        ],
        "zarr": [
            asked(lambda: ImageWriter(format="zarr")),
            asked(lambda: Run(of_zarr).frames("projections")[0]),
            refused("reconstruct", "scan_0001", "--format", "zarr", *at),
        ],
        "plots": [
            refused("sweep", "scan_0001", "--parameter", "center", "--region", "40,50,1", *at)
        ],
        "viewers": [asked(LiveView), refused("view", "scan_0001", *at)],
        "tango": [
            asked(lambda: TangoCamera("127.0.0.1:9")),
            asked(lambda: importlib.import_module("concertino.servers")),
            refused("tango", "writer", "--port", "9", *at),
            refused("tango", "camera", "--port", "9"),
            refused("twin", "--tango", "9"),
            asked(lambda: TangoMotor("tango://127.0.0.1:9/a/b/c#dbase=no")),
            asked(lambda: TangoShutter("tango://127.0.0.1:9/a/b/d#dbase=no")),
            *of_guard["tango"],
        ],
        "epics": of_guard["epics"],
        "areadetector": [
            asked(lambda: AreaDetectorCamera("BL:CAM:")),
            asked(lambda: AreaDetectorCamera("BL:CAM:", control="pva")),
        ],
        "dectris": [asked(lambda: DectrisStreamSource("tcp://127.0.0.1:9"))],
        "filters": [asked(lambda: compressed.count(1))],
        "micromanager": [asked(lambda: MicroManagerSource("scope.cfg"))],
        "dask": [refused("reconstruct", "scan_0001", "--scheduler", "local", *at)],
        "queueserver": [
            refused("queueserver", *at),
            asked(lambda: importlib.import_module("concertino.queueserver")),
        ],
        "prompt": [refused("start")],
        "happi": of_happi(directory),
        "astra": [astra],
        "twin": [refused("twin", "--epics", "T:"), refused("twin", "--pva", "T:")],
        "test": [asked(lambda: importlib.import_module("concertino.testing"))],
    }


def check(found: dict[str, list[str]]) -> None:
    """See that each sentence names its extra, and the command that installs it."""
    for name, said in found.items():
        assert said, name
        for sentence in said:
            assert f"needs the extra {name!r} (" in sentence, sentence
            assert f"install it with: pip install 'concertino[{name}]'" in sentence, sentence


def runs(directory: Path) -> list[str]:
    """Return what ``concertino runs`` prints of the runs."""
    code, lines, said = command("runs", "-d", str(directory))
    assert not code, said
    return lines[1:]


def installed() -> dict[str, Any]:
    """Return how many packages there are, and how large."""
    found = {each.name: each for each in distributions() if each.name not in NOT_OURS}
    files = {file.locate() for each in found.values() for file in each.files or ()}
    size = sum(Path(file).stat().st_size for file in files if Path(file).is_file())
    return {"packages": len(found), "megabytes": round(size / 1e6)}


def import_seconds(module: str, times: int = 7) -> dict[str, float]:
    """Return what importing a module takes, by the clock and of the processor, in s: medians of processes."""
    code = (
        "import time; wall, used = time.perf_counter(), time.process_time(); "
        f"import {module}; print(time.perf_counter() - wall, time.process_time() - used)"
    )
    printed = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(times)
    ]
    both = zip(*(map(float, each.stdout.split()) for each in printed), strict=True)
    clock, processor = map(statistics.median, both)
    return {"clock": round(clock, 3), "processor": round(processor, 3)}


if __name__ == "__main__":
    result = installed()
    assert result["packages"] <= 60, result
    assert result["megabytes"] <= 600, result
    if "--measure" in sys.argv:
        result["import_s"] = {
            name: import_seconds(name) for name in ("concertino", "concertino.session")
        }
    hearing = Heard()
    logging.getLogger("concertino").addHandler(hearing)
    with tempfile.TemporaryDirectory() as place:
        result |= scan(Path(place), hearing)
        result["runs"] = runs(Path(place))
        result["said"] = sentences(Path(place))
        check(result["said"])
    print(json.dumps(result, indent=1))
