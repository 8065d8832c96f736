"""The main job in one go: ``concertino demo``."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concertino import SessionError
from concertino.callbacks import ImageWriter, OnlineReconstruction
from concertino.devices import FileCamera, SimulatedBeamline
from concertino.plans import continuous_tomography
from concertino.reconstruction import ReconstructionResult, ReconstructionSettings
from concertino.session import Session, open_session
from concertino.storage import Run, open_run, open_scan, replay, sample_path

from ._pictures import save_slices
from ._run_command import run_in

_SHARED = Path("../shared/data/tooth.h5")
_FRAME_RATE_HZ = 100.0
_EXPOSURE_S = 0.005
_SHAPE = (512, 512)
_PROJECTIONS = 500


def run_demo(directory: Path, *, progress: bool = True) -> None:
    """Run a real and two simulated scans, reconstruct them live, and replay the real one.

    Parameters
    ----------
    directory : Path
        Data directory for the runs.
    progress : bool
        Show progress bars.

    Raises
    ------
    SessionError
        If the replay's slices differ from the live ones.
    """
    beamline = SimulatedBeamline(shape=_SHAPE, exposure=_EXPOSURE_S, frame_rate=_FRAME_RATE_HZ)
    with open_session(directory, progress=progress) as session:
        session.subscribe(ImageWriter())
        _title("1. A real scan: the tooth, served by the file camera and reconstructed live")
        tooth, live = _tooth(session, beamline)
        _title("2. A simulated scan: continuous tomography of a foam, compared with its phantom")
        for noise in (False, True):
            twin = SimulatedBeamline(
                shape=_SHAPE, exposure=_EXPOSURE_S, frame_rate=_FRAME_RATE_HZ, noise=noise
            )
            _foam(session, twin, "on" if noise else "off")
        _title("3. The replay of the real scan")
        _replay(tooth, live)
        session.wait()
        _title("The catalogue")
        for entry in session.catalog.runs()[:6]:
            print(f"   {entry}")
    print(f"\nAll of it is in {directory.absolute()}; try: concertino runs -d {directory}")


def _tooth(session: Session, beamline: SimulatedBeamline) -> tuple[Run, ReconstructionResult]:
    path = _SHARED if _SHARED.exists() else sample_path()
    scan = open_scan(path)
    camera = FileCamera(path, frame_rate=_FRAME_RATE_HZ)
    plan = continuous_tomography(
        camera,
        beamline.rotation,
        beamline.beam,
        beamline.sample_stage,
        radio_position="0 mm",
        flat_position="10 mm",
        num_darks=len(scan.darks),
        num_flats=len(scan.flats),
        num_projections=len(scan.projections),
        md={"sample": "tooth", "source_file": str(path)},
    )
    return _run(session, plan, ReconstructionSettings())


def _foam(session: Session, beamline: SimulatedBeamline, noise: str) -> None:
    row = _SHAPE[0] // 2
    plan = continuous_tomography(
        beamline.camera,
        beamline.rotation,
        beamline.beam,
        beamline.sample_stage,
        radio_position="0 mm",
        flat_position="10 mm",
        num_darks=20,
        num_flats=20,
        num_projections=_PROJECTIONS,
        md={"sample": f"foam, noise {noise}"},
    )
    run, result = _run(session, plan, ReconstructionSettings(slices=(row,)))
    late = first_angle(run, _EXPOSURE_S)
    # The reconstruction has each frame's measured angle: the slice lies as the phantom does.
    truth = beamline.twin.phantom.slice(row, _SHAPE, beamline.twin.detector.pixel_size_mm)
    print(f"   axis set at  column {beamline.twin.rotation_axis_px:.2f} px")
    print(f"   first angle  {math.degrees(late):.3f} deg, as the run's motion stream tells")
    print(
        f"   noise {noise:3}    the slice differs from the phantom by "
        f"{100 * relative_error(result.volume[0], truth):.2f} % (RMS inside the object)"
    )


def _run(
    session: Session, plan: Any, settings: ReconstructionSettings
) -> tuple[Run, ReconstructionResult]:
    reconstruction = OnlineReconstruction(settings)
    token = session.subscribe(reconstruction)
    try:
        run_in(session, plan, "the demonstration")
        result = reconstruction.wait(120)
    finally:
        session.unsubscribe(token)
    directory = reconstruction.run_directory
    if directory is None:
        raise SessionError(
            "The reconstruction has no directory. Run the demo again; if it stays so, report it "
            "with what was printed."
        )
    scan_name = directory.name.partition(f"_{reconstruction.name}")[0]
    run = open_run(session.directory / scan_name)
    print(f"   run          {run.directory}")
    counts = ", ".join(f"{len(run.frames(name))} {name}" for name in run.start["frames"])
    print(f"   stored       {counts}")
    print(f"   slices       {directory}")
    print(f"   axis found   column {result.center_px:.2f} px, confidence {result.confidence:.2f}")
    for picture in save_slices(result.volume, directory):
        print(f"   picture      {picture}")
    return run, result


def _replay(run: Run, live: ReconstructionResult) -> None:
    reconstruction = OnlineReconstruction(ReconstructionSettings())
    replay(run, [reconstruction])
    replayed = reconstruction.wait(120)
    if not np.array_equal(replayed.volume, live.volume):
        raise SessionError(
            f"The replay of {run.directory} gave other slices than the live run: they differ by up "
            f"to {np.abs(replayed.volume - live.volume).max():g}. Report this with the directory: "
            "it is a fault of Concertino."
        )
    print(f"   replayed     {run.directory}")
    print(f"   slices       {reconstruction.run_directory}")
    print("   equal        bit for bit to the live slices")


def first_angle(run: Run, exposure_s: float) -> float:
    """Return by how much the first projection was past the start angle, in rad.

    Parameters
    ----------
    run : Run
        A continuous tomography; its stream ``motion`` says where the rotation was when, and when the
        camera began.
    exposure_s : float
        Exposure time in seconds.
    """
    motion = {
        doc["uid"]
        for name, doc in run.documents()
        if name == "descriptor" and doc["name"] == "motion"
    }
    event = next(
        doc for name, doc in run.documents() if name == "event" and doc["descriptor"] in motion
    )
    key = next(key for key in event["data"] if key != "camera-start_time")
    begin_s = event["data"]["camera-start_time"] + exposure_s / 2
    since_s = event["timestamps"][key] - begin_s
    velocity = run.start["plan_args"]["velocity"]["value"]
    angle = event["data"][key] - velocity * since_s
    return math.radians(angle - run.start["tomo"]["start_angle_deg"])


def relative_error(image: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    """Return the RMS difference inside the object as a fraction of its mean attenuation."""
    inside = _filled(truth)
    difference = np.sqrt(np.mean((image[inside] - truth[inside]) ** 2))
    return float(difference / truth[inside].mean())


def _filled(truth: NDArray[np.float32]) -> NDArray[np.bool_]:
    from scipy.ndimage import binary_fill_holes

    return np.asarray(binary_fill_holes(truth > 0))


def _title(text: str) -> None:
    print(f"\n{text}", flush=True)
