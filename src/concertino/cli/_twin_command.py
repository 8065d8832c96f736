"""What ``concertino twin`` does."""

from pathlib import Path
from typing import Annotated

import typer


def twin(
    epics: Annotated[
        str, typer.Option(help="Prefix of records by Channel Access, with frames by PV Access.")
    ] = "",
    pva: Annotated[str, typer.Option(help="Prefix of the same records by PV Access.")] = "",
    tango: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of a Tango server; 0 for none.")
    ] = 0,
    shape: Annotated[str, typer.Option(help="Simulated frame, HEIGHTxWIDTH in px.")] = "512x512",
    source: Annotated[
        str, typer.Option(help="What makes the beam: synchrotron or tube.")
    ] = "synchrotron",
    noise: Annotated[bool, typer.Option(help="A camera with noise and uneven pixels.")] = True,
    truth: Annotated[
        Path | None, typer.Option(help="File for the true positions at each exposure, JSON lines.")
    ] = None,
    readback_rate: Annotated[
        float, typer.Option(help="How often motor records tell where they are, in Hz.")
    ] = 10.0,
) -> None:
    """Serve the simulated beamline by a control system's protocol, to rehearse on; on this computer only."""
    from concertino.devices import SimulatedBeamline
    from concertino.twin import TwinOptions, serve_twin

    from ._run_command import parse_shape

    options = TwinOptions(epics, pva, tango, truth, readback_rate)
    beamline = SimulatedBeamline(shape=parse_shape(shape), source=source, noise=noise)
    serve_twin(beamline, options, lambda line: print(line, flush=True))
