"""What ``concertino run``, ``preflight`` and ``resume`` do at a beamline that a file describes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from concertino import ParameterError
from concertino.beamline import Beamline, BeamlineFile, open_beamline
from concertino.cli._given_values import given_values
from concertino.cli._resume_command import tell_resumed
from concertino.cli._run_command import check_plan, print_slices, run_in
from concertino.cli._run_listing import choose_run
from concertino.session import ComputerResources
from concertino.storage import open_run

#: Options of the simulated beamline, which a file has answers to.
SIMULATED = ("camera", "shape", "source", "frame_rate", "exposure", "slices", "live", "synced")


def run_at_beamline(
    file: BeamlineFile,
    name: str,
    parameters: Mapping[str, str],
    *,
    directory: Path | None,
    sample: str,
    progress: bool,
) -> None:
    """Run a plan with the devices and the defaults of a file, and print where everything is.

    Raises
    ------
    ConcertinoError
        If a device cannot be had, something given does not work, or the run failed.
    """
    check_plan(name)
    with open_beamline(file, directory=directory, progress=progress) as beamline:
        plan, arguments = beamline.plans[name], _arguments(beamline, name, parameters)
        if sample:
            arguments["md"] = {"sample": sample}
        session = beamline.session
        if beamline.live_view is not None:
            print(f"page       {beamline.live_view.url}", flush=True)
        session.preflight(plan(**arguments)).check()
        run_in(session, plan(**arguments), name)
        print(f"run        {open_run(int(session.RE.md['scan_id']), session.directory).directory}")
        print_slices(beamline.reconstruction)


def preflight_at_beamline(
    file: BeamlineFile,
    name: str,
    parameters: Mapping[str, str],
    *,
    directory: Path | None,
    max_blur: float | None,
) -> None:
    """Print what a plan would do and need with the devices of a file; nothing moves, and no run is made.

    Raises
    ------
    ConcertinoError
        If a device cannot be had, something given does not work, or the plan cannot.
    """
    check_plan(name)
    with (
        TemporaryDirectory() as place,
        open_beamline(file, directory=place, progress=False) as beamline,
    ):
        plan = beamline.plans[name](**_arguments(beamline, name, parameters))
        resources = ComputerResources(directory or file.directory)
        figures = beamline.session.preflight(plan, resources=resources, max_blur_px=max_blur)
        print(figures.table())
        figures.check()


def resume_at_beamline(
    file: BeamlineFile,
    name: str,
    *,
    directory: Path | None,
    slices: str,
    verify: bool,
    progress: bool,
) -> None:
    """Continue a stored run with the devices of a file.

    Raises
    ------
    ConcertinoError
        If a device cannot be had, the run cannot be continued, or the new one failed.
    """
    run = choose_run(directory or file.directory, name)
    with open_beamline(file, directory=directory, progress=progress) as beamline:
        session = beamline.session
        run_in(session, beamline.plans["resume"](run=run, verify=verify), "resume")
        newest = open_run(int(session.RE.md["scan_id"]), session.directory)
    tell_resumed(newest, slices, int(newest.start["frame_shape"][0]))


def refuse_simulated(file: BeamlineFile, given: Iterable[str]) -> None:
    """Say of an option of the simulated beamline that a file answers it.

    Raises
    ------
    ParameterError
        If there is one.
    """
    for name in SIMULATED:
        if name in given:
            raise ParameterError(
                f"--{name.replace('_', '-')} was given, which is of the simulated beamline; {file.path} says it for this one. "
                "Change it there, or give --beamline twin."
            )


def _arguments(beamline: Beamline, name: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    known = [key for key in beamline.plans[name].parameters if key != "md"]
    return given_values(
        name, parameters, known, lambda text: [beamline.device(part.strip()) for part in text.split(",")]
    )  # fmt: skip
