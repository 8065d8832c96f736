"""The command ``concertino``."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from ._keys_command import keys
from ._plan_options import PlanCommand, given_options, given_parameters
from ._tango_command import tango
from ._twin_command import twin
from .beamline._commands import check_config, init, start

app = typer.Typer(
    name="concertino",
    help="X-ray imaging experiments: acquire, reconstruct live, store, find again, replay.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(tango, name="tango")
app.add_typer(keys, name="keys")
app.command()(twin)
app.command()(init)
app.command()(check_config)
app.command()(start)

Directory = Annotated[
    Path, typer.Option("--directory", "-d", help="Data directory, made when it is not there.")
]
#: Of a command that only reads, or writes beside what is there.
KnownDirectory = Annotated[
    Path, typer.Option("--directory", "-d", help="Data directory, which must be there.")
]
PlannedDirectory = Annotated[
    Path, typer.Option("--directory", "-d", help="Data directory; it need not be there yet.")
]
RunName = Annotated[
    str, typer.Argument(help="Scan id, run directory, uid, or last, -1, -2, … for the newest.")
]
Slices = Annotated[
    str, typer.Option(help="Detector rows to reconstruct: '10,20', 'all', 'middle' or 'none'.")
]
Served = Annotated[
    str, typer.Option(help="'simulated', or a scan in an HDF5 file to serve as if live.")
]
Shape = Annotated[str, typer.Option(help="Simulated frame, HEIGHTxWIDTH in px.")]
Source = Annotated[str, typer.Option(help="What makes the beam: synchrotron or tube.")]
FrameRate = Annotated[str, typer.Option(help="Frame rate of the camera.")]
Exposure = Annotated[str, typer.Option(help="Exposure time of the camera.")]
BeamlineName = Annotated[
    str,
    typer.Option(
        help="The beamline's file, or 'twin'; by default CONCERTINO_BEAMLINE, or beamline.toml here, else the twin."
    ),
]
DEFAULT_DIRECTORY = Path("data")


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"concertino {version('concertino')}")
        raise typer.Exit


@app.callback()
def concertino(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version."),
    ] = False,
) -> None:
    """X-ray imaging experiments: acquire, reconstruct live, store, find again, replay."""


@app.command()
def demo(
    directory: Directory = Path("concertino-demo"),
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Run the whole job: a real scan, a simulated one, live slices, and a replay with the same result."""
    from ._demo import run_demo

    run_demo(directory, progress=not quiet)


