"""What ``concertino resume`` does."""

from pathlib import Path
from typing import Any

from concertino import plans as _plans
from concertino.batch import reconstruct_run
from concertino.callbacks import ImageWriter
from concertino.devices import FileCamera, SimulatedBeamline
from concertino.reconstruction import ReconstructionSettings
from concertino.session import open_session
from concertino.storage import Run, StoredScan, open_run

from ._run_command import chosen_rows, run_in
from ._run_listing import choose_run


def resume_run(
    directory: Path, name: str, *, camera: str, slices: str, verify: bool, progress: bool
) -> None:
    """Continue a stored run on a simulated beamline like the one that it was taken with.

    Raises
    ------
    ConcertinoError
        If it cannot be continued, or the new run failed.
    """
    run = choose_run(directory, name)
    settings = _recorded_settings(run)
    beamline = SimulatedBeamline(**settings)
    device: Any = beamline.camera
    if camera != "simulated":
        device = FileCamera(camera, frame_rate=settings["frame_rate"])
    recorded = run.start.get("plan_args", {})
    parts: dict[str, Any] = {"rotation": beamline.rotation, "vertical_stage": beamline.vertical_stage,
             "stepping": beamline.grating_stage}  # fmt: skip
    if recorded.get("trigger") == beamline.trigger_box.name:
        parts["trigger"] = beamline.trigger_box
    with open_session(
        directory, baseline=beamline.baseline, progress=progress, catalog=False
    ) as session:
        session.require_storage = True
        session.subscribe(ImageWriter())
        plan = _plans.resume(
            run, device, beamline.beam, beamline.sample_stage, verify=verify,
            **{part: stage for part, stage in parts.items() if part in recorded},
        )  # fmt: skip
        run_in(session, plan, "resume")
        newest = open_run(int(session.RE.md["scan_id"]), directory)
    tell_resumed(newest, slices, device.frame_shape[0])


def tell_resumed(newest: Run, slices: str, height: int) -> None:
    """Print what there is of a scan that was continued, and reconstruct it.

    Parameters
    ----------
    newest : Run
        The run that continued it.
    slices : str
        Detector rows; see `chosen_rows`.
    height : int
        Of a frame, in px.
    """
    print(f"run        {newest.directory}")
    scan = StoredScan(newest)
    print(f"scan       {' + '.join(part.name for part in scan.runs)}")
    for stream in scan.streams:
        there = scan.present(stream)
        print(f"frames     {stream}: {there.sum()} of {len(there)}")
    if slices != "none" and scan.tomo.scheme not in ("radiography", "spiral", "grating"):
        rows = chosen_rows(slices, height)
        made = reconstruct_run(newest, ReconstructionSettings(slices=rows))
        print(f"slices     {made.directory}")


def _recorded_settings(run: Run) -> dict[str, Any]:
    """Return how the simulated beamline of a run was made."""
    known = next(
        (run[stream].configuration for stream in run.streams if run[stream].frame_keys), {}
    )
    camera = run.start.get("tomo", {}).get("camera", "camera")
    return {
        "shape": tuple(run.start.get("frame_shape", (16, 16))),
        "source": "tube" if run.start.get("plan_args", {}).get("beam") == "tube" else "synchrotron",
        "exposure": known.get(f"{camera}-exposure", 0.005),
        "frame_rate": known.get(f"{camera}-frame_rate", 100.0),
    }
