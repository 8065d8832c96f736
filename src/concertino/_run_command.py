"""What ``concertino run``, ``replay`` and ``view`` do."""

import inspect
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from concertino import ParameterError, SessionError
from concertino import plans as _plans
from concertino.callbacks import ImageWriter, LiveView, OnlineReconstruction
from concertino.devices import FileCamera, SimulatedBeamline
from concertino.reconstruction import ReconstructionSettings
from concertino.session import Session, open_session
from concertino.storage import Run, open_run
from concertino.storage import replay as replay_documents
from concertino.units import convert

from ._interrupts import AbortOnInterrupt
from ._pictures import save_slices
from ._run_listing import choose_run

PLANS: dict[str, Callable[..., Any]] = {
    "radiography": _plans.radiography,
    "step_tomography": _plans.step_tomography,
    "continuous_tomography": _plans.continuous_tomography,
}

_DEFAULTS = {"radio_position": "0 mm", "flat_position": "10 mm"}
_COUNTS = ("num_darks", "num_flats", "num_projections")


def run_plan(
    name: str,
    parameters: dict[str, str],
    *,
    directory: Path,
    camera: str,
    shape: str,
    source: str,
    frame_rate: str,
    exposure: str,
    slices: str,
    sample: str,
    live: bool,
    synced: bool,
    progress: bool,
) -> None:
    """Run a plan on the simulated beamline and print where everything is.

    Raises
    ------
    ConcertinoError
        If something given does not work, or the run failed.
    """
    if name == "list":
        for known, function in PLANS.items():
            print(f"{known:24} {(inspect.getdoc(function) or '').splitlines()[0]}")
        return
    if name not in PLANS:
        raise ParameterError(f"There is no plan {name!r}; there are {', '.join(PLANS)}.")
    rate = convert(frame_rate, "Hz", parameter="frame_rate", minimum=0)
    exposure_s = convert(exposure, "s", parameter="exposure", minimum=0)
    beamline = SimulatedBeamline(
        shape=_shape(shape), source=_source(source), exposure=exposure_s, frame_rate=rate
    )
    device: Any = beamline.camera
    if camera != "simulated":
        device = FileCamera(camera, frame_rate=rate)
    arguments = _arguments(name, parameters, beamline, device)
    with open_session(
        directory, baseline=beamline.baseline, progress=progress, catalog=False
    ) as session:
        session.RE.context_managers = [AbortOnInterrupt]
        session.subscribe(ImageWriter(durability="synced" if synced else "written"))
        reconstruction = _reconstruction(slices, device.frame_shape[0], live_view := _live(live))
        if reconstruction is not None:
            session.subscribe(reconstruction)
        if live_view is not None:
            session.subscribe(live_view)
        plan = PLANS[name](**arguments, md={"sample": sample} if sample else None)
        _run(session, plan, name)
        print(f"run        {open_run(int(session.RE.md['scan_id']), directory).directory}")
        _print_slices(reconstruction)


def _run(session: Session, plan: Any, name: str) -> None:
    from bluesky.utils import FailedStatus, RunEngineInterrupted

    try:
        session.RE(plan)
    except RunEngineInterrupted as error:
        if session.RE.state == "paused":
            session.RE.abort()
        raise SessionError(f"{name} was interrupted; the beam is off.") from error
    except FailedStatus as error:
        raise error.__cause__ or error from None


def replay_run(directory: Path, name: str, *, speed: float, slices: str, live: bool) -> None:
    """Replay a stored run into a reconstruction, and a page if asked for.

    Raises
    ------
    ConcertinoError
        If there is no such run, or its files are damaged.
    """
    run = choose_run(directory, name)
    height = _frame_height(run)
    view = _live(live)
    reconstruction = _reconstruction(slices, height, view)
    callbacks = [callback for callback in (reconstruction, view) if callback is not None]
    started_s = time.monotonic()
    replay_documents(run, callbacks, speed=speed or None)
    print(f"replayed   {run.directory} in {time.monotonic() - started_s:.2f} s")
    if reconstruction is not None:
        reconstruction.wait(600)
    _print_slices(reconstruction)


