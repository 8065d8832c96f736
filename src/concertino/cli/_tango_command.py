"""What ``concertino tango …`` does."""

import logging
import pkgutil
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from concertino._errors import ConcertinoError, ParameterError

if TYPE_CHECKING:
    from concertino.devices import FrameSource

tango = typer.Typer(
    help="Serve a camera, writer, reconstruction or benchmark to sessions elsewhere.",
    no_args_is_help=True,
)

Port = Annotated[int, typer.Option(help="Port of the Tango server.")]
Host = Annotated[
    str, typer.Option(help="Network address to listen on; this computer only by default.")
]
Lease = Annotated[float, typer.Option(help="Seconds after which a silent session counts as gone.")]
Log = Annotated[Path | None, typer.Option(help="File for the log instead of standard error.")]
Directory = Annotated[Path, typer.Option("--directory", "-d", help="Data directory here.")]
Roots = Annotated[
    list[Path] | None,
    typer.Option(
        "--root",
        help="Another directory that sessions may have written to or read; any number. Without it only the "
        "data directory.",
    ),
]
Via = Annotated[
    list[str] | None,
    typer.Option(
        help="Reach publishers through a tunnel: tcp://CAMERA:PORT=tcp://TUNNEL:PORT; any number."
    ),
]


def _serve(
    kind: str,
    port: int,
    host: str,
    directory: Path,
    lease: float,
    log: Path | None,
    via: list[str] | None,
    roots: list[Path] | None = None,
) -> None:
    from concertino.frames import add_route
    from concertino.servers import serve_callback

    logging.captureWarnings(True)
    for route in via or []:
        publisher, separator, way = route.partition("=")
        if not separator:
            raise ParameterError(
                f"via: {route!r} was given; write tcp://CAMERA:PORT=tcp://TUNNEL:PORT."
            )
        add_route(publisher, way)
    serve_callback(
        kind, port=port, host=host, directory=directory, lease_s=lease, log=log, roots=roots or []
    )


@tango.command()
def writer(
    port: Port, directory: Directory = Path("data"), host: Host = "127.0.0.1", lease: Lease = 10.0,
    log: Log = None, via: Via = None, root: Roots = None,
) -> None:  # fmt: skip
    """Store the frames of runs in a data directory on this computer."""
    _serve("writer", port, host, directory, lease, log, via, root)


@tango.command()
def reconstruction(
    port: Port, directory: Directory = Path("reconstructions"), host: Host = "127.0.0.1",
    lease: Lease = 10.0, log: Log = None, via: Via = None, root: Roots = None,
) -> None:  # fmt: skip
    """Reconstruct runs while they are taken; store the slices on this computer."""
    _serve("reconstruction", port, host, directory, lease, log, via, root)


@tango.command()
def benchmark(
    port: Port, directory: Directory = Path("benchmarks"), host: Host = "127.0.0.1",
    lease: Lease = 10.0, log: Log = None, via: Via = None,
) -> None:  # fmt: skip
    """Measure how fast frames arrive on this computer."""
    _serve("benchmark", port, host, directory, lease, log, via)


@tango.command()
def camera(
    port: Port,
    source: Annotated[
        str,
        typer.Option(
            help="'simulated', an HDF5 file of a scan, a directory of TIFFs or of such directories called darks, flats "
            "and projections, PACKAGE.MODULE:NAME of what makes a frame source, or a name of the entry points "
            "concertino.cameras."
        ),
    ] = "simulated",
    shape: Annotated[str, typer.Option(help="Simulated frame, HEIGHTxWIDTH in px.")] = "512x512",
    host: Host = "127.0.0.1",
    stream: Annotated[
        str,
        typer.Option(
            help="Where frames are published, such as tcp://HOST:5555/*; tcp://HOST:0 by default."
        ),
    ] = "",
    lease: Lease = 10.0,
    log: Log = None,
) -> None:
    """Publish the frames of a camera of this computer."""
    from concertino.servers import serve_camera

    logging.captureWarnings(True)
    serve_camera(
        source_maker(source, shape), port=port, host=host, stream_address=stream, lease_s=lease,
        log=log,
    )  # fmt: skip


@tango.command()
def status(
    addresses: Annotated[list[str], typer.Argument(help="KIND=HOST:PORT, as writer=host:7001.")],
) -> None:
    """Say what servers do, and for whom."""
    from concertino._tango_client import TangoClient

    failed = False
    for given in addresses:
        kind, separator, address = given.partition("=")
        if not separator:
            raise ParameterError(f"{given!r} was given; write KIND=HOST:PORT, as writer=host:7001.")
        try:
            client = TangoClient(address, kind)
            session = client.attribute("session") or "nobody"
            typer.echo(f"{kind:14} {address:22} {client.state():8} serves {session}")
            if error := client.attribute("error"):
                typer.echo(f"{'':14} last error: {error}")
        except ConcertinoError as error:
            failed = True
            typer.echo(f"{kind:14} {address:22} {error}")
    if failed:
        raise typer.Exit(1)


def source_maker(source: str, shape: str) -> "Callable[[], FrameSource]":
    """Return what makes the frame source that a user named.

    Raises
    ------
    ParameterError
        If there is no such source.
    """
    from concertino.devices import FileCamera, SimulatedBeamline

    from ._run_command import parse_shape

    if source == "simulated":
        size = parse_shape(shape)

        def simulated() -> "FrameSource":
            beamline = SimulatedBeamline(shape=size)
            beamline.shutter.history.note(True)
            return beamline.camera.source

        return simulated
    path = Path(source)
    if path.is_dir() or path.suffix.lower() in (".tif", ".tiff"):
        kinds = ("darks", "flats", "projections")
        given: dict[str, Any] = {kind: path / kind for kind in kinds if (path / kind).is_dir()}
        return lambda: FileCamera(**(given or {"projections": path})).source
    if path.exists():
        return lambda: FileCamera(source).source
    if ":" in source:
        return _by_dotted_name(source)
    known = entry_points(group="concertino.cameras")
    if source in known.names:
        made: Callable[[], FrameSource] = known[source].load()
        return made
    names = ", ".join(["simulated", *sorted(known.names)])
    raise ParameterError(
        f"source: {source!r} is neither a file nor one of {names}. Give one of these, or the path "
        "of a file."
    )


def _by_dotted_name(source: str) -> "Callable[[], FrameSource]":
    """Return what a user's module has under a name: what makes a source, or one."""
    module, _, name = source.partition(":")
    try:
        found = pkgutil.resolve_name(source)
    except (ImportError, AttributeError, ValueError) as error:
        raise ParameterError(
            f"source: {source!r} was given, and {name or 'nothing'} of {module} cannot be imported: {error}. Give "
            "PACKAGE.MODULE:NAME of a class or function that makes a frame source, where Python finds it."
        ) from error
    return found if callable(found) else lambda: found
