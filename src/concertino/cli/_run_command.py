"""What ``concertino run``, ``replay`` and ``view`` do."""

import inspect
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bluesky.utils import MsgGenerator

from concertino import ConcertinoError, ParameterError, SessionError
from concertino import plans as _plans
from concertino.callbacks import ImageWriter, LiveView, OnlineReconstruction
from concertino.devices import FileCamera, SimulatedBeamline
from concertino.plans import preflight
from concertino.reconstruction import ReconstructionSettings
from concertino.runtime._ending import EndedBySignal
from concertino.runtime._last_words import say
from concertino.session import ComputerResources, Session, open_session
from concertino.storage import Run, find_runs, open_run
from concertino.storage import replay as replay_documents
from concertino.units import convert

from ._given_values import given_values
from ._pictures import save_slices
from ._run_listing import choose_run

PLANS: dict[str, Callable[..., Any]] = {
    "radiography": _plans.radiography,
    "retrospective_radiography": _plans.retrospective_radiography,
    "step_tomography": _plans.step_tomography,
    "continuous_tomography": _plans.continuous_tomography,
    "step_spiral_tomography": _plans.step_spiral_tomography,
    "continuous_spiral_tomography": _plans.continuous_spiral_tomography,
    "grating_stepping": _plans.grating_stepping,
}

#: Of parameters that a plan has none for, on the simulated beamline.
DEFAULTS = {"radio_position": "0 mm", "flat_position": "10 mm"}
_LAST_LOOK_S = 1.0
_LARGEST_PX = 8192  # A simulated frame takes some times its size to make.
_RECONSTRUCTED_S = 600.0
_MEMORY_BYTES = 4 * 2**30  # Of the simulated camera, for --readout later.


@dataclass(frozen=True)
class AskedPlan:
    """A plan on the simulated beamline, as the options of a command say it.

    Attributes
    ----------
    name : str
        Of the plan.
    parameters : dict of str to str
        Of the plan, by name.
    directory : Path
        The data directory.
    camera : str
        ``"simulated"``, or the HDF5 file of a scan.
    shape : str
        Of a simulated frame, such as ``"512x512"``.
    source : str
        What makes the beam.
    frame_rate, exposure : str
        Of the camera.
    slices : str
        Detector rows to reconstruct; see `chosen_rows`.
    """

    name: str
    parameters: dict[str, str]
    directory: Path
    camera: str
    shape: str
    source: str
    frame_rate: str
    exposure: str
    slices: str


def run_plan(asked: AskedPlan, *, sample: str, live: bool, synced: bool, progress: bool) -> None:
    """Run a plan on the simulated beamline and print where everything is.

    Raises
    ------
    ConcertinoError
        If something given does not work, or the run failed.
    """
    name, directory = asked.name, asked.directory
    if name == "list":
        for known, function in PLANS.items():
            print(f"{known:24} {(inspect.getdoc(function) or '').splitlines()[0]}")
        return
    prepared = prepared_plan(asked)
    preflight(
        PLANS[name](**prepared.arguments),
        resources=ComputerResources(directory),
        reconstruction=prepared.reconstruction,
    ).check()
    print("beamline   simulated")
    with open_session(
        directory, baseline=prepared.beamline.baseline, progress=progress, catalog=False
    ) as session:
        session.require_storage = True
        session.subscribe(ImageWriter(durability="synced" if synced else "written"))
        reconstruction = _online(prepared.reconstruction, live_view := _live(live))
        if reconstruction is not None:
            session.subscribe(reconstruction)
        if live_view is not None:
            session.subscribe(live_view)
        plan = PLANS[name](**prepared.arguments, md={"sample": sample} if sample else None)
        run_in(session, plan, name)
        print(f"run        {open_run(int(session.RE.md['scan_id']), directory).directory}")
        print_slices(reconstruction)
        if live_view is not None and reconstruction is not None:
            time.sleep(_LAST_LOOK_S)  # The page shows the result before it ends.


@dataclass(frozen=True)
class PreparedPlan:
    """Devices of a plan, what to call it with, and how its slices are reconstructed, if they are."""

    beamline: SimulatedBeamline
    camera: Any
    arguments: dict[str, Any]
    reconstruction: ReconstructionSettings | None


def prepared_plan(asked: AskedPlan) -> PreparedPlan:
    """Make the devices of a plan and its parameters.

    Raises
    ------
    ParameterError
        If there is no such plan, or something given does not work.
    """
    check_plan(asked.name)
    rate = convert(asked.frame_rate, "Hz", parameter="frame_rate", minimum=0)
    exposure_s = convert(asked.exposure, "s", parameter="exposure", positive=True)
    beamline = SimulatedBeamline(
        shape=parse_shape(asked.shape),
        source=_source(asked.source),
        exposure=exposure_s,
        frame_rate=rate,
        memory_bytes=_MEMORY_BYTES,
    )
    device: Any = beamline.camera
    if asked.camera != "simulated":
        if Path(asked.camera).is_dir():
            raise ParameterError(
                f"camera: {asked.camera} is a directory; give the HDF5 file of a scan."
            )
        device = FileCamera(asked.camera, frame_rate=rate)
    arguments = _arguments(asked.name, asked.parameters, beamline, device)
    return PreparedPlan(beamline, device, arguments, _settings(asked.slices, device.frame_shape[0]))