def view_run(directory: Path, name: str, *, port: int) -> None:
    """Replay a stored run, with its slices, into a page until Ctrl-C.

    Raises
    ------
    ConcertinoError
        If there is no such run, or the port is in use.
    """
    run = choose_run(directory, name)
    with LiveView(port=port) as view:
        print(f"page       {view.url}  (Ctrl-C ends it)", flush=True)
        reconstruction = _reconstruction("middle", _frame_height(run), view)
        callbacks = [callback for callback in (reconstruction, view) if callback is not None]
        replay_documents(run, callbacks, speed=1.0)
        try:
            while True:
                time.sleep(1)
        except KeyboardInterrupt:
            return


def _frame_height(run: Run) -> int:
    return int(run.start.get("frame_shape", [1, 1])[0])


def _arguments(
    name: str, parameters: dict[str, str], beamline: SimulatedBeamline, camera: Any
) -> dict[str, Any]:
    signature = inspect.signature(PLANS[name]).parameters
    devices: dict[str, Any] = {
        "camera": camera,
        "rotation": beamline.rotation,
        "beam": beamline.beam,
        "sample_stage": beamline.sample_stage,
    }
    values: dict[str, Any] = {key: value for key, value in _DEFAULTS.items() if key in signature}
    for key, text in parameters.items():
        if key not in signature or key in devices or key == "md":
            known = [p for p in signature if p not in devices and p != "md"]
            raise ParameterError(
                f"The plan {name} has no parameter {key!r}; it has {', '.join(known)}."
            )
        values[key] = _value(key, text)
    return {key: device for key, device in devices.items() if key in signature} | values


def _value(key: str, text: str) -> Any:
    if key == "order":
        return [part.strip() for part in text.split(",")]
    if key in _COUNTS:
        try:
            return int(text)
        except ValueError:
            return text
    try:
        return float(text)
    except ValueError:
        return text


def _shape(text: str) -> tuple[int, int]:
    try:
        height, width = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise ParameterError(
            f"shape: {text!r} is no frame shape. Give HEIGHTxWIDTH in px, such as 512x512."
        ) from None
    if min(height, width) < 8:
        raise ParameterError(f"shape: {text!r} is too small. Give at least 8x8.")
    return height, width


def _source(text: str) -> str:
    if text not in ("synchrotron", "tube"):
        raise ParameterError(f"source: {text!r} is unknown. Give 'synchrotron' or 'tube'.")
    return text


def _live(wanted: bool) -> LiveView | None:
    if not wanted:
        return None
    view = LiveView()
    print(f"page       {view.url}", flush=True)
    return view


def _reconstruction(slices: str, height: int, view: LiveView | None) -> OnlineReconstruction | None:
    if slices == "none":
        return None
    rows: tuple[int, ...] | None = None
    if slices == "middle":
        rows = (height // 2,)
    elif slices != "all":
        try:
            rows = tuple(int(part) for part in slices.split(","))
        except ValueError:
            raise ParameterError(
                f"slices: {slices!r} is unknown. Give detector rows such as '10,20', or 'all', "
                "'middle' or 'none'."
            ) from None
    preview = None if view is None else view.show_slices
    return OnlineReconstruction(ReconstructionSettings(slices=rows), preview=preview)


def _print_slices(reconstruction: OnlineReconstruction | None) -> None:
    if reconstruction is None or reconstruction.run_directory is None:
        return
    result = reconstruction.wait(600)
    pictures = save_slices(result.volume, reconstruction.run_directory)
    print(f"slices     {reconstruction.run_directory}")
    print(f"axis       column {result.center_px:.2f} px, confidence {result.confidence:.2f}")
    if result.missing:
        print(f"missing    {len(result.missing)} projections", file=sys.stderr)
    for picture in pictures:
        print(f"picture    {picture}")
