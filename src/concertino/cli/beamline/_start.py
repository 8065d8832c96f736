"""What ``concertino start`` does."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from concertino import SessionError
from concertino._extras import extra
from concertino.beamline import Beamline, open_beamline, read_beamline

from ._files import named_file


def start_prompt(
    file: Path | None, *, directory: Path | None, command: str, progress: bool
) -> None:
    """Open a prompt with a beamline.

    Raises
    ------
    ConcertinoError
        If the file has mistakes, or a device cannot be had.
    SessionError
        If `command` failed; what it raised is shown already.
    """
    with extra("prompt", "The prompt"):
        from IPython.terminal.ipapp import TerminalIPythonApp

        from ._prompt_awaits import await_in_loop
    found = read_beamline(named_file(file))
    with open_beamline(found, directory=directory, progress=progress) as beamline:
        print(_welcome(beamline))
        # A terminal edits lines, which needs the true output.
        with redirect_stdout(sys.__stdout__):
            app: Any = TerminalIPythonApp.instance(user_ns=_names(beamline))
            app.display_banner = False
            app.initialize(argv=[])
            await_in_loop(app.shell, beamline.RE.loop)
            if not command:
                app.start()
            elif not app.shell.run_cell(command).success:
                raise SessionError(
                    "The command failed, as is shown above. Mend it, and give it again."
                )


def _names(beamline: Beamline) -> dict[str, Any]:
    from bluesky import plan_stubs
    from bluesky import plans as bluesky_plans

    from concertino.units import q

    return {"bps": plan_stubs, "bp": bluesky_plans, "q": q, **beamline.names}


def _welcome(beamline: Beamline) -> str:
    page = f"page       {beamline.live_view.url}\n" if beamline.live_view is not None else ""
    return (
        f"beamline   {beamline.path}: {', '.join(beamline.devices)}\n"
        f"roles      {', '.join(beamline.roles) or 'none'}\n"
        f"data       {beamline.session.directory}\n"
        f"plans      {', '.join(beamline.plans)}\n"
        f"{page}"
        "try        RE(continuous_tomography(num_projections=500)) or run = start(continuous_tomography())\n"
        "           status(), move('rotation', '90 deg'), stop_all(); session, beamline, q, bps and bp are here, too\n"
        "           exit ends it, beam off"
    )