@app.command(cls=PlanCommand)
def run(
    context: typer.Context,
    plan: Annotated[str, typer.Argument(help="radiography, step_tomography, …; 'list' names all.")],
    directory: Directory = DEFAULT_DIRECTORY,
    camera: Served = "simulated",
    shape: Shape = "512x512",
    source: Source = "synchrotron",
    frame_rate: FrameRate = "100 Hz",
    exposure: Exposure = "5 ms",
    slices: Slices = "middle",
    sample: Annotated[str, typer.Option(help="Name of the sample.")] = "",
    beamline: BeamlineName = "",
    live: Annotated[bool, typer.Option("--live", help="Show the run in a browser page.")] = False,
    synced: Annotated[
        bool, typer.Option("--synced", help="A frame counts as safe only when on the disk.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Run a plan on a beamline that a file describes, or on the simulated one.

    Parameters of the plan follow as options: --num-projections 500 --angular-range "360 deg".
    'run PLAN --help' lists them.
    """
    from ._run_command import AskedPlan, run_plan

    if plan != "list":
        from .beamline._files import chosen_beamline

        given = given_options(context)
        file = chosen_beamline(beamline)
        if file is not None:
            from .beamline._run import refuse_simulated, run_at_beamline

            refuse_simulated(file, given)
            run_at_beamline(
                file, plan, given_parameters(context), sample=sample, progress=not quiet,
                directory=directory if "directory" in given else None,
            )  # fmt: skip
            return
    asked = AskedPlan(
        plan, given_parameters(context), directory, camera, shape, source, frame_rate, exposure,
        slices,
    )  # fmt: skip
    run_plan(asked, sample=sample, live=live, synced=synced, progress=not quiet)


@app.command(cls=PlanCommand)
def preflight(
    context: typer.Context,
    plan: Annotated[str, typer.Argument(help="radiography, step_tomography, …, as for run.")],
    directory: PlannedDirectory = DEFAULT_DIRECTORY,
    camera: Served = "simulated",
    shape: Shape = "512x512",
    source: Source = "synchrotron",
    frame_rate: FrameRate = "100 Hz",
    exposure: Exposure = "5 ms",
    slices: Slices = "middle",
    beamline: BeamlineName = "",
    max_blur: Annotated[
        float | None, typer.Option(help="Refuse more motion blur, in px; above 1 px it warns.")
    ] = None,
) -> None:
    """Tell what a plan would do and need: times, blur, data rate, disk and memory; nothing moves.

    Parameters of the plan follow as options, as for run; 'preflight PLAN --help' lists them.
    """
    from .beamline._files import chosen_beamline

    given = given_options(context)
    file = chosen_beamline(beamline)
    if file is not None:
        from .beamline._run import preflight_at_beamline, refuse_simulated

        refuse_simulated(file, given)
        preflight_at_beamline(
            file, plan, given_parameters(context), max_blur=max_blur,
            directory=directory if "directory" in given else None,
        )  # fmt: skip
        return
    from ._preflight_command import preflight_plan
    from ._run_command import AskedPlan

    asked = AskedPlan(
        plan, given_parameters(context), directory, camera, shape, source, frame_rate, exposure,
        slices,
    )  # fmt: skip
    preflight_plan(asked, max_blur=max_blur)


@app.command(context_settings={"ignore_unknown_options": True})
def resume(
    context: typer.Context,
    run: RunName,
    directory: KnownDirectory = DEFAULT_DIRECTORY,
    camera: Annotated[
        str, typer.Option(help="'simulated', or the HDF5 file that the run was served from.")
    ] = "simulated",
    slices: Slices = "middle",
    beamline: BeamlineName = "",
    trust: Annotated[
        bool, typer.Option("--trust", help="Keep frames without reading them once more.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Continue a run that broke off: take only what is missing."""
    from .beamline._files import chosen_beamline

    given = given_options(context)
    file = chosen_beamline(beamline)
    if file is not None:
        from .beamline._run import refuse_simulated, resume_at_beamline

        refuse_simulated(file, given - {"slices"})
        resume_at_beamline(
            file, run, slices=slices, verify=not trust, progress=not quiet,
            directory=directory if "directory" in given else None,
        )  # fmt: skip
        return
    from ._resume_command import resume_run

    resume_run(directory, run, camera=camera, slices=slices, verify=not trust, progress=not quiet)


@app.command()
def runs(
    directory: KnownDirectory = DEFAULT_DIRECTORY,
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="So many at most.")] = 20,
) -> None:
    """List the runs of a data directory, the newest first."""
    from ._run_listing import list_runs

    list_runs(directory, number)


@app.command(context_settings={"ignore_unknown_options": True})
def show(run: RunName, directory: KnownDirectory = DEFAULT_DIRECTORY) -> None:
    """Show what a run did, where its frames are, and its account of every frame."""
    from ._run_listing import show_run

    show_run(directory, run)


@app.command(context_settings={"ignore_unknown_options": True})
def replay(
    run: RunName,
    directory: KnownDirectory = DEFAULT_DIRECTORY,
    speed: Annotated[
        float, typer.Option(min=0, help="1 for the pace of the run; 0 for as fast as can be.")
    ] = 0.0,
    slices: Slices = "middle",
    live: Annotated[bool, typer.Option("--live", help="Show it in a browser page.")] = False,
) -> None:
    """Give a stored run to the callbacks again: reconstruct it, or watch it."""
    from ._run_command import replay_run

    replay_run(directory, run, speed=speed, slices=slices, live=live)


SettingsFile = Annotated[
    Path | None, typer.Option("--settings", help="JSON file of reconstruction settings.")
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="One setting, NAME=VALUE, such as center=295.8; any number."),
]
Output = Annotated[
    Path | None, typer.Option(help="Where the result's directory is made; beside the run's.")
]


CameraName = Annotated[
    str, typer.Option(help="Whose frames, of a run with several cameras; the first by default.")
]


Tomogram = Annotated[
    int | None, typer.Option(help="Only this one of a time series, counted from 0; all of them.")
]


