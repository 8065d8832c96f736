"""A session in a process of its own, to be killed; forked from this one."""

import asyncio
import os
import socket
import time
from pathlib import Path
from typing import Any

from file_beam import FileBeam  # type: ignore[import-not-found]

from concertino import units
from concertino.callbacks import ImageWriter
from concertino.devices import SignalBeam, SimulatedBeamline
from concertino.plans import radiography
from concertino.session import Session, open_session
from tests.forked_programs import WAIT_S, serve

# What the first run of a process reads and loads: the units, and the compiled code of the simulated camera.
_ = units.ureg
SimulatedBeamline(shape=(16, 16)).twin.warm_up()


def say(*words: object) -> None:
    print(*words, flush=True)


def beam_of(settings: dict[str, Any], session: Session) -> Any:
    kind, where = settings["beam"]
    if kind in ("file", "stuck"):
        return FileBeam(Path(where), "switch_off" if kind == "file" else "fail")
    if kind == "tango shutter":
        from ophyd_async.core import init_devices

        from concertino.devices import TangoShutter

        with init_devices(timeout=60):
            beam = TangoShutter(where, name="beam")
        return beam
    if kind == "tango":
        from ophyd_async.tango.core import tango_signal_rw

        signal: Any = tango_signal_rw(bool, where, name="beam")
        values: dict[str, Any] = {"on": True, "off": False}
    else:
        from ophyd_async.epics.core import epics_signal_rw

        signal, values = epics_signal_rw(int, where, name="beam"), {"on": 1, "off": 0}
    connecting = asyncio.run_coroutine_threadsafe(signal.connect(timeout=60), session.RE.loop)
    connecting.result(60)
    return SignalBeam(signal, **values)


def main(settings: dict[str, Any]) -> None:
    os.environ.update(settings["environment"])
    for descriptor, file in enumerate(settings["files"], 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), descriptor)
    listener = socket.create_server(("127.0.0.1", 0))
    say("port", listener.getsockname()[1])
    session = open_session(
        settings["directory"], catalog=False, progress=False, **settings.get("open", {})
    )
    beam = beam_of(settings, session)
    if settings.get("fork"):
        if (child := os.fork()) == 0:
            time.sleep(60)  # A child that keeps what it got: pipes, too.
            os._exit(0)
        say("child", child)
    b = SimulatedBeamline(shape=(16, 16), exposure=0.001, frame_rate=50)
    session.subscribe(ImageWriter())
    if settings.get("only_beam"):
        session.guard_beam(beam)
        assert session.guard.wait(240)
        session.RE([])
        asyncio.run_coroutine_threadsafe(_turn_on(beam), session.RE.loop).result(60)
    else:
        session.RE.msg_hook = Hook(session, settings)
        try:
            session.RE(
                radiography(
                    b.camera, beam, b.sample_stage, radio_position=0, flat_position=1, num_darks=1,
                    num_flats=1, num_projections=settings.get("frames", 3000),
                )
            )  # fmt: skip
        except BaseException as error:
            say("error", type(error).__name__, str(error).replace("\n", " "))
    say("guard", session.guard.pid)
    if settings.get("only_beam"):
        # It stays until its guard has been looked at: one that closed at once could take it away before.
        met, until_s = Path(settings["met"]), time.monotonic() + WAIT_S
        while not met.exists() and time.monotonic() < until_s:
            time.sleep(0.02)
    say("done")
    if settings.get("wait"):
        time.sleep(WAIT_S)
    if not settings.get("close", True):
        os._exit(3)  # As a library that crashes.
    session.close()
    say("closed")


class Hook:
    """Tells who the guard is when the beam is switched on, and then hangs in the RunEngine's loop."""

    def __init__(self, session: Session, settings: dict[str, Any]) -> None:
        self._session = session
        self._hang_s = settings.get("hang_s", 0.0)
        self._journal = Path(settings["beam"][1])
        self._until_off = settings.get("until_off", False)

    def __call__(self, message: Any) -> None:
        if message.command == "set" and message.args == (True,):
            say("guard", self._session.guard.pid)
            self._session.RE.loop.call_later(0.2, self._hang)

    def _hang(self) -> None:
        if self._hang_s and self._until_off and not self._lit():
            # It is dark between flats and projections: a hang that ended there would be none.
            self._session.RE.loop.call_later(0.05, self._hang)
            return
        until_s, self._hang_s = time.monotonic() + self._hang_s, 0.0
        while time.monotonic() < until_s:
            time.sleep(0.05)
            if self._until_off and not self._lit():
                break

    def _lit(self) -> bool:
        return self._journal.read_text().split()[-2] == "1"


async def _turn_on(beam: Any) -> None:
    await beam.set(True)


main(serve())
