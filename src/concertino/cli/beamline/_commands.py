"""The commands of a beamline's file: ``concertino init``, ``check-config`` and ``start``."""

from pathlib import Path
from typing import Annotated

import typer

File = Annotated[
    Path | None,
    typer.Argument(
        help="The beamline's file; by default CONCERTINO_BEAMLINE, or beamline.toml here."
    ),
]


def init(
    kind: Annotated[
        str, typer.Argument(help="What the beamline is: twin, epics, tango or mixed.")
    ] = "twin",
    file: Annotated[Path, typer.Option("--file", "-f", help="The file to write.")] = Path(
        "beamline.toml"
    ),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file.")] = False,
) -> None:
    """Write a commented file that describes a beamline, to begin with."""
    from ._files import write_template

    write_template(file, kind, overwrite=overwrite)


def check_config(
    file: File = None,
    connect: Annotated[
        bool, typer.Option("--connect", help="Connect the devices, and tell how each is.")
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the files' JSON schema, for editors.")
    ] = False,
) -> None:
    """Say everything that is wrong in a beamline's file, with line numbers; nothing moves."""
    from ._files import check_file, print_schema

    if schema:
        print_schema()
    else:
        check_file(file, connect=connect)


def start(
    file: File = None,
    directory: Annotated[
        Path | None, typer.Option("--directory", "-d", help="Data directory; that of the file.")
    ] = None,
    command: Annotated[
        str, typer.Option("--command", "-c", help="Do this instead of asking, and end.")
    ] = "",
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bars.")] = False,
) -> None:
    """Open a prompt with a beamline's devices, its session, and plans that know its devices."""
    from ._start import start_prompt

    start_prompt(file, directory=directory, command=command, progress=not quiet)