@app.command(context_settings={"ignore_unknown_options": True})
def reconstruct(
    run: RunName,
    directory: KnownDirectory = DEFAULT_DIRECTORY,
    settings: SettingsFile = None,
    change: Changes = None,
    rows: Annotated[str, typer.Option(help="Detector rows: '10,20', '100:200:10' or 'all'.")] = "",
    output: Output = None,
    format: Annotated[str, typer.Option(help="Of the slices: tiff, hdf5 or zarr.")] = "tiff",
    scheduler: Annotated[
        str, typer.Option(help="Work on a dask cluster: 'local', or its scheduler's address.")
    ] = "",
    camera: CameraName = "",
    tomogram: Tomogram = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Reconstruct a stored run into a run of its own, in parts that fit into memory."""
    from ._batch_command import reconstruct_command

    reconstruct_command(
        directory, run, settings=settings, changes=change or [], rows=rows, output=output,
        format=format, scheduler=scheduler, camera=camera, tomogram=tomogram, progress=not quiet,
    )  # fmt: skip


@app.command(context_settings={"ignore_unknown_options": True})
def sweep(
    run: RunName,
    parameter: Annotated[str, typer.Option(help="Setting to sweep, such as center.")],
    region: Annotated[str, typer.Option(help="Its values: FROM,TO,STEP, TO excluded.")],
    directory: KnownDirectory = DEFAULT_DIRECTORY,
    row: Annotated[int | None, typer.Option(help="Detector row; the middle one.")] = None,
    metric: Annotated[str, typer.Option(help="What makes a slice good.")] = "std",
    settings: SettingsFile = None,
    change: Changes = None,
    output: Output = None,
    camera: CameraName = "",
    tomogram: Tomogram = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Reconstruct one row for each value of a setting, and say which value is best."""
    from ._batch_command import sweep_command

    sweep_command(
        directory, run, parameter=parameter, region=region, row=row, metric=metric,
        settings=settings, changes=change or [], output=output, camera=camera, tomogram=tomogram,
        progress=not quiet,
    )  # fmt: skip


@app.command(context_settings={"ignore_unknown_options": True})
def export(
    run: RunName,
    file: Annotated[Path, typer.Argument(help="The file to write, such as tooth.nx.")],
    directory: KnownDirectory = DEFAULT_DIRECTORY,
    camera: CameraName = "",
    energy: Annotated[str, typer.Option(help="Of the photons, such as '20 keV'.")] = "",
    distance: Annotated[str, typer.Option(help="From sample to detector, such as '5 cm'.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Write a tomography into one NXtomo file (HDF5), for the programs of others."""
    from ._batch_command import export_command

    export_command(
        directory, run, file, camera=camera, energy=energy, distance=distance,
        overwrite=overwrite, progress=not quiet,
    )  # fmt: skip


@app.command(context_settings={"ignore_unknown_options": True})
def view(
    run: RunName,
    directory: KnownDirectory = DEFAULT_DIRECTORY,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the page; 0 takes a free one.")
    ] = 0,
) -> None:
    """Watch a stored run in the browser, at the pace it had; Ctrl-C ends it."""
    from ._run_command import view_run

    view_run(directory, run, port=port)


@app.command()
def guard(
    file: Annotated[Path, typer.Argument(help="JSON file: how each beam is switched off.")],
    address: Annotated[
        str, typer.Option("--listen", help="Where sessions call: tcp://HOST:PORT, or port 0.")
    ],
    directory: Annotated[
        Path | None, typer.Option("--directory", "-d", help="Where reports go.")
    ] = None,
) -> None:
    """Switch the beam off when a session on another computer dies, or that computer."""
    from ._guard_command import guard_beams

    guard_beams(file, address, directory)


@app.command()
def queueserver(
    directory: Directory = DEFAULT_DIRECTORY,
    redis: Annotated[str, typer.Option(help="Address of Redis.")] = "127.0.0.1:6379",
    control_port: Annotated[int, typer.Option(min=1, max=65535, help="Port for requests.")] = 60615,
    info_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port for what the server prints.")
    ] = 60625,
    startup_module: Annotated[
        str,
        typer.Option(help="Module with the plans and devices; by default the simulated beamline."),
    ] = "concertino.queueserver",
    permissions: Annotated[
        Path | None,
        typer.Option(
            help="File that says which group of users may use what; by default everybody everything."
        ),
    ] = None,
) -> None:
    """Serve the plans to bluesky's queue server, on this computer only; a signal ends its plan first."""
    from ._queue_server_command import serve_queue

    serve_queue(
        directory,
        redis=redis,
        control_port=control_port,
        info_port=info_port,
        module=startup_module,
        permissions=permissions,
    )