def run_in(session: Session, plan: MsgGenerator[Any], name: str) -> None:
    """Run a plan; one that is interrupted or fails says so in a sentence."""
    from bluesky.utils import FailedStatus, RunEngineInterrupted

    try:
        session.RE(plan)
    except EndedBySignal as error:
        say(f"concertino: {name} was ended by {error.name}; {_beam_after(session)}.")
        raise
    except KeyboardInterrupt as error:
        say(f"concertino: {name} was interrupted; {_beam_after(session)}.")
        raise SystemExit(130) from error  # It is said already.
    except RunEngineInterrupted as error:
        why = f" ({str(error).rstrip('.')})" if isinstance(error, SessionError) else ""
        raise SessionError(f"{name} was interrupted{why}; {_beam_after(session)}.") from error
    except FailedStatus as error:
        if isinstance(error, ConcertinoError):
            raise
        raise error.__cause__ or error from None


def _beam_after(session: Session) -> str:
    """Return what the newest run says of the beam."""
    runs = find_runs(session.directory)
    reason = max(runs, key=lambda run: float(run.start["time"])).reason if runs else ""
    return "THE BEAM MAY BE ON" if "MAY BE ON" in (reason or "") else "the beam is off"


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
    reconstruction = _online(_settings(slices, height), view)
    callbacks = [callback for callback in (reconstruction, view) if callback is not None]
    started_s = time.monotonic()
    replay_documents(run, callbacks, speed=speed or None)
    print(f"replayed   {run.directory} in {time.monotonic() - started_s:.2f} s")
    print_slices(reconstruction)


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
        reconstruction = _online(_settings("middle", _frame_height(run)), view)
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
        "vertical_stage": beamline.vertical_stage,
        "stepping": beamline.grating_stage,
    }
    if name == "retrospective_radiography":  # elsewhere a trigger is no signal
        devices["trigger"] = beamline.ring
    known = [key for key in signature if key not in devices and key != "md"]
    values = {key: value for key, value in DEFAULTS.items() if key in signature}
    values |= given_values(name, parameters, known, lambda text: _beside(text, beamline))
    needed = [
        key
        for key, parameter in signature.items()
        if parameter.default is parameter.empty and key not in devices and key not in values
    ]
    if needed:
        raise ParameterError(
            f"The plan {name} needs {', '.join(needed)}; give each as an option, such as "
            f"--{needed[0].replace('_', '-')} VALUE."
        )
    return {key: device for key, device in devices.items() if key in signature} | values


def _beside(text: str, beamline: SimulatedBeamline) -> list[Any]:
    """Return the devices of which each frame is to have a value."""
    known = {device.name: device for device in beamline.baseline}
    names = [part.strip() for part in text.split(",")]
    for name in names:
        if name not in known or name == beamline.beam.name:
            there = ", ".join(each for each in known if each != beamline.beam.name)
            raise ParameterError(
                f"per_frame: {name!r} was given; the simulated beamline has {there}. Give some of these, parted by "
                "commas."
            )
    return [known[name] for name in names]


def check_plan(name: str) -> None:
    """Check that the command knows a plan.

    Raises
    ------
    ParameterError
        If it does not.
    """
    if name not in PLANS:
        raise ParameterError(f"There is no plan {name!r}; there are {', '.join(PLANS)}.")


def parse_shape(text: str) -> tuple[int, int]:
    try:
        height, width = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise ParameterError(
            f"shape: {text!r} is no frame shape. Give HEIGHTxWIDTH in px, such as 512x512."
        ) from None
    if min(height, width) < 8:
        raise ParameterError(f"shape: {text!r} is too small. Give at least 8x8.")
    if max(height, width) > _LARGEST_PX:
        raise ParameterError(
            f"shape: {text!r} is too large. Give at most {_LARGEST_PX}x{_LARGEST_PX}."
        )
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


def _settings(slices: str, height: int) -> ReconstructionSettings | None:
    """Return how the slices are reconstructed that an option means; None for none."""
    return None if slices == "none" else ReconstructionSettings(slices=chosen_rows(slices, height))


def _online(
    settings: ReconstructionSettings | None, view: LiveView | None
) -> OnlineReconstruction | None:
    if settings is None:
        return None
    reconstruction = OnlineReconstruction(settings, planes=view is not None)
    if view is not None:
        reconstruction.add_callback(view)
        view.control(reconstruction)
    return reconstruction


def chosen_rows(slices: str, height: int) -> tuple[int, ...] | None:
    """Return the detector rows that an option means; None for all."""
    if slices == "middle":
        return (height // 2,)
    if slices == "all":
        return None
    try:
        rows = tuple(int(part) for part in slices.split(","))
    except ValueError:
        raise ParameterError(
            f"slices: {slices!r} is unknown. Give detector rows such as '10,20', or 'all', "
            "'middle' or 'none'."
        ) from None
    outside = [row for row in rows if not 0 <= row < height]
    if outside:
        raise ParameterError(
            f"slices: row {outside[0]} was asked for, and frames have the rows 0 to {height - 1}. "
            "Give rows out of these, or 'middle'."
        )
    return rows


def print_slices(reconstruction: OnlineReconstruction | None) -> None:
    """Print where the slices of a run are, and their pictures."""
    if reconstruction is None or not reconstruction.reconstructs:
        return
    result = reconstruction.wait(_RECONSTRUCTED_S)
    assert reconstruction.run_directory is not None
    pictures = save_slices(result.volume, reconstruction.run_directory)
    print(f"slices     {reconstruction.run_directory}")
    print(f"axis       column {result.center_px:.2f} px, confidence {result.confidence:.2f}")
    if result.missing:
        print(f"missing    {len(result.missing)} projections", file=sys.stderr)
    for picture in pictures:
        print(f"picture    {picture}")
